"""HTTP routes outside inference: parse, call one service, return."""
