"""Which names stand for models?"""
