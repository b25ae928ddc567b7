"""What of a server's answer goes to the client, and when? Two relays: one for events, one for whole answers.

Both are sans-I/O: bytes go in, bytes that may be sent come out, and a broken answer raises ``AnswerUnusableError``. The
exchange decides what follows from that.
"""

from __future__ import annotations

import msgspec

from app.services.core import sse
from app.services.core.splice import set_member
from app.services.core.usage import Usage, read_answer, usage_of_events

__all__ = ["AnswerUnusableError", "EventRelay", "WholeAnswer"]

MAX_EVENT_BYTES = 262144
_KEPT_BLOCKS = 4


class AnswerUnusableError(Exception):
    """The server's answer breaks off, is none, or reports an error. ``reason`` is for the log and the owner."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EventRelay:
    """Relays a stream of server-sent events, whole events only.

    Args:
        model: the JSON string to put back as ``model``, or None where the server uses the client's own name.
        hide_usage: keep back the closing usage event, which the gateway asked for and the client did not.
    """

    __slots__ = ("_blocks", "_hide_usage", "_model", "_splitter", "events", "opened")

    def __init__(self, model: bytes | None, *, hide_usage: bool) -> None:
        self._splitter = sse.EventSplitter(MAX_EVENT_BYTES)
        self._model = model
        self._hide_usage = hide_usage
        self._blocks: list[bytes] = []
        self.events = 0
        self.opened = False
        """Whether an event with data has been passed on."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the body; return whole events for the client, possibly none.

        Raises:
            AnswerUnusableError: an error event, or an event without end.
        """
        try:
            block = self._splitter.feed(data)
        except sse.EventOverflowError:
            raise AnswerUnusableError(f"one event is larger than {MAX_EVENT_BYTES // 1024} KiB") from None
        if not block:
            return b""
        self.events += block.count(b"\n\n") or 1
        blocks = self._blocks
        blocks.append(block)
        if len(blocks) > _KEPT_BLOCKS:
            del blocks[0]
        if not self.opened:
            return self._open(block)
        if b'"error"' in block:
            self._refuse_errors(block)
        if self._model is not None or (self._hide_usage and b'"usage"' in block):
            return self._rewrite(block)
        return block

    def end(self) -> bytes:
        """Take note that the body ended well-framed; return what is left to send, ``[DONE]`` included.

        Raises:
            AnswerUnusableError: no choice ever said why it ended: the answer was cut.
        """
        rest = b""
        if sse.has_data(self._splitter.pending):
            rest = self.feed(b"\n\n")
        last = b"".join(self._blocks)
        done = b"[DONE]" in last and any(sse.is_done(event) for event in sse.events_of(last))
        if not done and not sse.has_finish_reason(last):
            raise AnswerUnusableError("the stream ended without a finish_reason")
        return rest if done else rest + sse.DONE

    def usage(self) -> Usage | None:
        """The engine's own figures, if it gave any."""
        return usage_of_events(sse.events_of(b"".join(self._blocks)))

    def _open(self, block: bytes) -> bytes:
        """Hold everything back until the first event with data; an error there is no answer at all."""
        events = sse.events_of(block)
        if not any(sse.has_data(event) for event in events):
            return b""
        self._refuse_errors(block)
        self.opened = True
        return self._rewrite(block)

    def _refuse_errors(self, block: bytes) -> None:
        if any(sse.is_error(event) for event in sse.events_of(block)):
            raise AnswerUnusableError("the server reported an error inside the stream")

    def _rewrite(self, block: bytes) -> bytes:
        """Put the client's model name back; leave out the usage event that only the gateway asked for."""
        if self._model is None and not self._hide_usage:
            return block
        kept = []
        for event in sse.events_of(block):
            if self._hide_usage and sse.is_usage_only(event):
                continue
            kept.append(event if self._model is None else _with_model(event, self._model))
        return b"".join(kept)


class WholeAnswer:
    """Holds an answer without streaming until it is whole, so that it can be checked, and retried elsewhere."""

    __slots__ = ("_model", "_parts", "_size_bytes")

    def __init__(self, model: bytes | None) -> None:
        self._model = model
        self._parts: list[bytes] = []
        self._size_bytes = 0

    def feed(self, data: bytes) -> int:
        """Keep bytes; return how many are held."""
        self._parts.append(data)
        self._size_bytes += len(data)
        return self._size_bytes

    def release(self) -> bytes:
        """Give up holding: return what is held and forget it."""
        held, self._parts = b"".join(self._parts), []
        return held

    def end(self) -> tuple[bytes, Usage | None]:
        """Return the whole body with the client's model name, and the engine's figures.

        Raises:
            AnswerUnusableError: it is not a JSON object, or it is an error under a status of success.
        """
        body = self.release()
        try:
            usage, is_error = read_answer(body)
        except ValueError as error:
            raise AnswerUnusableError(str(error)) from None
        if is_error:
            raise AnswerUnusableError("the server reported an error under a status of success")
        if self._model is not None:
            body = _spliced(body, self._model)
        return body, usage


def _with_model(event: bytes, model: bytes) -> bytes:
    start = event.find(b"{")
    if not event.startswith(b"data:") or start < 0 or b'"model"' not in event:
        return event
    return event[:start] + _spliced(event[start:], model)


def _spliced(text: bytes, model: bytes) -> bytes:
    """Set ``model`` where it stands; what is no JSON object after all is passed on unharmed."""
    try:
        return set_member(text, "model", model)
    except (ValueError, msgspec.DecodeError):
        return text
