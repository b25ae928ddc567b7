"""Which names mean one model?"""
