"""What does a client hear that waits for its turn? Our own words and two numbers (see ``core.live.loading``)."""

from __future__ import annotations

__all__ = ["place_words"]


def place_words(position: int, waiting: int) -> bytes:
    """Make the comment line for a client that waits at a position, 1 being the next, of all who wait for its model."""
    return b": waiting, position %d of %d for this model\n" % (position, waiting)
