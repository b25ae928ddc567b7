"""How is a value read from JSON that anybody may have written? Wrong types are no value, never an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeGuard

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "NotJson",
    "Path",
    "amount_at",
    "count_at",
    "decode",
    "decode_or_none",
    "entries",
    "is_model_name",
    "objects_at",
    "readable",
    "share_at",
    "text_at",
    "texts_at",
    "value_at",
]

Path = tuple[str, ...]
"""The members to walk through from the outermost object in."""

MAX_NAME_LENGTH: Final = 256
MAX_TEXT_LENGTH: Final = 200
MAX_CONTEXT_LENGTH: Final = 1_000_000_000
MAX_AMOUNT: Final = 1_000_000
"""More requests than that at one server are nonsense."""
MAX_ENTRIES: Final = 1000
"""Entries taken from one list of an engine's own; the rest is left out."""
MAX_BRACKETS: Final = 20_000
"""A page of an engine's own that opens more objects and lists than this is not read: making them is what takes long.
A list of 1000 models opens some 6,000; a chat template holds hundreds."""


class NotJson(ValueError):
    """The bytes are not JSON, or are nested too deep to read."""


def decode(body: bytes) -> object:
    """Decode JSON into plain dicts, lists and scalars.

    Raises:
        NotJson: for anything else. msgspec 0.22 gives up with RecursionError at a depth of 1000.
    """
    try:
        document: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(str(error)) from error
    return document


def decode_or_none(body: bytes | None) -> object:
    """Decode JSON as ``decode`` does; None for what is no JSON, not there, or made to keep us busy."""
    if body is None or body.count(b"{") + body.count(b"[") > MAX_BRACKETS:
        return None
    try:
        return decode(body)
    except NotJson:
        return None


def value_at(document: object, path: Path) -> object:
    """Walk ``path`` into nested objects; None where a step is missing or no object."""
    for step in path:
        if not _is_object(document):
            return None
        document = document.get(step)
    return document


def text_at(document: object, path: Path) -> str:
    """Return the string at ``path``, empty if there is none."""
    value = value_at(document, path)
    return value if isinstance(value, str) else ""


def count_at(document: object, path: Path) -> int | None:
    """Return the positive whole number at ``path``, if there is a sane one."""
    value = value_at(document, path)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= MAX_CONTEXT_LENGTH else None


def amount_at(document: object, path: Path) -> int | None:
    """Return the number of requests at ``path``, zero or more, if there is a sane one."""
    value = value_at(document, path)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_AMOUNT else None


def share_at(document: object, path: Path) -> float | None:
    """Return the number from 0 to 1 at ``path``, if there is one."""
    value = value_at(document, path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None


def texts_at(document: object, path: Path) -> frozenset[str]:
    """Return the strings in the list at ``path``; none if it is no list."""
    value = value_at(document, path)
    return (
        frozenset(text for text in value[:MAX_ENTRIES] if isinstance(text, str))
        if isinstance(value, list)
        else frozenset()
    )


def objects_at(document: object, path: Path) -> Iterator[Mapping[str, object]]:
    """Yield the objects in the list at ``path``, the outermost value for an empty path; at most 1000."""
    value = value_at(document, path)
    if isinstance(value, list):
        yield from filter(_is_object, value[:MAX_ENTRIES])


def entries(listing: object) -> Iterator[Mapping[str, object]]:
    """Yield the objects in ``data`` of an OpenAI-style list."""
    data = value_at(listing, ("data",))
    if isinstance(data, list):
        yield from filter(_is_object, data)


def is_model_name(value: object) -> TypeGuard[str]:
    """Whether a value can be a model's name: 1 to 256 characters, no control or formatting ones among them."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_LENGTH and value.isprintable()


def readable(text: str) -> str:
    """Make foreign text fit for one line of a log or a page: one line, printable, at most 200 characters."""
    cleaned = "".join(character if character.isprintable() else " " for character in text[: 4 * MAX_TEXT_LENGTH])
    line = " ".join(cleaned.split())
    return line if len(line) <= MAX_TEXT_LENGTH else line[: MAX_TEXT_LENGTH - 1] + "…"


def _is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether a JSON value is an object. JSON has no other keys than strings."""
    return isinstance(value, dict)
