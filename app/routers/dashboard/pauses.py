"""How long does a pause last that somebody chose on a page? Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from app.services.core.errors import FieldsInvalid

__all__ = ["LENGTHS", "UNITS", "hold_end", "tomorrow"]

LENGTHS: Final = {"15m": timedelta(minutes=15), "1h": timedelta(hours=1), "4h": timedelta(hours=4)}
"""By the words of the form; ``tomorrow``, ``open`` and ``own`` stand beside them."""
UNITS: Final = {"minutes": timedelta(minutes=1), "hours": timedelta(hours=1), "days": timedelta(days=1)}
_MORNING_HOUR: Final = 8
_LONGEST: Final = timedelta(days=3660)


def tomorrow(now: datetime) -> datetime:
    """The next morning by the clock of the gateway's machine."""
    there = now.astimezone() + timedelta(days=1)
    return there.replace(hour=_MORNING_HOUR, minute=0, second=0, microsecond=0)


def hold_end(choice: str, number: float | None, unit: str, now: datetime) -> datetime | None:
    """Say until when a hold lasts, in UTC; None for until it is lifted.

    Args:
        choice: what was chosen; nothing for until it is lifted.
        number: how many units, where a length of one's own was.
        unit: one of ``UNITS``.
        now: timezone-aware.

    Raises:
        FieldsInvalid: there is no such choice, or the length is missing, none, or of more than ten years.
    """
    if choice in {"", "open"}:
        return None
    if choice == "tomorrow":
        return tomorrow(now).astimezone(UTC)
    if choice in LENGTHS:
        return now + LENGTHS[choice]
    if choice != "own" or unit not in UNITS:
        message = "Choose how long: 15 minutes, an hour, until tomorrow, a length of your own, or until it is resumed."
        raise FieldsInvalid(message, param="for")
    if number is None or not 0 < number <= _LONGEST / UNITS[unit]:
        message = "Say how long it is to last, such as 30 minutes: more than nothing, and at most ten years."
        raise FieldsInvalid(message, param="own")
    return now + number * UNITS[unit]
