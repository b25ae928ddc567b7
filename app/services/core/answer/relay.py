"""What of a server's stream of events goes to the client, and when?

Sans-I/O: bytes go in, bytes that may be sent come out, and a broken answer raises ``AnswerUnusableError``. The exchange
decides what follows from that.
"""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING

import msgspec

from app.services.core.answer import sse
from app.services.core.answer.template import Template
from app.services.core.answer.usage import Usage, usage_of_events
from app.services.core.answer.whole_answer import AnswerUnusableError, with_model
from app.services.core.continuation.call_hold import is_call

if TYPE_CHECKING:
    from app.services.core.continuation.call_hold import CallHold
    from app.services.core.continuation.journal import Journal
    from app.services.core.continuation.seam import Seam

__all__ = ["EventRelay"]

MAX_EVENT_BYTES = 262144
_FIRST_EVENTS = 16
"""How many events are looked into for the choices there are, before it gets to be a matter of speed."""
_UNFINISHED = "the stream ended without a finish_reason for every choice"


class EventRelay:
    """Relays a stream of server-sent events, whole events only.

    A stream is finished when every choice has said why it ended. How many there are the request says: ``choices`` of
    them. But a completion of several prompts has more, and some engines know no ``n`` and make one. So, besides, each
    choice that was seen must have ended, and ``[DONE]`` stands for those that were never seen. Seen are the choices in
    the first events, where those made side by side begin, and in all events after the first ``finish_reason``, where
    those made in turn begin; with several choices, in all events. Else an event is not decoded: one that is like the
    one before but for its text goes on after a few comparisons, without ``feed`` (its caller asks ``template``, and
    keeps ``events`` and ``misses``); one that only goes on, after a few searches.

    What is good then passes the seam, where this answer goes on with another's, and the hold on tool calls; what comes
    out of them goes to the client, and is noted in the journal.

    Args:
        model: the JSON string to put back as ``model``, or None where the server uses the client's own name.
        hide_usage: keep back the closing usage event, which the gateway asked for and the client did not.
        choices: how many choices the client asked for, as ``n``.
        may_be_more: whether there may be more choices than that: a completion of several prompts.
        journal: takes note of what goes out; None where nobody will ask.
        seam: joins the answer to what another server began; None for a first one.
        hold: keeps tool calls back until they are whole; None where there can be none, or they need not be.
    """

    __slots__ = (
        "_choices",
        "_ended",
        "_figures",
        "_hide_usage",
        "_hold",
        "_model",
        "_plain_from",
        "_seam",
        "_seen",
        "_splitter",
        "_watched_events",
        "done",
        "events",
        "journal",
        "misses",
        "opened",
        "template",
    )

    def __init__(
        self,
        model: bytes | None,
        *,
        hide_usage: bool,
        choices: int = 1,
        may_be_more: bool = True,
        journal: Journal | None = None,
        seam: Seam | None = None,
        hold: CallHold | None = None,
    ) -> None:
        self.journal = journal
        self._seam = seam
        self._hold = hold
        self._splitter = sse.EventSplitter(MAX_EVENT_BYTES)
        self._model = model
        self._hide_usage = hide_usage
        self._choices = choices
        self._seen: set[int] = set()
        self._ended: set[int] = set()
        self._watched_events: float = inf if choices > 1 else _FIRST_EVENTS if may_be_more else 1
        self._plain_from: float = inf
        """From this event on most may pass unseen; where all are watched, there is none."""
        self.template: Template | None = None
        """What most events to come are like; None where none may pass unread."""
        self.misses = 0
        """How many events were unlike it since one was like it."""
        self._figures = b""
        self.events = 0
        self.opened = False
        """Whether an event with data has come, a good one."""
        self.done = False
        """Whether ``[DONE]`` has come: nothing can follow."""

    @property
    def finished(self) -> bool:
        """Whether all choices said why they ended. What is missing then are figures and ``[DONE]`` at most."""
        return self.done or (self._all_seen_ended() and len(self._ended) >= self._choices)

    @property
    def stopped(self) -> bool:
        """Whether a stop string was completed at the seam: the answer ends here, whatever the server goes on to say."""
        return self._seam is not None and self._seam.stopped

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the body; return whole events for the client, possibly none.

        Raises:
            AnswerUnusableError: an error event, a first event that is not JSON, an event without end, or ``[DONE]``
                before every choice was finished.
        """
        try:
            return self._outward(self._good(data))
        except AnswerUnusableError as error:
            error.rest = self._outward(error.rest)
            raise

    def _outward(self, block: bytes) -> bytes:
        """What of good events goes to the client now. It is noted here, as it goes."""
        if block and self._seam is not None:
            block = self._seam.join(block)
        if block and self._hold is not None:
            block = self._hold.pass_on(block)
        if block and self.journal is not None:
            self.journal.note(block)
        return block

    def _good(self, data: bytes) -> bytes:
        """The whole events that these bytes complete, each looked at as far as need be."""
        if self.events >= self._plain_from and self._is_plain(data):
            self._learn(data)
            if self._model is None:
                self.events += 1
                return data
        else:
            self.template = None
        try:
            block = self._splitter.feed(data)
        except sse.EventOverflowError:
            raise AnswerUnusableError(f"one event is larger than {MAX_EVENT_BYTES // 1024} KiB") from None
        if not sse.has_data(block):
            return block if self.opened else b""  # comments open nothing
        if self.events < self._watched_events or sse.says_more(block) is not None:
            self._watch(block)
        self.events += block.count(b"\n\n") or 1
        if (
            self.opened
            and self._model is None
            and block.find(b'"error"') < 0
            and block.find(b"event:") < 0
            and block.find(b"[DONE]") < 0
            and not (self._hide_usage and sse.lacks_choices(block))
        ):
            return block  # nearly every block: nothing in it is for us
        return self._judge(block)

    def end(self) -> bytes:
        """Take note that the body ended well-framed; return what is left to send, ``[DONE]`` included.

        Raises:
            AnswerUnusableError: not every choice said why it ended: the answer was cut.
        """
        opened, rest, pending = self.opened, b"", self._splitter.pending
        if _is_whole(pending):  # only its empty line is missing
            try:
                rest = self._good(b"\n" if pending.endswith((b"\n", b"\n\r")) else b"\n\n")
            except AnswerUnusableError as error:
                error.rest = self._outward(error.rest)
                raise
        if not self.finished:
            raise AnswerUnusableError(_UNFINISHED, self._outward(rest) if opened else b"")
        return self._outward(rest if self.done else rest + sse.DONE)

    def usage(self) -> Usage | None:
        """The engine's own figures, if it gave any; of all that the client got, where this goes on with an answer."""
        told = usage_of_events(sse.events_of(self._figures))
        return told if self._seam is None else self._seam.merged(told)

    def _watch(self, block: bytes) -> None:
        """Note which choices there are and have ended, and keep the latest figures."""
        if block.find(b'_tokens"') >= 0 and block.find(b'"usage"') >= 0:
            self._figures = block
        for event in sse.events_of(block):
            for index, ended in sse.choices_of(event):
                self._seen.add(index)
                if ended:
                    self._ended.add(index)
                    self._watched_events = self._plain_from = inf
                    self.template = None

    def _all_seen_ended(self) -> bool:
        """``[DONE]`` alone proves nothing: llama-cpp-python sends it when it is cut."""
        return bool(self._ended) and self._seen <= self._ended

    def _judge(self, block: bytes) -> bytes:
        """Look at each event: refuse faults, put the client's model name back, leave out what only we asked for."""
        kept: list[bytes] = []
        for event in sse.events_of(block):
            fault = self._fault(event)
            if fault is not None:
                raise AnswerUnusableError(fault, b"".join(kept) if self.opened else b"")
            if not (self._hide_usage and sse.is_usage_only(event)):
                kept.append(event if self._model is None else _with_model(event, self._model))
        if not self.opened:
            self.opened = True
            self._plain_from = inf if self._ended else self._watched_events
        return b"".join(kept)

    def _is_plain(self, data: bytes) -> bool:
        """Whether this is one event that only goes on."""
        return (
            sse.is_plain(data)
            and not self._splitter.pending
            and not (self._hide_usage and sse.lacks_choices(data))
            and (self._hold is None or self._hold.gave_up or not (self._hold.holding or is_call(data)))
        )

    def _learn(self, event: bytes) -> None:
        """Learn what the next events may be like; ever less often where they are not."""
        self.misses += 1
        if self.misses & (self.misses - 1) == 0:
            template = Template.of(event, self._model)
            if template is not None and self._seam is not None:
                template = self._seam.beyond(template)
            self.template = template
            if template is not None and self.journal is not None:
                self.journal.begin_texts(template.member)

    def _fault(self, event: bytes) -> str | None:
        if sse.is_error(event):
            return "the server reported an error inside the stream"
        if not self.opened and sse.has_data(event) and not _is_whole(event):
            return "the stream begins with something that is not JSON"
        if sse.is_done(event):
            self.done = self._all_seen_ended()
            return None if self.done else _UNFINISHED
        return None


def _is_whole(event: bytes) -> bool:
    """Whether the data of an event without its end is complete, or broke off in the midst."""
    data = sse.data_of(event).strip()
    if data == b"[DONE]":
        return True
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except RecursionError:
        return False
    except msgspec.DecodeError:  # also of half a character, which engines write whose other half comes next
        return data.find(b"\\ud") >= 0 and _is_json(data)
    return True


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _with_model(event: bytes, model: bytes) -> bytes:
    """Put the client's model name into the event's object, which comments or other fields may precede."""
    start = 0 if event.startswith(b"data:") else event.find(b"\ndata:") + 1
    if not event.startswith(b"data:", start):
        return event
    return event[: start + 5] + with_model(event[start + 5 :], model)
