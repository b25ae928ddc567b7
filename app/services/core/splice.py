r"""How is one member of a JSON object replaced without touching another byte of it?

Requests are forwarded byte for byte, so a member is found by its span and cut out, never by decoding and encoding
the whole. The scanner trusts that the object is well-formed (``peek`` has decoded it); anything else comes back with
a splice that makes no sense or raises ``ValueError``, whereupon the caller keeps the bytes as they are.

Names are plain ASCII words: letters and underscores, which a client may still spell with escapes (``"mod\u0065l"``).
"""

from __future__ import annotations

import re

import msgspec

__all__ = ["add_member", "find_member", "set_member", "value_end"]

_WHITE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(rb"[^ \t\r\n,\]}]++")
_STRUCTURE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
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
    position = _after_white(text, 0)
    if text[position : position + 1] != b"{":
        raise ValueError("not a JSON object")
    literal = b'"%b"' % name.encode()
    if b"\\u00" not in text or _ESCAPED_ASCII.search(text) is None:  # no key can be spelt otherwise
        key = text.find(literal)
        if key < 0:
            return None
        if _is_only_key(text, literal, key):
            start = _after_white(text, _after_white(text, key + len(literal)) + 1)
            return slice(start, value_end(text, start))
    return _scan(text, name, literal, _after_white(text, position + 1))


def _is_only_key(text: bytes, literal: bytes, key: int) -> bool:
    """Whether the words stand in the text once, as a key, and evidently at the top: the usual case, told at a glance.

    A quote that opens a string has no backslash before it. A key in a nested object has two brackets open before it
    and two to close after it, whatever the strings around hold.
    """
    if text.find(literal, key + 1) >= 0 or text[key - 1 : key] == b"\\":
        return False
    colon = _after_white(text, key + len(literal))
    if text[colon : colon + 1] != b":":
        return False
    if text.find(b"[", 0, key) < 0 and text.count(b"{", 0, key) == 1:
        return True
    return text.find(b"]", key) < 0 and text.count(b"}", key) == 1


def _scan(text: bytes, name: str, literal: bytes, position: int) -> slice | None:
    """Go through all members, from the first one's key on."""
    found: slice | None = None
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
