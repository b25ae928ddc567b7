"""Real model servers for a first try: llama.cpp with a small language model, as children that die with their parent."""
