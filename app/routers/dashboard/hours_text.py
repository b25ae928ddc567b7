"""How are a server's hours written in one field? A line for each window: ``mon-fri 18:00-08:00``. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, get_args

from app.routers.terms_schemas import Day
from app.services.core.errors import FieldsInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["days_in_words", "lines_of", "windows_in"]

_DAYS: Final[tuple[str, ...]] = get_args(Day)
_WINDOW: Final = re.compile(
    r"(?:([a-z,\s-]*[a-z])\s+)?(\d{1,2}:\d{2})\s*(?:-|\N{EN DASH}|to)\s*(\d{1,2}:\d{2})", re.IGNORECASE
)
_EVERY_DAY: Final = frozenset({"", "daily", "every day"})
_MOST_SHOWN: Final = 40
_LONGEST: Final = 100


def lines_of(windows: Iterable[Mapping[str, Any]]) -> str:
    """Write windows as the field has them."""
    return "\n".join(f"{days_in_words(window['days'])} {window['from']}-{window['to']}".strip() for window in windows)


def days_in_words(days: Sequence[str]) -> str:
    """Write days as briefly as they can be read again; nothing for all of them."""
    known = [index for index, day in enumerate(_DAYS) if day in days]
    if len(known) == len(_DAYS):
        return ""
    if len(known) > 1 and known == list(range(known[0], known[-1] + 1)):
        return f"{_DAYS[known[0]]}-{_DAYS[known[-1]]}"
    return ",".join(_DAYS[index] for index in known)


def windows_in(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Read the lines of the field. Times are only read here; whether there are such is judged where hours are.

    Raises:
        FieldsInvalid: a line is not of this form.
    """
    return [_window(line) for line in lines]


def _window(line: str) -> dict[str, Any]:
    found = _WINDOW.fullmatch(line.strip()[:_LONGEST])
    days = _days(found[1] or "") if found else None
    if found is None or days is None:
        message = f"'{line[:_MOST_SHOWN]}' can't be read. Write a line such as mon-fri 18:00-08:00, or 00:00-24:00."
        raise FieldsInvalid(message, param="windows")
    return {"days": days, "from": found[2].rjust(5, "0"), "to": found[3].rjust(5, "0")}


def _days(text: str) -> list[str] | None:
    """Read ``mon-fri``, ``sat,sun`` or nothing for every day; a range may pass Sunday. None for what is neither."""
    words = " ".join(text.lower().split())
    if words in _EVERY_DAY:
        return list(_DAYS)
    chosen: set[str] = set()
    for part in words.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        names = (first[:3], (last if dash else first)[:3])
        if not set(names) <= set(_DAYS):
            return None
        begin, end = (_DAYS.index(name) for name in names)
        chosen.update((_DAYS * 2)[begin : (end if end >= begin else end + len(_DAYS)) + 1])
    return [day for day in _DAYS if day in chosen]
