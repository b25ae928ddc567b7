"""How are the hours of a server written in a terminal, and how do they read there?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from app.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["hours_in_words", "parse_hours"]

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EXAMPLE: Final = "Write it as --hours 'mon-fri 18:00-08:00 Europe/Berlin'; days may be left out, or be 'sat,sun'."
_TIMES: Final = re.compile(r"(\d{1,2}:\d{2})-(\d{1,2}:\d{2})")
_MOST_WORDS: Final = 3


def parse_hours(texts: Sequence[str] | None) -> dict[str, Any] | None:
    """Read ``[DAYS] FROM-TO [ZONE]``; one of several may name the zone of all.

    Raises:
        CommandFailed: one is not of this form, no zone is named, or two are.
    """
    if not texts:
        return None
    parsed = [_parse(text) for text in texts]
    zones = {zone for zone, _window in parsed if zone}
    if len(zones) != 1:
        message = "--hours names no time zone." if not zones else f"--hours names {len(zones)} time zones."
        raise CommandFailed(message, fix=f"Name one. {EXAMPLE}", code=ExitCode.USAGE)
    return {"timezone": zones.pop(), "windows": [window for _zone, window in parsed]}


def hours_in_words(hours: Mapping[str, Any] | None) -> str:
    """Say when a server is lent: ``mon-fri 18:00-08:00 Europe/Berlin``; empty where that is always."""
    if not hours:
        return ""
    windows = [
        f"{_days_in_words(window.get('days') or DAYS)}{window.get('from')}-{window.get('to')}"
        for window in hours.get("windows") or []
    ]
    return f"{', '.join(windows)} {hours.get('timezone')}"


def _parse(text: str) -> tuple[str, dict[str, Any]]:
    """Read one window, with the zone that it names; empty if it names none."""
    words = text.split()
    at = next((index for index, word in enumerate(words) if _TIMES.fullmatch(word)), None)
    if at is None or at > 1 or len(words) > _MOST_WORDS or len(words) - at > _MOST_WORDS - 1:
        raise _unreadable(text)
    days = _days(words[0], text) if at else list(DAYS)
    begin, _dash, end = words[at].partition("-")
    window = {"days": days, "from": begin.rjust(5, "0"), "to": end.rjust(5, "0")}
    return (words[at + 1] if len(words) > at + 1 else ""), window


def _days(word: str, text: str) -> list[str]:
    """Read ``mon-fri``, ``sat,sun`` or ``daily``; a range may pass Sunday."""
    if word.lower() in {"daily", "every-day"}:
        return list(DAYS)
    chosen: set[str] = set()
    for part in word.lower().split(","):
        first, dash, last = part.partition("-")
        names = [name[:3] for name in ((first, last) if dash else (first, first))]
        if not set(names) <= set(DAYS):
            raise _unreadable(text)
        begin, end = (DAYS.index(name) for name in names)
        chosen.update((DAYS * 2)[begin : (end if end >= begin else end + len(DAYS)) + 1])
    return [day for day in DAYS if day in chosen]


def _days_in_words(days: Sequence[str]) -> str:
    """Say days as briefly as they can be read again; nothing for all of them."""
    known = [index for index, day in enumerate(DAYS) if day in days]
    if len(known) == len(DAYS) or not known:
        return ""
    if len(known) > 1 and known == list(range(known[0], known[-1] + 1)):
        return f"{DAYS[known[0]]}-{DAYS[known[-1]]} "
    return f"{','.join(DAYS[index] for index in known)} "


def _unreadable(text: str) -> CommandFailed:
    return CommandFailed(f"--hours '{text}' can't be read.", fix=EXAMPLE, code=ExitCode.USAGE)
