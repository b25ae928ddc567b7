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
_UNFINISHED = "the stream ended without a finish_reason"


class AnswerUnusableError(Exception):
    """The server's answer breaks off, is none, or reports an error.

    Args:
        reason: for the log and the owner.
        rest: good events that came before the fault, still to be sent. Empty as long as nothing was: then another
            server may make the whole answer anew.
    """

    def __init__(self, reason: str, rest: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.rest = rest


class EventRelay:
    """Relays a stream of server-sent events, whole events only.

    Args:
        model: the JSON string to put back as ``model``, or None where the server uses the client's own name.
        hide_usage: keep back the closing usage event, which the gateway asked for and the client did not.
    """

    __slots__ = ("_blocks", "_done", "_hide_usage", "_model", "_splitter", "events", "opened")

    def __init__(self, model: bytes | None, *, hide_usage: bool) -> None:
        self._splitter = sse.EventSplitter(MAX_EVENT_BYTES)
        self._model = model
        self._hide_usage = hide_usage
        self._blocks: list[bytes] = []
        self._done = False
        self.events = 0
        self.opened = False
        """Whether an event with data has been passed on."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the body; return whole events for the client, possibly none.

        Raises:
            AnswerUnusableError: an error event, a first event that is not JSON, an event without end, or ``[DONE]``
                before any choice was finished.
        """
        try:
            block = self._splitter.feed(data)
        except sse.EventOverflowError:
            raise AnswerUnusableError(f"one event is larger than {MAX_EVENT_BYTES // 1024} KiB") from None
        if not sse.has_data(block):
            return block if self.opened else b""  # comments open nothing
        self.events += block.count(b"\n\n") or 1
        blocks = self._blocks
        blocks.append(block)
        if len(blocks) > _KEPT_BLOCKS:
            del blocks[0]
        if (
            self.opened
            and self._model is None
            and b'"error"' not in block
            and b"event:" not in block
            and b"[DONE]" not in block
            and not (self._hide_usage and sse.lacks_choices(block))
        ):
            return block  # nearly every block: nothing in it is for us
        return self._judge(block)

    def end(self) -> bytes:
        """Take note that the body ended well-framed; return what is left to send, ``[DONE]`` included.

        Raises:
            AnswerUnusableError: no choice ever said why it ended: the answer was cut.
        """
        opened, rest, pending = self.opened, b"", self._splitter.pending
        if _is_whole(pending):  # only its empty line is missing
            rest = self.feed(b"\n" if pending.endswith((b"\n", b"\n\r")) else b"\n\n")
        if not self._finished():
            raise AnswerUnusableError(_UNFINISHED, rest if opened else b"")
        return rest if self._done else rest + sse.DONE

    def usage(self) -> Usage | None:
        """The engine's own figures, if it gave any."""
        return usage_of_events(sse.events_of(b"".join(self._blocks)))

    def _judge(self, block: bytes) -> bytes:
        """Look at each event: refuse faults, put the client's model name back, leave out what only we asked for."""
        kept: list[bytes] = []
        for event in sse.events_of(block):
            fault = self._fault(event)
            if fault is not None:
                raise AnswerUnusableError(fault, b"".join(kept) if self.opened else b"")
            if not (self._hide_usage and sse.is_usage_only(event)):
                kept.append(event if self._model is None else _with_model(event, self._model))
        self.opened = True
        return b"".join(kept)

    def _fault(self, event: bytes) -> str | None:
        if sse.is_error(event):
            return "the server reported an error inside the stream"
        if not self.opened and sse.has_data(event) and not _is_whole(event):
            return "the stream begins with something that is not JSON"
        if sse.is_done(event):
            self._done = True
            return None if self._finished() else _UNFINISHED
        return None

    def _finished(self) -> bool:
        """Whether a choice said why it ended. ``[DONE]`` proves nothing: llama-cpp-python sends it when it is cut."""
        return sse.has_finish_reason(b"".join(self._blocks))


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


def _is_whole(event: bytes) -> bool:
    """Whether the data of an event without its end is complete, or broke off in the midst."""
    data = sse.data_of(event).strip()
    if data == b"[DONE]":
        return True
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _with_model(event: bytes, model: bytes) -> bytes:
    """Put the client's model name into the event's object, which comments or other fields may precede."""
    start = 0 if event.startswith(b"data:") else event.find(b"\ndata:") + 1
    if not event.startswith(b"data:", start):
        return event
    return event[: start + 5] + _spliced(event[start + 5 :], model)


def _spliced(text: bytes, model: bytes) -> bytes:
    """Set ``model`` where it stands; what is no JSON object after all is passed on unharmed."""
    try:
        return set_member(text, "model", model)
    except ValueError:
        return text
