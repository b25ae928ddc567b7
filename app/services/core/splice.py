"""How is one member of a JSON object replaced without touching another byte of it?

Requests are forwarded byte for byte, so a member is found by its span and cut out, never by decoding and encoding
the whole. The scanner trusts that the object is well-formed (``peek`` has decoded it); on anything else it raises
``ValueError`` and the caller keeps the bytes as they are.
"""

from __future__ import annotations

import re

import msgspec

__all__ = ["add_member", "find_member", "set_member", "value_end"]

_WHITE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(rb"[^ \t\r\n,\]}]++")
_STRUCTURE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
_OPENING = frozenset((b"[", b"{"))
_CLOSING = frozenset((b"]", b"}"))


def add_member(text: bytes, name: str, value: bytes) -> bytes:
    """Insert ``"name": value`` as the first member of an object. The object must not have that member yet."""
    start = _after_white(text, 0)
    if text[start : start + 1] != b"{":
        raise ValueError("not a JSON object")
    rest = _after_white(text, start + 1)
    comma = b"" if text[rest : rest + 1] == b"}" else b","
    return b'%b{"%b":%b%b%b' % (text[:start], name.encode(), value, comma, text[start + 1 :])


def set_member(text: bytes, name: str, value: bytes) -> bytes:
    """Replace the value of a top-level member. Text without that member comes back as it was.

    Raises:
        ValueError: the member stands there twice (parsers disagree on which one counts), or this is no JSON object.
    """
    span = find_member(text, name)
    return text if span is None else b"%b%b%b" % (text[: span.start], value, text[span.stop :])


def find_member(text: bytes, name: str) -> slice | None:
    """Find the bytes of a top-level member's value.

    Raises:
        ValueError: as for ``set_member``.
    """
    literal = b'"%b"' % name.encode()
    found: slice | None = None
    position = _after_white(text, 0)
    if text[position : position + 1] != b"{":
        raise ValueError("not a JSON object")
    if literal not in text and b"\\u" not in text:  # quotes within a string are escaped: no key can be hidden there
        return None
    position = _after_white(text, position + 1)
    while text[position : position + 1] != b"}":
        key = _STRING.match(text, position)
        if key is None:
            raise ValueError("not a JSON object")
        colon = _after_white(text, key.end())
        if text[colon : colon + 1] != b":":
            raise ValueError("not a JSON object")
        start = _after_white(text, colon + 1)
        end = value_end(text, start)
        spelt = key.group()
        if spelt == literal or (b"\\" in spelt and msgspec.json.decode(spelt) == name):
            if found is not None:
                raise ValueError(f"'{name}' appears twice")
            found = slice(start, end)
        position = _after_white(text, end)
        if text[position : position + 1] == b",":
            position = _after_white(text, position + 1)
        elif text[position : position + 1] != b"}":
            raise ValueError("not a JSON object")
    return found


def value_end(text: bytes, start: int) -> int:
    """Where the JSON value that begins at ``start`` ends (exclusive)."""
    first = text[start : start + 1]
    if first not in _OPENING:
        scalar = (_STRING if first == b'"' else _SCALAR).match(text, start)
        if scalar is None:
            raise ValueError("not a JSON value")
        return scalar.end()
    depth = 0
    for token in _STRUCTURE.finditer(text, start):
        mark = token.group()
        if mark in _OPENING:
            depth += 1
        elif mark in _CLOSING:
            depth -= 1
            if depth == 0:
                return token.end()
    raise ValueError("a JSON value does not end")


def _after_white(text: bytes, position: int) -> int:
    white = _WHITE.match(text, position)
    return white.end() if white else position
