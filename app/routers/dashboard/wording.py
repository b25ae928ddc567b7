"""How are numbers, times and states written for people? The filters of the templates. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

from markupsafe import Markup

__all__ = [
    "FILTERS",
    "absolute",
    "ago",
    "byte_size",
    "compact",
    "count",
    "duration",
    "milliseconds",
    "moment",
    "per_second",
]

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_STEPS: Final = ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"))
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_THOUSAND: Final = 1000
_THIN_SPACE: Final = "\N{NARROW NO-BREAK SPACE}"
NOTHING: Final = "\N{EN DASH}"
"""What stands where a figure is not known."""


def count(number: float | None) -> str:
    """Write a whole number with thin spaces: 1 234 567."""
    return NOTHING if number is None else f"{round(number):,}".replace(",", _THIN_SPACE)


def compact(number: float | None) -> str:
    """Write a large number in short: 950, 12.3 k, 4.5 M."""
    if number is None:
        return NOTHING
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= size:
            return f"{number / (1e3 if unit == 'k' else size):.1f}".removesuffix(".0") + f"{_THIN_SPACE}{unit}"
    return count(number)


def per_second(number: float | None) -> str:
    """Write a rate with as many digits as tell something: 0.25, 3.1, 120."""
    if number is None or not math.isfinite(number):
        return NOTHING
    digits = 0 if number >= 100 or number == 0 else 1 if number >= 1 else 2  # noqa: PLR2004 - where digits stop telling
    return f"{number:.{digits}f}"


def milliseconds(number: float | None) -> str:
    """Write milliseconds: 0.4 ms, 12 ms, 1.3 s."""
    if number is None or not math.isfinite(number):
        return NOTHING
    if number >= _THOUSAND:
        return f"{number / _THOUSAND:.1f}{_THIN_SPACE}s"
    if number == 0:
        return f"0{_THIN_SPACE}ms"
    return f"{number:.{0 if number >= 10 else 1}f}{_THIN_SPACE}ms"  # noqa: PLR2004 - as above


def duration(seconds: float | None) -> str:
    """Write how long something lasts: 850 ms, 12 s, 3 min, 2 h, 5 d."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if abs(seconds) < 1:
        return milliseconds(seconds * _THOUSAND)
    for size, unit in _STEPS:
        if abs(seconds) >= size:
            return f"{int(seconds / size)}{_THIN_SPACE}{unit}"
    return f"{seconds:.0f}{_THIN_SPACE}s"


def byte_size(number: float | None) -> str:
    """Write a size: 512 B, 1.5 MiB."""
    if number is None:
        return NOTHING
    step, rest = 0, float(number)
    while abs(rest) >= 1024 and step < len(_UNITS) - 1:  # noqa: PLR2004 - binary units
        step, rest = step + 1, rest / 1024
    return f"{rest:.{0 if step == 0 else 1}f}{_THIN_SPACE}{_UNITS[step]}"


def absolute(instant: datetime | None) -> str:
    """Write a moment in full, in UTC."""
    return NOTHING if instant is None else instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(instant: datetime | None, now: datetime | None = None) -> str:
    """Write a moment as seen from now: just now, 12 s ago, in 3 h."""
    if instant is None:
        return "never"
    gap = (now or datetime.now(UTC)) - instant
    if abs(gap) < timedelta(seconds=2):
        return "just now"
    return f"{duration(gap.total_seconds())} ago" if gap > timedelta(0) else f"in {duration(-gap.total_seconds())}"


def moment(instant: datetime | None) -> Markup:
    """Write a moment as an element: relative to read, absolute on hover; ``base.js`` keeps it up to date."""
    if instant is None:
        return Markup("<span>never</span>")
    text = Markup('<time datetime="{}" title="{}" data-ago>{}</time>')
    return text.format(instant.astimezone(UTC).isoformat(timespec="milliseconds"), absolute(instant), ago(instant))


FILTERS: Final = {
    "ago": ago,
    "absolute": absolute,
    "bytes": byte_size,
    "compact": compact,
    "count": count,
    "duration": duration,
    "milliseconds": milliseconds,
    "moment": moment,
    "per_second": per_second,
}
"""By the names that templates call them."""
