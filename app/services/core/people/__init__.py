"""Who calls, how far may they go, and how much may they use?"""
