"""Who waits, whose turn is it, and how long will it take?"""
