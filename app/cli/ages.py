"""How long ago was that?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

__all__ = ["describe_age"]

_MINUTE_SECONDS: Final = 60
_HOUR_SECONDS: Final = 3600
_DAY_SECONDS: Final = 86_400


def describe_age(instant: object, now: datetime) -> str:
    """How long ago an ISO timestamp was, in the largest unit that fits."""
    try:
        then = datetime.fromisoformat(str(instant))
    except ValueError:
        return "never" if instant is None else str(instant)
    seconds = max(0.0, (now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds())
    for unit_seconds, unit in ((_DAY_SECONDS, "d"), (_HOUR_SECONDS, "h"), (_MINUTE_SECONDS, "min")):
        if seconds >= unit_seconds:
            return f"{seconds // unit_seconds:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
