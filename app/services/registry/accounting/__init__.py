"""What was used, and who changed what?"""
