r"""What went to the client of one streamed answer? It is noted as it goes out, and read when the answer broke.

Nearly all events of a stream differ in one text alone (``core.answer.template``). Of those the text is kept, still
escaped, and that is all that is done. Other blocks are kept as they are, in order with the texts. Only when all of that
has grown past ``MOST_UNREAD_BYTES``, or somebody asks, is it read, and what ``Delivered`` needs is kept of it. So a
stream of usual length that ends well is never read at all.

Texts stay escaped until somebody asks, so that a character which an engine wrote as two halves (UTF-16 surrogates,
``"\ud83d"`` in one event and ``"\ude00"`` in the next) is whole again. A half that stays alone can't be sent on, as
UTF-8 has none. In the midst it counts as U+FFFD, which every reader makes of it. At the end of the content its other
half was still to come, and no server goes on behind half a character: the answer is ``foreign``. It is so as well once
something went out that can't be read, or what another choice than the first says.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec

from app.services.core.answer.sse import data_of, events_of
from app.services.core.continuation.delivered import Delivered, Identity
from app.services.core.continuation.events import Delta, read_event

if TYPE_CHECKING:
    from app.services.core.continuation.events import Choice, Event

__all__ = ["MOST_KEPT_BYTES", "MOST_TEXTS", "MOST_UNREAD_BYTES", "Journal"]

MOST_TEXTS = 64
"""How many texts are kept one by one: each is an object of some 40 bytes for a text of four."""
MOST_UNREAD_BYTES = 8192
"""How much is kept unread, texts and whole events."""
MOST_KEPT_BYTES = 1_048_576
"""The most text that is kept, content and reasoning together, as it stands in the events."""

_OBJECT_BYTES = 48
"""What a piece takes beside its own bytes, so that many small ones are bounded too."""
_CONTENT = frozenset(("content", "text"))
_REASONING = frozenset(("reasoning_content", "reasoning"))
_NOTHING_SAID = Delta()

_decode_text = msgspec.json.Decoder(str).decode
_LONE_HALF = re.compile("[\ud800-\udfff]")
_HALF_ESCAPE = re.compile(rb"\\(?:u([dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL)
_STAND_IN = re.compile("[\U0010f800-\U0010ffff]")
_STAND_IN_BYTES = re.compile(rb"\xf4\x8f[\xa0-\xbf]")
_FROM_STAND_IN = 0x10F800 - 0xD800


class Journal:
    """Notes what goes out, in the order in which it does.

    ``texts`` is the short cut: whoever passes an event on that fits a template appends its text there, escaped as it
    stands in the event, and calls ``trim`` once there are ``MOST_TEXTS``. The list stays the same object.
    """

    __slots__ = ("_member", "_reading", "_unread", "_unread_bytes", "texts")

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self._member = ""
        self._unread: list[bytes | _Texts] = []
        """Blocks of whole events; and texts."""
        self._unread_bytes = 0
        self._reading = _Reading()

    def begin_texts(self, member: str) -> None:
        """Take note that the texts from now on are those of another template, the values of ``member``."""
        if member != self._member:
            self.trim()
            self._member = member

    def trim(self) -> None:
        """Join the texts, so that they take less room."""
        texts = self.texts
        if texts:
            text = b"".join(texts)
            count = len(texts) - texts.count(b"")
            self._keep((self._member, count, text, _white_at_end(texts)), len(text))
            texts.clear()

    def note(self, block: bytes) -> None:
        """Take note of whole events that went out in another way: one or several, comments and ``[DONE]`` too."""
        self.trim()
        self._keep(block, len(block))

    def delivered(self) -> Delivered:
        """Say what went out so far. More may be noted later."""
        self.trim()
        self._read()
        return self._reading.delivered()

    def _keep(self, piece: bytes | _Texts, size_bytes: int) -> None:
        self._unread.append(piece)
        self._unread_bytes += size_bytes + _OBJECT_BYTES
        if self._unread_bytes > MOST_UNREAD_BYTES:
            self._read()

    def _read(self) -> None:
        reading = self._reading
        for piece in self._unread:
            if isinstance(piece, tuple):
                reading.take_text(*piece)
            else:
                for event in events_of(piece):
                    reading.take_event(event)
        self._unread.clear()
        self._unread_bytes = 0


_Texts = tuple[str, int, bytes, tuple[bytes, ...]]
"""Texts of events: the member, how many were not empty, all of them joined, and the last, if they are white space."""


class _Reading:
    """What was read so far."""

    __slots__ = (
        "_calls",
        "_completion_tokens",
        "_content",
        "_foreign",
        "_identity",
        "_overflow",
        "_reasoning",
        "_reasoning_member",
        "_role",
        "_text_events",
        "_white",
    )

    def __init__(self) -> None:
        self._identity: Identity | None = None
        self._role = self._calls = self._foreign = self._overflow = False
        self._content = bytearray()
        self._reasoning = bytearray()
        self._reasoning_member = ""
        self._text_events = 0
        self._white: tuple[bytes, ...] = ()
        """The last texts of the content, those that are white space."""
        self._completion_tokens: int | None = None
        """As the engine told with, or after, the last text; None where that told none."""

    def take_text(self, member: str, text_events: int, text: bytes, white: tuple[bytes, ...]) -> None:
        """Take the texts of so many events, joined and still escaped; ``white``: the last of them, if white space."""
        if not text:
            return
        self._completion_tokens = None
        if member in _CONTENT:
            self._text_events += text_events
            self._white = (self._white + white if len(white) == text_events else white)[-MOST_TEXTS:]
            self._add(self._content, text)
        elif member in _REASONING:
            self._reasoning_member = self._reasoning_member or member
            self._add(self._reasoning, text)
        else:
            self._calls = True

    def _add(self, kept: bytearray, text: bytes) -> None:
        if len(self._content) + len(self._reasoning) + len(text) > MOST_KEPT_BYTES:
            self._overflow = True
            self._content, self._reasoning = bytearray(), bytearray()
        if not self._overflow:
            kept += text

    def take_event(self, event: bytes) -> None:
        """Take one event; one without data says nothing."""
        data = data_of(event).strip()
        if not data or data == b"[DONE]":
            return
        said = read_event(event) or _read_with_halves(event)
        if said is None:
            self._foreign = True
            return
        if self._identity is None:
            self._identity = Identity(*(_present(value) for value in (said.id, said.created, said.model)))
        for choice in said.choices or ():
            self._take_choice(choice)
        self._take_figures(said)

    def _take_choice(self, choice: Choice) -> None:
        delta = choice.delta or _NOTHING_SAID
        if choice.index != 0:
            self._foreign = self._foreign or bool(choice.text or delta.content) or delta.calls or delta.foreign
            return
        self._role = self._role or bool(delta.role)
        self._calls = self._calls or delta.calls
        self._foreign = self._foreign or delta.foreign
        reasoning = delta.reasoning_content or delta.reasoning  # some write the same under both names
        if reasoning:
            member = "reasoning_content" if delta.reasoning_content else "reasoning"
            self.take_text(member, 1, _escaped(reasoning), ())
        text = choice.text or delta.content
        if text:
            said = _escaped(text)
            self.take_text("content", 1, said, (said,) if text.isspace() else ())

    def _take_figures(self, said: Event) -> None:
        told = said.usage.completion_tokens if said.usage is not None else None
        if told is not None and told >= 0:
            self._completion_tokens = told

    def delivered(self) -> Delivered:
        content, reasoning = _text_of(self._content), _text_of(self._reasoning)
        readable = content is not None and reasoning is not None and not _ends_in_half(content)
        return Delivered(
            identity=self._identity,
            role=self._role,
            content=_LONE_HALF.sub("\ufffd", content or ""),
            reasoning=_LONE_HALF.sub("\ufffd", reasoning or ""),
            reasoning_member=self._reasoning_member,
            calls=self._calls,
            foreign=self._foreign or not readable,
            text_events=self._text_events,
            content_tokens=None if self._reasoning_member else self._completion_tokens,
            overflow=self._overflow,
            white_events=len(self._white),
            split_white=self._splits_white(content or ""),
        )

    def _splits_white(self, content: str) -> bool:
        """Whether the white space at the end came in several events, or is all there is."""
        said = content.rstrip()
        last = _text_of(bytearray(b"".join(self._white))) or ""
        return bool(last) and (len(self._white) > 1 or not said or len(content) - len(said) > len(last))


def _white_at_end(texts: list[bytes]) -> tuple[bytes, ...]:
    """The last of some texts, still escaped, that are white space; empty ones count for nothing."""
    white: list[bytes] = []
    for text in reversed(texts):
        if text and not (_text_of(bytearray(text)) or "").isspace():
            break
        if text:
            white.append(text)
    return tuple(reversed(white))


def _present(value: msgspec.Raw) -> bytes:
    """A member as it stood; empty where it is absent or null."""
    told = bytes(value)
    return b"" if told == b"null" else told


def _escaped(text: str) -> bytes:
    """As it may stand in an event, without its quotes."""
    try:
        return msgspec.json.encode(text)[1:-1]
    except UnicodeEncodeError:  # half of a character
        return json.dumps(text)[1:-1].encode()


def _text_of(escaped: bytearray) -> str | None:
    """What it says, halves of characters joined where they meet. None where it is no text of JSON."""
    whole = b'"%b"' % bytes(escaped)
    try:
        return _decode_text(whole)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # perhaps for a half alone, which msgspec takes for an error
    try:
        text = json.loads(whole.decode())
    except ValueError:
        return None
    return text if isinstance(text, str) else None


def _ends_in_half(text: str) -> bool:
    return "\ud800" <= text[-1:] <= "\udbff"


def _read_with_halves(event: bytes) -> Event | None:
    """Read an event that has a half of a character in its texts: with another character in the place of each half."""
    if _STAND_IN_BYTES.search(event) is not None:
        return None  # it could not be told from ours; it is one for private use, which no engine writes
    said = read_event(_HALF_ESCAPE.sub(_stand_in, event))
    for choice in (said.choices or ()) if said is not None else ():
        choice.text = _with_halves(choice.text)
        delta = choice.delta
        if delta is not None:
            delta.content = _with_halves(delta.content)
            delta.reasoning, delta.reasoning_content = map(_with_halves, (delta.reasoning, delta.reasoning_content))
    return said


def _stand_in(escape: re.Match[bytes]) -> bytes:
    half = escape[1]
    return escape[0] if half is None else chr(int(half, 16) + _FROM_STAND_IN).encode()


def _with_halves(text: str | None) -> str | None:
    if text is None:
        return None
    return _STAND_IN.sub(lambda found: chr(ord(found[0]) - _FROM_STAND_IN), text)
