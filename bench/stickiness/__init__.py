"""Do long conversations find their way back to the server that has them in its cache, and is no server overrun?"""
