r"""How is one member of a JSON object replaced without touching another byte of it?

Requests are forwarded byte for byte, so a member is found by its span and cut out, never by decoding and encoding
the whole. Nearly always it is found at a glance; else the text is gone through once, string by string and bracket by
bracket, up to a bound, as all other requests wait meanwhile. The scanner trusts that the object is well-formed
(``peek`` has decoded it); anything else comes back with a splice that makes no sense or raises ``ValueError``,
whereupon the caller keeps the bytes as they are.

Names are lower-case ASCII letters and underscores, which a client may still spell with escapes (``"mod\u0065l"``).
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["MAX_TOKENS", "TooComplexError", "add_member", "find_members", "replace_spans", "set_member", "value_end"]

MAX_TOKENS = 200_000
"""The most strings and brackets that are gone through one by one: well below 0.1 s."""

_WHITE = re.compile(rb"[ \t\r\n]*+")
_COLON = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+")
_SCALAR = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^" \t\r\n,\]}]++', re.DOTALL)
_TOKEN = re.compile(rb'[^"\[\]{}]*+(?:("[^"]*+")([ \t\r\n]*+:[ \t\r\n]*+)?+|([\[{])|([\]}]))')
_KEY, _OPENING, _CLOSING = 2, 3, 4
_ESCAPED_NAME = re.compile(rb"\\u00(?:5[fF]|6[1-9a-fA-F]|7[0-9aA])")
_OPENINGS = frozenset((b"[", b"{"))
_decode_key = msgspec.json.Decoder(str).decode


class TooComplexError(ValueError):
    """A member cannot be found in the time that one text may take."""


def add_member(text: bytes, name: str, value: bytes) -> bytes:
    """Insert ``"name": value`` as the first member of an object. The object must not have that member yet."""
    start = _start(text)
    rest = _after_white(text, start + 1)
    comma = b"" if text[rest : rest + 1] == b"}" else b","
    return b'%b{"%b":%b%b%b' % (text[:start], name.encode(), value, comma, text[start + 1 :])


def set_member(text: bytes, name: str, value: bytes) -> bytes:
    """Replace the value of a top-level member. Text without that member comes back as it was.

    Raises:
        ValueError: the member stands there twice (parsers disagree on which one counts), or this is no JSON object.
        TooComplexError: it could not be found within the bound.
    """
    span = find_members(text, (name,)).get(name)
    return text if span is None else b"%b%b%b" % (text[: span.start], value, text[span.stop :])


def replace_spans(text: bytes, edits: Iterable[tuple[slice, bytes]]) -> bytes:
    """Put bytes in the place of spans that do not overlap, all in one go."""
    pieces: list[bytes] = []
    kept = 0
    for span, value in sorted(edits, key=lambda edit: edit[0].start):
        pieces += (text[kept : span.start], value)
        kept = span.stop
    return b"".join([*pieces, text[kept:]])


def find_members(text: bytes, names: Sequence[str]) -> dict[str, slice]:
    """Find the bytes of top-level members' values. Names that are not there are left out.

    Raises:
        ValueError, TooComplexError: as for ``set_member``.
    """
    start = _start(text)
    if text.find(b"\\u00") >= 0 and _ESCAPED_NAME.search(text) is not None:  # a key may be spelt otherwise
        return _scan(text, start, names)
    values = {}
    for name in names:
        literal = b'"%b"' % name.encode()
        key = text.find(literal)
        if key < 0:
            continue
        value = _value_of_only_key(text, literal, key)
        if value is None:
            return _scan(text, start, names)
        values[name] = value
    return {name: slice(value, value_end(text, value)) for name, value in values.items()}


def _value_of_only_key(text: bytes, literal: bytes, key: int) -> int | None:
    """Where the value begins if the words stand in the text once, as a key, and evidently at the top.

    A quote that opens a string has no backslash before it. A key in a nested object has two brackets open before it
    and two to close after it, whatever the strings around hold.
    """
    if text.find(literal, key + 1) >= 0 or text[key - 1 : key] == b"\\":
        return None
    colon = _COLON.match(text, key + len(literal))
    if colon is None:
        return None
    if text.find(b"[", 0, key) < 0 and text.count(b"{", 0, key) == 1:
        return colon.end()
    return colon.end() if text.find(b"]", key) < 0 and text.count(b"}", key) == 1 else None


def _scan(text: bytes, position: int, names: Sequence[str]) -> dict[str, slice]:
    """Go through all members, once."""
    longest = max(map(len, names), default=0) * len(rb"\u0065") + len(b'""')
    found: dict[str, slice] = {}
    depth, awaited = 0, None
    for token in _tokens(_without_escapes(text), position):
        kind = token.lastindex
        if kind == _OPENING:
            depth += 1
        elif kind == _CLOSING:
            depth -= 1
            if depth == 0:
                return found
            if depth == 1 and awaited is not None:
                found[awaited] = slice(found[awaited].start, token.end())
                awaited = None
        elif kind == _KEY and depth == 1:
            begin, end = token.span(1)
            name = _name(text[begin:end]) if end - begin <= longest else None
            if name is None or name not in names:
                continue
            if name in found:
                raise ValueError(f"'{name}' appears twice")
            value = token.end()
            if text[value : value + 1] in _OPENINGS:
                found[name], awaited = slice(value, value), name
            else:
                found[name] = slice(value, value_end(text, value))
    raise ValueError("not a JSON object")


def value_end(text: bytes, start: int) -> int:
    """Where the JSON value that begins at ``start`` ends (exclusive).

    Raises:
        ValueError: there is no value, or it does not end.
        TooComplexError: its end could not be found within the bound.
    """
    if text[start : start + 1] not in _OPENINGS:
        scalar = _SCALAR.match(text, start)
        if scalar is None:
            raise ValueError("not a JSON value")
        return scalar.end()
    depth = 0
    for token in _tokens(_without_escapes(text), start):
        kind = token.lastindex
        if kind == _OPENING:
            depth += 1
        elif kind == _CLOSING:
            depth -= 1
            if depth == 0:
                return token.end()
    raise ValueError("a JSON value does not end")


def _tokens(plain: bytes, position: int) -> Iterator[re.Match[bytes]]:
    """Go through strings and brackets, as many as may be."""
    tokens = _TOKEN.finditer(plain, position)
    yield from islice(tokens, MAX_TOKENS)
    if next(tokens, None) is not None:
        raise TooComplexError(f"there are more than {MAX_TOKENS:,} strings and brackets")


def _without_escapes(text: bytes) -> bytes:
    """Blank out escaped quotes and backslashes, so that each quote left opens or closes a string. No byte moves."""
    if text.find(b"\\") < 0:
        return text
    return text.replace(b"\\\\", b"\0\0").replace(b'\\"', b"\0\0")


def _name(key: bytes) -> str | None:
    """Read a key, however it is spelt."""
    try:
        return _decode_key(key)
    except ValueError:  # half a surrogate pair, or no JSON at all: none of ours
        return None


def _start(text: bytes) -> int:
    start = _after_white(text, 0)
    if text[start : start + 1] != b"{":
        raise ValueError("not a JSON object")
    return start


def _after_white(text: bytes, position: int) -> int:
    white = _WHITE.match(text, position)
    return white.end() if white else position
