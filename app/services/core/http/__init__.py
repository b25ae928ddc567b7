"""What may a client send, and what does it mean?"""
