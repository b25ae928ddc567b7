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

from app.services.core.answer.splice import find_members

__all__ = ["MOST_TEXT_BYTES", "Template"]

MOST_TEXT_BYTES = 4096
"""An event with more text than that fits no template: whoever keeps the texts counts them, and not their bytes."""

_TEXT = re.compile(rb'"(content|text|reasoning_content|reasoning|arguments)":[ ]?"((?:[^"\\]++|\\.)*+)"')
_MEMBER, _VALUE = 1, 2
_may_end_it = re.compile(rb'["\n]').search
_is_rest_of_string = re.compile(rb'(?:[^"\\\n]++|\\.)*+').fullmatch
"""Without a line feed: it is in no string of JSON, and for events it is the end of a line."""
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
        member: which one the text is the value of: ``content``, ``text``, ``reasoning_content``, ``reasoning`` or
            ``arguments``. The others of these, where they stand in the event too, are empty.
    """

    front: bytes
    back: bytes
    new_front: bytes
    new_back: bytes
    renames: bool
    member: str

    @classmethod
    def of(cls, event: bytes, model: bytes | None) -> Template | None:
        """Learn from an event of one line. None where it has no text, or two: then each would have to be read.

        Args:
            event: a whole event with one JSON object as its data.
            model: the JSON string to put in the place of ``model``; None where that stays.
        """
        texts = list(_TEXT.finditer(event))
        filled = [text for text in texts if text[_VALUE]]
        if not texts or len(filled) > 1:
            return None
        text = (filled or texts)[0]
        begin, rest = text.span(_VALUE)
        front, back = event[:begin], event[rest:]
        template = cls(front, back, front, back, renames=False, member=text[_MEMBER].decode())
        if model is None:
            return template
        try:
            place = find_members(event[len(_PREFIX) :], ("model",)).get("model")
        except ValueError:
            return None
        return template if place is None else template._with_model(model, place, rest)

    def _with_model(self, model: bytes, place: slice, rest: int) -> Template | None:
        """Put the model's name into its place in the data; ``back`` begins at ``rest``. None where that is no place."""
        start, stop = place.start + len(_PREFIX), place.stop + len(_PREFIX)
        front, back = self.front, self.back
        if stop <= len(front):
            return msgspec.structs.replace(self, new_front=front[:start] + model + front[stop:], renames=True)
        start, stop = start - rest, stop - rest
        if start < 0:
            return None
        return msgspec.structs.replace(self, new_back=back[:start] + model + back[stop:], renames=True)

    def text_of(self, data: bytes, start: int, end: int) -> bytes | None:
        """The text, as it is escaped, if the octets from ``start`` to ``end`` are an event that differs in it alone.

        None where they are not, or where it is longer than ``MOST_TEXT_BYTES``.
        """
        front, back = self.front, self.back
        begin, rest = start + len(front), end - len(back)
        if begin > rest or rest - begin > MOST_TEXT_BYTES or data[start:begin] != front or data[rest:end] != back:
            return None
        text = data[begin:rest]
        if (_may_end_it(text) is None and data[rest - 1] != _BACKSLASH) or _is_rest_of_string(text) is not None:
            return text
        return None

    def filled_with(self, text: bytes) -> bytes:
        """The event for the client with that text, which ``text_of`` gave."""
        return b"%b%b%b" % (self.new_front, text, self.new_back)
