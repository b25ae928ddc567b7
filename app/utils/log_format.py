"""How does an event look as a line? Text for people, JSON for machines; in neither can a value forge a line.

Text has one line an event; a traceback follows with ``|`` before each of its lines, so that no line of it can be
taken for an event. Characters that don't print (line breaks, escape sequences, direction marks) are written as escapes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Renderer", "render_json", "text_renderer"]

Renderer = "Callable[[object, str, Mapping[str, object]], str]"

_LEADING = ("timestamp", "level", "logger", "event", "request_id")
_TRAILING = ("exception", "stack")
_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_BOLD: Final = "\x1b[1m"
_LEVEL_COLOURS = {
    "debug": "\x1b[36m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;41m",
}


def render_json(_logger: object, _method: str, event: Mapping[str, object]) -> str:
    """Render one event as one line of ASCII JSON."""
    ordered = {name: event[name] for name in _LEADING if name in event}
    return json.dumps({**ordered, **event}, default=str)


def text_renderer(*, colour: bool) -> Callable[[object, str, Mapping[str, object]], str]:
    """Give a renderer for text: time, level, sentence, fields, logger, request."""

    def paint(code: str, text: str) -> str:
        return f"{code}{text}{_RESET}" if colour else text

    def render(_logger: object, _method: str, event: Mapping[str, object]) -> str:
        level = str(event.get("level", "info"))
        fields = [
            f"{_printable(name)}={_quoted(value)}"
            for name, value in event.items()
            if name not in _LEADING and name not in _TRAILING
        ]
        if "request_id" in event:
            fields.append(f"request_id={_quoted(event['request_id'])}")
        parts = [
            paint(_DIM, str(event.get("timestamp", ""))),
            paint(_LEVEL_COLOURS.get(level, ""), f"{level.upper():<8}"),
            paint(_BOLD, _printable(str(event.get("event", "")))),
            *fields,
            paint(_DIM, f"({_printable(str(event.get('logger', '')))})"),
        ]
        return " ".join(parts) + "".join(_indented(str(event[name])) for name in _TRAILING if name in event)

    return render


def _indented(block: str) -> str:
    return "".join(f"\n    | {_printable(line)}" for line in block.split("\n"))


def _quoted(value: object) -> str:
    """Write a value so that it is told from the next one: quotes where it has spaces, quotes or ``=``."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if not isinstance(value, str):
        return _printable(text)
    plain = text.isprintable() and bool(text) and not any(sign in text for sign in " \"'=")
    return text if plain else _printable(json.dumps(text, ensure_ascii=False))


def _printable(text: str) -> str:
    """Replace characters that don't print by their escapes."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)
