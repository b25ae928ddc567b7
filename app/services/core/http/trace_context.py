"""Which trace does a request belong to, and how is that passed on? W3C Trace Context.

https://www.w3.org/TR/trace-context/. Without tracing of its own the gateway passes on what is valid, byte for byte, and
drops the rest: what it does not understand must not reach a server. With tracing it takes part: the server is told the
gateway's own span as its parent, in the client's trace or, where none came, in a new one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NO_TRACE", "TakePart", "Trace", "child", "is_sampled", "is_valid", "lines", "pass_on", "trace_ids"]

_RANDOM_BITS: Final = 192
"""What ``child`` takes: 64 bits for a span id below 128 bits for a trace id."""
_LONGEST_TRACESTATE = 512
_MOST_MEMBERS = 32
_TRACE_ID = slice(3, 35)
_SPAN_ID = slice(36, 52)
_FLAGS = slice(53, 55)
_SAMPLED = 0b01
_KNOWN_FLAGS = 0b11
"""Sampled, and random trace id (level 2 of the recommendation): who takes part may not pass on any other."""
_RATIO_MASK = (1 << 56) - 1
"""The bits of a trace id that are random by every rule, and so decide on sampling."""

# Section 3.2: lower case, ids not all zero, ff forbidden; a version above 00 may go on behind one more dash. What goes
# on holds no comma, so that two headers joined by one don't pass for a single value.
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-+\--~]{0,200})?"
)
# Section 3.3.1.3; keys by level 2, whose rule holds those of level 1 too.
_MEMBER = re.compile(rb"([a-z0-9][a-z0-9_*/@-]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]")


class Trace(msgspec.Struct, frozen=True, gc=False):
    """The trace of one request.

    Attributes:
        own: the ``traceparent`` for the server; empty when there is none.
        parent: the client's ``traceparent``, where it was valid.
        lines: header lines for the server, each ending in CRLF.
    """

    own: bytes = b""
    parent: bytes = b""
    lines: bytes = b""


NO_TRACE: Final = Trace()


def pass_on(traceparent: bytes, tracestate: bytes) -> Trace:
    """Pass a trace on without taking part in it.

    Args:
        traceparent: the client's header, empty if absent; several joined by commas, which makes them invalid.
        tracestate: likewise; several joined by commas, as section 3.3.1 says.
    """
    told = traceparent and lines(traceparent, tracestate)
    return Trace(traceparent, traceparent, told) if told else NO_TRACE


class TakePart:
    """Makes the gateway a span in each trace; called as ``pass_on`` is.

    Args:
        draw: gives so many random bits.
        sample_ratio: which part of the traces that begin here is recorded, 0.0 to 1.0; others follow their client.
    """

    __slots__ = ("_draw", "_sampled_up_to")

    def __init__(self, draw: Callable[[int], int], sample_ratio: float) -> None:
        self._draw = draw
        self._sampled_up_to = round(sample_ratio * (_RATIO_MASK + 1))

    def __call__(self, traceparent: bytes, tracestate: bytes) -> Trace:
        """Give the trace of a request."""
        parent = traceparent if is_valid(traceparent) else b""
        own = child(parent, self._draw(_RANDOM_BITS), sampled_up_to=self._sampled_up_to)
        return Trace(own, parent, lines(own, tracestate if parent else b""))


def child(traceparent: bytes, random_bits: int, *, sampled_up_to: int = _RATIO_MASK + 1) -> bytes:
    """Make the ``traceparent`` of a span of our own, of version 00.

    Args:
        traceparent: the parent's; absent or invalid, a new trace is begun.
        random_bits: 192 of them.
        sampled_up_to: a new trace is recorded when the lowest 56 bits of its id are below this.
    """
    span_id = random_bits & 0xFFFF_FFFF_FFFF_FFFF or 1
    if is_valid(traceparent):
        flags = int(traceparent[_FLAGS], 16) & _KNOWN_FLAGS
        return b"00-%b-%016x-%02x" % (traceparent[_TRACE_ID], span_id, flags)
    trace_id = (random_bits >> 64) & ((1 << 128) - 1) or 1
    flags = _SAMPLED if trace_id & _RATIO_MASK < sampled_up_to else 0
    return b"00-%032x-%016x-%02x" % (trace_id, span_id, flags)


def lines(traceparent: bytes, tracestate: bytes) -> bytes:
    """Write the header lines that pass a trace on; empty when there is none. An invalid tracestate is left out."""
    if not is_valid(traceparent):
        return b""
    members = _members(tracestate) if tracestate else b""
    state = b"tracestate: %b\r\n" % members if members else b""
    return b"traceparent: %b\r\n%b" % (traceparent, state)


def is_valid(traceparent: bytes) -> bool:
    """Whether this is a ``traceparent`` of version 00, or one that a later version may have written."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return found is not None and not (found[1] and traceparent.startswith(b"00"))


def is_sampled(traceparent: bytes) -> bool:
    """Whether a valid ``traceparent`` says that its trace is recorded."""
    return bool(int(traceparent[_FLAGS], 16) & _SAMPLED)


def trace_ids(traceparent: bytes) -> tuple[int, int]:
    """Give the trace id and the span id of a valid ``traceparent``."""
    return int(traceparent[_TRACE_ID], 16), int(traceparent[_SPAN_ID], 16)


def _members(tracestate: bytes) -> bytes:
    """Bring a list of members into one line; empty when it is too long, or any of it is invalid."""
    if len(tracestate) > _LONGEST_TRACESTATE:
        return b""
    members = [member for part in tracestate.split(b",") if (member := part.strip(b" \t"))]
    found = [_MEMBER.fullmatch(member) for member in members]
    keys = {member[1] for member in found if member}
    return b",".join(members) if len(keys) == len(members) <= _MOST_MEMBERS else b""
