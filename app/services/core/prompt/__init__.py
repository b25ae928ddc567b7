"""How long is a prompt, and where does it fit?"""
