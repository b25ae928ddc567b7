"""What of a server's answer goes to the client?"""
