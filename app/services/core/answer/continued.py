"""What is a client told at the place where its answer goes on at another server?

A comment line in the stream (HTML standard, Server-sent events, 9.2.6), for clients that ask why their request went
where it went. It holds our own words, an id and a number, and has one newline, as ``sse.PING`` has.
"""

from __future__ import annotations

__all__ = ["continued_words"]

_MILLISECONDS_A_SECOND = 1000


def continued_words(server_id: str, after_seconds: float) -> bytes:
    """Make the comment line of one seam.

    Args:
        server_id: who goes on.
        after_seconds: from the moment in which the break was seen to the first event of the server that goes on.
    """
    milliseconds = round(max(after_seconds, 0.0) * _MILLISECONDS_A_SECOND)
    return b": continued, server %b, after %d ms\n" % (server_id.encode("ascii", "replace"), milliseconds)
