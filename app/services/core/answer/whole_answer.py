"""What of an answer without streaming goes to the client, and when? All of it, once it is whole and good."""

from __future__ import annotations

from app.services.core.answer.splice import set_member
from app.services.core.answer.usage import Usage, read_answer

__all__ = ["AnswerUnusableError", "WholeAnswer", "whole_answer", "with_model"]


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
        return whole_answer(self.release(), self._model)


def whole_answer(body: bytes, model: bytes | None) -> tuple[bytes, Usage | None]:
    """Check a whole answer; return it with the client's model name (None: it has it), and the engine's figures.

    Raises:
        AnswerUnusableError: it is not a JSON object, or it is an error under a status of success.
    """
    try:
        usage, is_error = read_answer(body)
    except ValueError as error:
        raise AnswerUnusableError(str(error)) from None
    if is_error:
        raise AnswerUnusableError("the server reported an error under a status of success")
    return body if model is None else with_model(body, model), usage


def with_model(text: bytes, model: bytes) -> bytes:
    """Set ``model`` where it stands; what is no JSON object after all is passed on unharmed."""
    try:
        return set_member(text, "model", model)
    except ValueError:
        return text
