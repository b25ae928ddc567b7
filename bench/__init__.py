"""What does a request cost, here and in other gateways? Run it by ``python -m bench``."""
