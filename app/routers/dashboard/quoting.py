"""How is a text written inside a shell command, Python, JavaScript, JSON or YAML, so that it is read back as it was?

Names of models are anybody's words. What can be seen stands as it is; what can't (bidirectional overrides, odd spaces)
is spelled out, so that people read what they copy. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_javascript", "in_python", "in_shell", "in_yaml"]

_BASIC_PLANE: Final = 0x10000


def in_shell(text: str) -> str:
    """Quote a word for bash and zsh; for any POSIX shell where all of it is visible."""
    if text.isprintable():
        return "'" + text.replace("'", "'\\''") + "'"
    return "$'" + "".join(_in_ansi_c(character) for character in text) + "'"


def in_javascript(text: str) -> str:
    """Write a string of JavaScript, which is one of JSON too (ECMA-262, 2019: JSON is a subset).

    An apostrophe is spelled out, so that the string can stand in a shell's single quotes.
    """
    return _quoted(text, lambda character: _surrogates(ord(character)), spelled="'")


def in_python(text: str) -> str:
    """Write a string of Python."""
    return _quoted(text, lambda character: f"\\U{ord(character):08x}")


def in_yaml(text: str) -> str:
    """Write a double-quoted string of YAML (YAML 1.2.2, 7.3.1)."""
    return _quoted(text, lambda character: f"\\U{ord(character):08X}")


def _quoted(text: str, beyond: Callable[[str], str], *, spelled: str = "") -> str:
    """Put a text in double quotes. ``beyond`` spells what can't be seen beyond the basic plane."""
    return '"' + "".join(_escaped(character, beyond, spelled) for character in text) + '"'


def _escaped(character: str, beyond: Callable[[str], str], spelled: str) -> str:
    if character in {'"', "\\"}:
        return f"\\{character}"
    if character.isprintable() and character not in spelled:
        return character
    return f"\\u{ord(character):04x}" if ord(character) < _BASIC_PLANE else beyond(character)


def _surrogates(code_point: int) -> str:
    """Spell a character beyond the basic plane as JavaScript does."""
    rest = code_point - _BASIC_PLANE
    return f"\\u{0xD800 + (rest >> 10):04x}\\u{0xDC00 + (rest & 0x3FF):04x}"


def _in_ansi_c(character: str) -> str:
    """Spell a character for ``$'...'``: as bytes, which mean the same in every locale."""
    if character in {"'", "\\"}:
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode())
