"""What does the head of a server's answer promise: events, a whole answer, or nothing that can be used?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.services.core.retry import Failure, classify_status

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["READ_HEADERS", "AnswerHead", "Events", "Failed", "Opening", "Unusable", "Whole", "judge_opening"]


@dataclass(frozen=True, slots=True)
class Events:
    """A stream of server-sent events follows."""


@dataclass(frozen=True, slots=True)
class Whole:
    """One JSON document follows: an answer, or the server's refusal of the client's request."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The status says that the attempt failed. ``retry_after_seconds`` as the server asked, if it did."""

    failure: Failure
    retry_after_seconds: int | None


@dataclass(frozen=True, slots=True)
class Unusable:
    """A status of success with a body that can't be what was asked for."""

    reason: str


READ_HEADERS = frozenset((b"content-type", b"content-encoding", b"retry-after"))
"""The headers of an answer that are looked at, besides those of its framing."""
_LONGEST_NUMBER = 5

Opening = Events | Whole | Failed | Unusable
_EVENTS = Events()
_WHOLE = Whole()


class AnswerHead:
    """Status and headers (names in lower case) of an answer. One that is met again is judged once."""

    __slots__ = ("_opening", "_stream_opening", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.headers = headers
        self._opening: Opening | None = None
        self._stream_opening: Opening | None = None

    def opening(self, *, wants_stream: bool) -> Opening:
        """What it promises to a request that asked for a stream or did not."""
        known = self._stream_opening if wants_stream else self._opening
        if known is None:
            known = judge_opening(self.status, self.headers, wants_stream=wants_stream)
            if wants_stream:
                self._stream_opening = known
            else:
                self._opening = known
        return known


def judge_opening(status: int, headers: Iterable[tuple[bytes, bytes]], *, wants_stream: bool) -> Opening:
    """Judge status and headers (names in lower case) of an answer."""
    content_type = retry_after = b""
    encoding = b"identity"
    for name, value in headers:
        if name == b"content-type":
            content_type = value.strip()
        elif name == b"content-encoding":
            encoding = value.strip().lower()
        elif name == b"retry-after":
            retry_after = value.strip()
    failure = classify_status(status)
    if failure is not None:
        seconds = int(retry_after) if retry_after.isdigit() and len(retry_after) <= _LONGEST_NUMBER else None
        return Failed(failure, seconds)
    if encoding not in (b"", b"identity"):
        return Unusable("the server compressed an answer that was asked for uncompressed")
    if status >= 400:
        return _WHOLE
    if content_type[:17].lower() == b"text/event-stream":
        return _EVENTS if wants_stream else Unusable("the server answered with events where none were asked for")
    return Unusable("the server answered a stream without events") if wants_stream else _WHOLE
