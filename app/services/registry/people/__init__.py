"""Whose keys are there, and which groups?"""
