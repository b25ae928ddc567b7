"""Which header lines tell a client how its limits stand?

The six that OpenAI's clients read (platform.openai.com/docs/guides/rate-limits, "Rate limits in headers"): of requests
and of tokens the limit, what remains, and the time until nothing is used any more, as Go writes durations: ``20ms``,
``1s``, ``6m0s``. Of each of the two kinds the tightest limit is told: the one of which the least is left.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from app.services.core.limits.standing import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.services.core.limits.standing import Standing

__all__ = ["duration", "limit_lines", "lines_just_drawn"]

_MINUTE_SECONDS: Final = 60
_HOUR_SECONDS: Final = 3600
_MILLISECONDS: Final = 1000
_TOLERANCE: Final = 1e-6
"""What a sum of floats may be off."""
_REQUESTS: Final = (
    b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\nx-ratelimit-reset-requests: %b\r\n"
)
_TOKENS: Final = b"x-ratelimit-limit-tokens: %d\r\nx-ratelimit-remaining-tokens: %d\r\nx-ratelimit-reset-tokens: %b\r\n"
_REQUESTS_IN_A_MINUTE: Final = _REQUESTS.replace(b"%b", b"1m0s")
_BOTH_IN_A_MINUTE: Final = (_REQUESTS + _TOKENS).replace(b"%b", b"1m0s")


def duration(seconds: float) -> str:
    """Write a time as Go does, rounded up: to milliseconds below a minute, to seconds beyond."""
    if seconds <= 59.999:
        milliseconds = math.ceil(seconds * _MILLISECONDS - _TOLERANCE)
        if milliseconds >= _MILLISECONDS:
            return f"{milliseconds / _MILLISECONDS:g}s"
        return f"{milliseconds}ms" if milliseconds > 0 else "0s"
    minutes, rest = divmod(math.ceil(seconds - _TOLERANCE), _MINUTE_SECONDS)
    if minutes < _MINUTE_SECONDS:
        return f"{minutes}m{rest}s"
    return f"{minutes // _MINUTE_SECONDS}h{minutes % _MINUTE_SECONDS}m{rest}s"


def lines_just_drawn(
    requests: tuple[int, int] | None, tokens: tuple[int, int] | None, tokens_reset_in_seconds: float
) -> bytes:
    """Return the lines on a request that was just drawn.

    Args:
        requests: the tightest limit of requests, and what is left of it, which is never below zero; None: no limit.
        tokens: the same of tokens, where more may be drawn than there is.
        tokens_reset_in_seconds: when that limit is whole again; requests are in a minute.
    """
    if tokens is None:
        return b"" if requests is None else _REQUESTS_IN_A_MINUTE % requests
    limit, left = tokens
    if requests is not None and left >= 0 and tokens_reset_in_seconds == _MINUTE_SECONDS:
        return _BOTH_IN_A_MINUTE % (*requests, limit, left)
    lines = b"" if requests is None else _REQUESTS_IN_A_MINUTE % requests
    return lines + _TOKENS % (limit, max(left, 0), duration(tokens_reset_in_seconds).encode())


def limit_lines(standings: Iterable[Standing]) -> bytes:
    """Return the lines on the tightest limit of each kind; none on what is not limited."""
    requests: Standing | None = None
    tokens: Standing | None = None
    for standing in standings:
        if standing.kind is Kind.REQUESTS_PER_MINUTE:
            requests = _tighter(requests, standing)
        elif standing.kind.counts_tokens:
            tokens = _tighter(tokens, standing)
    lines = b"" if requests is None else _REQUESTS % _shown(requests)
    return lines if tokens is None else lines + _TOKENS % _shown(tokens)


def _shown(standing: Standing) -> tuple[int, int, bytes]:
    return standing.limit, standing.remaining, duration(standing.resets_in_seconds).encode()


def _tighter(known: Standing | None, found: Standing) -> Standing:
    """Return the limit of which less is left; of two like those, the one that takes longer to be whole again."""
    if known is None:
        return found
    return min(known, found, key=lambda standing: (standing.remaining, -standing.resets_in_seconds))
