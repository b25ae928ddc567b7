"""Which events of a stream wait, so that a tool call reaches the client whole or not at all?

No server can go on with half a call: its arguments are JSON that a grammar makes. A call that did not reach the client
can be made anew. So from the first event that bears a part of a call on, all events wait until each choice that calls
has said why it ended. Then they go out in their order.
"""

from __future__ import annotations

import re

from app.services.core.answer.sse import choices_of, events_of, is_done, says_more

__all__ = ["CallHold", "is_call"]

_BETWEEN = rb"(?:[ \t\r\n]|data:)*+"
_CALL = re.compile(rb'"(?:tool_calls"~:~\[~\{|function_call"~:~\{~")'.replace(b"~", _BETWEEN))


def is_call(data: bytes) -> bool:
    """Whether an event bears a part of a tool call: a list with something in it, or the older ``function_call``.

    A quick look. Inside a text it is never taken for one, as quotes are escaped there. An event may have several lines.
    """
    return data.find(b"_call") >= 0 and _CALL.search(data) is not None


class CallHold:
    """Holds the events of one server's answer, from a tool call's first part on.

    Args:
        limit_bytes: how much is held. Beyond it everything goes out at once, and nothing is held any more.
    """

    __slots__ = ("_calling", "_held", "_held_bytes", "_limit_bytes", "gave_up")

    def __init__(self, limit_bytes: int = 262144) -> None:
        self._limit_bytes = limit_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._calling: set[int] = set()
        """The choices whose calls are not whole yet."""
        self.gave_up = False
        """Whether it was more than may be held."""

    @property
    def holding(self) -> bool:
        """Whether something waits."""
        return bool(self._held)

    def pass_on(self, block: bytes) -> bytes:
        """Take whole events; return those that may go out now, possibly none."""
        if self.gave_up or not (self._held or is_call(block)):
            return block
        out: list[bytes] = []
        for event in events_of(block):
            if self._held or (not self.gave_up and is_call(event)):
                self._hold(event)
                if self._held_bytes > self._limit_bytes:
                    self.gave_up = True
                    self._calling.clear()
                if not self._calling:
                    out += self._release()
            else:
                out.append(event)
        return b"".join(out)

    def _hold(self, event: bytes) -> None:
        """Hold one event, and see which calls begin and end in it."""
        self._held.append(event)
        self._held_bytes += len(event)
        calls, may_end = is_call(event), says_more(event) is not None
        if calls or may_end:
            choices = choices_of(event) or [(0, False)]
            if calls:
                self._calling.update(index for index, _ended in choices)
            self._calling.difference_update(index for index, ended in choices if ended)
        if is_done(event):
            self._calling.clear()

    def _release(self) -> list[bytes]:
        released, self._held = self._held, []
        self._held_bytes = 0
        return released
