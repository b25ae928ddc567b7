"""What became of a request, and how is it told?"""
