"""What does a request cost? A small benchmark of this project alone; run it by ``python -m bench``."""
