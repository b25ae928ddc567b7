"""Has this request been here before? Loops are found by the Via header (RFC 9110, 7.6.3).

A gateway that is registered with itself, directly or over another gateway, would pass a request round and round. Each
gateway signs what it sends with a pseudonym; one that meets its own refuses. Of what came in, only other gateways'
pseudonyms are passed on: a client's proxies are nobody's business.
"""

from __future__ import annotations

import re

from app.services.core.errors import RequestInvalid

__all__ = ["passed_on", "pseudonym"]

_MARK = re.compile(rb"1\.1 mvg-[0-9a-f]{16}")
_LONGEST_CHAIN = 8


def pseudonym(number: int) -> bytes:
    """The Via entry of a gateway, from 64 random bits."""
    return b"1.1 mvg-%016x" % (number & 0xFFFF_FFFF_FFFF_FFFF)


def passed_on(received: bytes, own: bytes) -> bytes:
    """The Via header for the request that goes on to a server.

    Args:
        received: the client's Via header, empty if there is none.
        own: this gateway's entry.

    Raises:
        RequestInvalid: the request has been here, or in too many gateways.
    """
    if not received:
        return own
    marks = _MARK.findall(received)
    if own in marks or len(marks) >= _LONGEST_CHAIN:
        message = "This request came back to the gateway that sent it: a gateway is registered with itself. Remove it."
        raise RequestInvalid(message, code="loop_detected")
    return b", ".join([*marks, own])
