"""What do checks and failures make of a server's health?"""
