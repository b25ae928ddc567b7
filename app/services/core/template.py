"""Is this event like the one before it, but for one text?

The events of a stream differ by a few letters of text. What stands before and behind it is the same for as long as the
stream goes on (vLLM, SGLang), or for a second, where each event bears the time (llama.cpp, Ollama). An event that is
alike says nothing that the learned one did not say, so it goes on after a few comparisons, unread.

Why that is safe: the same octets in front leave a reader of JSON at the same place, inside a string. What follows is
the rest of a string, in which each quote is escaped. The same octets behind end it, and the event, as they did before.
"""

from __future__ import annotations

import re

import msgspec

from app.services.core.splice import find_members

__all__ = ["Template"]

_TEXT = re.compile(rb'"(?:content|text|reasoning_content|reasoning|arguments)":[ ]?"((?:[^"\\]++|\\.)*+)"')
_REST_OF_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+')
_PREFIX = b"data:"
_BACKSLASH = ord("\\")


class Template(msgspec.Struct, frozen=True, gc=False):
    """What stands around the text of an event.

    Attributes:
        front: up to the text, its opening quote included.
        back: from its closing quote on, the event's end included.
        new_front: what the client gets in place of ``front``: the same, but for the model's name.
        new_back: likewise for ``back``.
        renames: whether the client's event differs from the server's.
    """

    front: bytes
    back: bytes
    new_front: bytes
    new_back: bytes
    renames: bool

    @classmethod
    def of(cls, event: bytes, model: bytes | None) -> Template | None:
        """Learn from an event of one line. None where it has no text.

        Args:
            event: a whole event with one JSON object as its data.
            model: the JSON string to put in the place of ``model``; None where that stays.
        """
        found = _TEXT.search(event)
        if found is None:
            return None
        front, back = event[: found.start(1)], event[found.end(1) :]
        if model is None:
            return cls(front, back, front, back, renames=False)
        try:
            place = find_members(event[len(_PREFIX) :], ("model",)).get("model")
        except ValueError:
            return None
        if place is None:
            return cls(front, back, front, back, renames=False)
        start, stop = place.start + len(_PREFIX), place.stop + len(_PREFIX)
        if stop <= len(front):
            return cls(front, back, front[:start] + model + front[stop:], back, renames=True)
        start, stop = start - found.end(1), stop - found.end(1)
        return cls(front, back, front, back[:start] + model + back[stop:], renames=True) if start >= 0 else None

    def fits(self, data: bytes, start: int, end: int) -> bool:
        """Whether the octets from ``start`` to ``end`` are an event that differs from the learned one in its text."""
        front, back = self.front, self.back
        begin, rest = start + len(front), end - len(back)
        if begin > rest or not data.startswith(front, start) or not data.startswith(back, rest):
            return False
        if data.find(b"\n", begin, rest) >= 0:
            return False  # no string of JSON, and for events the end of a line
        if data.find(b'"', begin, rest) < 0 and data[rest - 1] != _BACKSLASH:
            return True
        return _REST_OF_STRING.fullmatch(data, begin, rest) is not None

    def filled(self, data: bytes, start: int, end: int) -> bytes:
        """The event for the client, made of one that fits."""
        text = data[start + len(self.front) : end - len(self.back)]
        return b"%b%b%b" % (self.new_front, text, self.new_back)
