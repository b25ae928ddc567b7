"""Which server is taken?"""
