"""How busy and how well is each server right now?"""
