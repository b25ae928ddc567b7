"""How long does a model take to load, and what does a client hear that waits for it?

Engines that keep many models and memory for few load one inside the request that asks for it: seconds on a good disk,
minutes on a laptop. How long it takes is learnt from such cold starts. A client that streams is told in comment lines
(HTML standard, Server-sent events, 9.2.6), each with one newline: a blank line would make an empty event of it for some
clients. They hold our own words and numbers, and nothing that a server or another user has said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

__all__ = [
    "SAY_AFTER_SECONDS",
    "SAY_EVERY_SECONDS",
    "LoadTimes",
    "Loading",
    "loading_words",
    "patience",
    "turn_words",
]

SAY_AFTER_SECONDS: Final = 2.0
"""Who waits for less hears nothing. The first word opens the stream: an error after it is an event, no status."""
SAY_EVERY_SECONDS: Final = 5.0
LONGEST_SECONDS: Final = 600.0
"""No load is taken to last longer, whatever a server made us measure."""
_LEAST_SECONDS: Final = 1.0
"""What began sooner was not loaded, or needs no announcement: nothing is learnt from it."""
_NEWEST_WEIGHT: Final = 0.5
_MOST_MODELS: Final = 256
_MOST_SHOWN_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Loading:
    """A model on its way into a server's memory.

    Attributes:
        model: as the server calls it.
        since: monotonic seconds of the request that made it load.
        about_seconds: how long a load of it takes by what was seen before; None where none was.
    """

    model: str
    since: float
    about_seconds: float | None = None

    def left_seconds(self, now: float) -> float | None:
        """How long it will take from now on, 0.0 where it is late; None where nothing is known."""
        return None if self.about_seconds is None else max(self.since + self.about_seconds - now, 0.0)


class LoadTimes:
    """How long the models of one server take to load. Bounded: the one learnt of longest ago is forgotten first."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def about(self, model: str) -> float | None:
        """How long a load takes, in seconds; None where none was seen."""
        return self._seconds.get(model)

    def learn(self, model: str, first_token_seconds: float, usual_seconds: float = 0.0) -> None:
        """Learn from a request that found its model not in memory.

        Args:
            model: as the server calls it.
            first_token_seconds: from the request that started the load to the first token of an answer.
            usual_seconds: what the server's first tokens take when nothing has to be loaded; 0.0 where unknown.
        """
        seconds = first_token_seconds - usual_seconds
        if not seconds >= _LEAST_SECONDS:
            return
        seconds = min(seconds, LONGEST_SECONDS)
        before = self._seconds.pop(model, seconds)
        self._seconds[model] = before + _NEWEST_WEIGHT * (seconds - before)
        if len(self._seconds) > _MOST_MODELS:
            del self._seconds[next(iter(self._seconds))]


def loading_words(loading: Loading, now: float) -> bytes:
    """Make the comment line for a client whose model is being loaded: how long yet, or how long so far."""
    left = loading.left_seconds(now)
    if left is None and now - loading.since < 60.0:
        return b": loading the model, this can take a minute\n"
    if left:
        return b": loading the model, about %d s\n" % _whole(left)
    return b": still loading the model, %d s so far\n" % _whole(now - loading.since)


def turn_words(waited_seconds: float) -> bytes:
    """Make the comment line for a client whose model has to wait until another one has left the memory."""
    return b": waiting for another model to leave the memory, %d s so far\n" % _whole(waited_seconds)


def patience(usual: int, model_load: int, *, needs_load: bool) -> int:
    """How long is waited, for a first token or for a turn, in the unit of the arguments.

    A request that was sent while its model was not in memory keeps the longer time to its end: when the load is over,
    those that gathered behind it are answered one after the other.

    Args:
        usual: the limit where the model is in memory.
        model_load: the limit where it has to be loaded first.
        needs_load: whether the model was not in memory when the request was sent, or began to wait.
    """
    return max(usual, model_load) if needs_load else usual


def _whole(seconds: float) -> int:
    return min(max(math.ceil(seconds), 1), _MOST_SHOWN_SECONDS)
