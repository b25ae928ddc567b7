"""What do a few named figures in a page of Prometheus's text format come to? The page is anybody's.

Only lines that begin with a name that is asked for are looked at, so a page costs one search for each name, however
much else it holds. Format: Prometheus text exposition 0.0.4, a name, labels in braces, a value, perhaps a time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["amount", "mean"]

MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
"""A larger page is not read. vLLM with eight engines writes some hundred KiB."""
MAX_SAMPLES: Final = 1024
"""A figure with more samples than this is none."""
MAX_LINE_BYTES: Final = 4096
MAX_AMOUNT: Final = 1_000_000
"""More requests than that at one server are nonsense."""

_SAMPLE: Final = re.compile(
    rb"""
    (\{ (?: [^"}] | "(?:[^"\\]|\\.)*+" )*+ \})?+            # labels, whose values may hold braces
    [ \t]++ ([+]?+ (?:\d++(?:\.\d*+)?+|\.\d++) (?:[eE][+-]?+\d{1,3})?+)   # no sign but plus, no NaN, no Inf
    (?: [ \t]++ -?+\d++ )?+ [ \t\r]*+                       # perhaps a time
    """,
    re.VERBOSE | re.ASCII,
)
_AFTER_NAME: Final = (b"{", b" ", b"\t")


def amount(page: bytes, name: str) -> int | None:
    """Add up a gauge that counts requests, over all its series (engines, ranks, models).

    Returns:
        The sum; None where the page has no such figure, or where any part of it is no sane number.
    """
    values = _values(page, name)
    total = sum(values) if values else -1.0
    return round(total) if 0 <= total <= MAX_AMOUNT else None


def mean(page: bytes, name: str) -> float | None:
    """Average a gauge that is a share from 0 to 1, over all its series.

    Returns:
        The mean; None where the page has no such figure, or where any part of it is no share.
    """
    values = _values(page, name)
    if not values or max(values) > 1.0:
        return None
    return sum(values) / len(values)


def _values(page: bytes, name: str) -> list[float]:
    """Read the values of all series of a figure, the last one of each; none at all if one can't be read."""
    series: dict[bytes, float] = {}
    for count, rest in enumerate(_rests(page, name.encode())):
        sample = _SAMPLE.fullmatch(rest) if count < MAX_SAMPLES else None
        if sample is None:
            return []
        series[sample[1] or b""] = float(sample[2])
    return list(series.values())


def _rests(page: bytes, name: bytes) -> Iterator[bytes]:
    """Yield what follows the name on each line that begins with it, cut where a line is too long."""
    if len(page) > MAX_PAGE_BYTES:
        return
    position = 0 if page.startswith(name) else _next_line_with(page, name, 0)
    while position is not None:
        begin = position + len(name)
        if page[begin : begin + 1] in _AFTER_NAME:
            end = page.find(b"\n", begin, begin + MAX_LINE_BYTES)
            yield page[begin : end if end >= 0 else begin + MAX_LINE_BYTES]
        position = _next_line_with(page, name, begin)


def _next_line_with(page: bytes, name: bytes, after: int) -> int | None:
    """Find where the next line begins that begins with the name; None after the last one."""
    found = page.find(b"\n" + name, after)
    return None if found < 0 else found + 1
