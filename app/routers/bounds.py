"""Is a value that came as JSON small, plain and harmless enough to be stored, sent on and shown? Pure."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["MAX_COUNT", "bounded_object", "instant", "last_moment", "single_line", "visible_ascii", "whole_number"]

DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MAX_COUNT: Final = 2**31 - 1
MAX_INTEGER: Final = 2**63 - 1
MAX_OBJECT_BYTES: Final = 16 * 1024
MAX_OBJECT_DEPTH: Final = 8
CONTROL: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


def single_line(text: str) -> str:
    """Refuse control characters, lone surrogates, line separators, and space at the ends.

    Raises:
        ValueError: in words for whoever sent it.
    """
    if has_control(text):
        message = "should have no control characters and no line breaks"
        raise ValueError(message)
    if text != text.strip():
        message = "should have no space at its beginning or end"
        raise ValueError(message)
    return text


def visible_ascii(text: str) -> str:
    """Refuse what could break out of a header or get lost in one.

    Raises:
        ValueError: the text has other characters than visible ASCII.
    """
    if not all("!" <= character <= "~" for character in text):
        message = "should have visible ASCII characters only, without spaces"
        raise ValueError(message)
    return text


def whole_number(value: Any) -> Any:
    """Take 8.0 for 8, as JSON does, and nothing else for a number: not true, not "8"."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value


def instant(value: Any) -> Any:
    """Take only text for a time, and only times that UTC can say.

    Raises:
        ValueError: a number, or a time beyond the calendar.
    """
    if value is None or isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        message = "should be a time as text, like 2030-01-01T08:00:00Z"
        raise ValueError(message)  # noqa: TRY004 - pydantic takes a ValueError for a fault of the sender's
    try:
        parsed = datetime.fromisoformat(value)
        return parsed if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        message = "should be a time with its zone, like 2030-01-01T08:00:00Z"
        raise ValueError(message) from error


def last_moment(value: Any) -> Any:
    """Take a date alone for the last second of that day in UTC, and all else as ``instant`` does.

    Raises:
        ValueError: likewise.
    """
    is_date = isinstance(value, str) and DATE.fullmatch(value) is not None
    return instant(f"{value}T23:59:59Z" if is_date else value)


def bounded_object(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse a JSON object that is too large, too deep, or holds what no JSON text can say.

    Raises:
        ValueError: in words for whoever sent it.
    """
    level: list[Any] = [value]
    for _depth in range(MAX_OBJECT_DEPTH + 1):
        if not level:
            break
        level = [child for item in level for child in _children(item)]
    if level:
        message = f"should be nested at most {MAX_OBJECT_DEPTH} levels deep"
        raise ValueError(message)
    if len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode()) > MAX_OBJECT_BYTES:
        message = f"should have at most {MAX_OBJECT_BYTES} bytes as JSON"
        raise ValueError(message)
    return value


def has_control(text: str) -> bool:
    """Whether a text has characters that steer a terminal, end a line or cannot be encoded."""
    return any(unicodedata.category(character) in CONTROL for character in text)


def _children(item: Any) -> list[Any]:
    """Judge one value by itself and return what it holds."""
    if isinstance(item, dict):
        for name in item:
            _refuse_unstorable(name)
        return list(item.values())
    if isinstance(item, list):
        return item
    _refuse_unstorable(item)
    return []


def _refuse_unstorable(item: Any) -> None:
    if isinstance(item, str) and ("\0" in item or any(unicodedata.category(each) == "Cs" for each in item)):
        message = "should have no NUL characters and no lone surrogates"
        raise ValueError(message)
    if isinstance(item, float) and not math.isfinite(item):
        message = "should have finite numbers only"
        raise ValueError(message)
    if isinstance(item, int) and not -MAX_INTEGER <= item <= MAX_INTEGER:
        message = "should have whole numbers of at most 63 bits"
        raise ValueError(message)
