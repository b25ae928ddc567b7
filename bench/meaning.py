"""Does an answer that a gateway wrote anew say the same? For gateways that parse answers and encode them again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bench.wrong import AnswerWrong

if TYPE_CHECKING:
    from bench.answers import Answer

__all__ = ["MeantBody"]

_EVENT_END = b"\n\n"
_DATA = b"data: "


class MeantBody:
    """Compares the text, the reason of the end and, in a stream, that ``[DONE]`` comes last."""

    __slots__ = ("_answer", "_buffer", "_done", "_reason", "_text")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._buffer = b""
        self._text = ""
        self._reason: str | None = None
        self._done = False

    def take(self, piece: bytes) -> int:
        """Take a piece; returns how many events that carry text it ended."""
        self._buffer += piece
        if not self._answer.streams:
            return 0
        *events, self._buffer = self._buffer.split(_EVENT_END)
        return sum([self._event(event) for event in events])

    def end(self) -> int:
        """Judge the whole; returns how many events that ended: one if it is no stream.

        Raises:
            AnswerWrong: it says something else.
        """
        if not self._answer.streams:
            self._choice(_decoded(self._buffer), "message")
        elif self._buffer.strip() or not self._done:
            raise AnswerWrong("a stream ended before data: [DONE]")
        if self._text != self._answer.text or self._reason != "stop":
            said = f"{len(self._text)} characters, ended by {self._reason}"
            raise AnswerWrong(f"an answer of {len(self._answer.text)} characters was passed on as {said}")
        return 0 if self._answer.streams else 1

    def _event(self, event: bytes) -> int:
        if self._done or not event.startswith(_DATA):
            raise AnswerWrong(f"a stream holds {event[:120]!r}")
        data = event.removeprefix(_DATA)
        if data == b"[DONE]":
            self._done = True
            return 0
        return self._choice(_decoded(data), "delta")

    def _choice(self, fields: Any, member: str) -> int:
        """Note what one object says; 1 if it carries text."""
        try:
            choices = fields["choices"]
            choice = choices[0] if choices else {member: {}}
            text = choice[member].get("content") or ""
            self._reason = choice.get("finish_reason") or self._reason
        except (KeyError, TypeError, AttributeError) as error:
            raise AnswerWrong(f"an answer is no chat completion: {str(fields)[:120]}") from error
        self._text += text
        if not self._answer.text.startswith(self._text):
            raise AnswerWrong(f"the text differs: {self._text[-120:]!r}")
        return 1 if text else 0


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise AnswerWrong(f"an answer is no JSON: {data[:120]!r}") from error
