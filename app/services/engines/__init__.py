"""What each engine says of itself: one small adapter an engine, one interface."""
