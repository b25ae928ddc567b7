"""How is one event changed so that all else in it stays as the server wrote it?

An object is taken apart into its members' names and bytes; those that change are replaced, and it is put together
again. Numbers keep their digits and texts their escapes.
"""

from __future__ import annotations

import json
import re

import msgspec

__all__ = ["Members", "is_bare", "joined", "json_text", "list_in", "members_in", "string_in", "with_data"]

Members = dict[str, msgspec.Raw]

_half = re.compile(rb"\\u[dD][89a-fA-F]").search
_decode_members = msgspec.json.Decoder(Members).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_string = msgspec.json.Decoder(str).decode


def members_in(value: bytes | msgspec.Raw) -> Members | None:
    """Take an object apart. Of a member that stands there twice the last counts. None where it is no object."""
    try:
        return _decode_members(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    found = _read_with_halves(value)
    return {name: _written(member) for name, member in found.items()} if isinstance(found, dict) else None


def list_in(value: msgspec.Raw) -> list[msgspec.Raw] | None:
    """Take a list apart. None where it is none."""
    try:
        return _decode_list(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    found = _read_with_halves(value)
    return list(map(_written, found)) if isinstance(found, list) else None


def string_in(value: msgspec.Raw | None) -> str:
    """Read a string; empty where there is none. It may have halves of characters, written as escapes."""
    if value is None:
        return ""
    try:
        return _decode_string(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    found = _read_with_halves(value)
    return found if isinstance(found, str) else ""


def is_bare(value: msgspec.Raw) -> bool:
    """Whether a member is null, or a text, a list or an object with nothing in it. White space is a text."""
    text = bytes(value)
    return text in (b"null", b'""') or (text.startswith((b"[", b"{")) and not text[1:-1].strip())


def json_text(text: str) -> bytes:
    """Write a string: as UTF-8, or with escapes where it has halves of characters."""
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError:
        return json.dumps(text).encode()


def joined(members: Members) -> msgspec.Raw:
    """Put an object together."""
    return msgspec.Raw(msgspec.json.encode(members))


def with_data(event: bytes, data: bytes) -> bytes:
    """Put another payload into an event. Comments, other fields and line ends stay.

    Args:
        event: a whole event with data.
        data: what ``data_of`` is to give of it.
    """
    if event.startswith(b"data: ") and event.count(b"\n") == 2 and event.endswith(b"\n\n"):
        return b"data: %b\n\n" % data.replace(b"\n", b"\ndata: ")
    lines = event.splitlines(keepends=True)
    places = [place for place, line in enumerate(lines) if line.startswith(b"data:")]
    kept = [line for place, line in enumerate(lines) if place not in places[1:]]
    old = lines[places[0]]
    line_end = old[len(old.rstrip(b"\r\n")) :]
    kept[places[0]] = b"".join([b"data: %b%b" % (line, line_end) for line in data.split(b"\n")])
    return b"".join(kept)


def _read_with_halves(value: bytes | msgspec.Raw) -> object:
    """Read JSON in which an engine wrote half of a character (a UTF-16 surrogate): msgspec takes it for an error.

    None where there is no such half, or another fault.
    """
    text = bytes(value)
    if _half(text) is None:
        return None
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found


def _written(value: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value, separators=(",", ":")).encode())
