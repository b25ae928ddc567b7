"""Where does each sign lead? The table of health: three states, nine signals, and how much evidence a move takes.

Its rules stand in ``core.checks.health``, which applies it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final

from app.services.core.types import HealthStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TRANSITIONS", "Move", "Signal", "When"]


class Signal(StrEnum):
    """What an event says of a server, as far as the table tells events apart."""

    PASS = "pass"  # noqa: S105 - the word for a good check, not a password
    WANTED_PASS = "wanted_pass"  # noqa: S105 - as above
    """A good check that somebody waits for: one is enough."""
    MISS = "miss"
    """No connection, no answer in time, not a list of models, or none of its models in it."""
    LOST_DIAL = "lost_dial"
    """A request that could not connect."""
    NOT_READY = "not_ready"
    """The server answers that it is overloaded, or not ready for whatever reason."""
    LOADING = "loading"
    """The server answers that it is loading its model: it is well, and will be ready."""
    SHUT_OUT = "shut_out"
    """A check found that our key is rejected, or that the address may not be dialled."""
    REJECTED = "rejected"
    """A request was answered 401 or 403, whatever checks say."""
    SILENT = "silent"
    """It fell silent in the middle of an answer, and did not answer a check beside it either."""


class When(Enum):
    """How much evidence a move takes."""

    AT_ONCE = "at once"
    AFTER_MISSES = "after `Thresholds.unhealthy` failures in a row"
    AFTER_PASSES = "after `Thresholds.healthy` passes in a row"


@dataclass(frozen=True, slots=True)
class Move:
    """Where a signal leads, and after how many like it."""

    to: HealthStatus
    when: When


_HEALTHY, _UNHEALTHY, _UNKNOWN = HealthStatus.HEALTHY, HealthStatus.UNHEALTHY, HealthStatus.UNKNOWN

TRANSITIONS: Final[Mapping[tuple[HealthStatus, Signal], Move]] = {
    # An unknown server is believed at its first word.
    (_UNKNOWN, Signal.PASS): Move(_HEALTHY, When.AT_ONCE),
    (_UNKNOWN, Signal.WANTED_PASS): Move(_HEALTHY, When.AT_ONCE),
    (_UNKNOWN, Signal.MISS): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNKNOWN, Signal.LOST_DIAL): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNKNOWN, Signal.NOT_READY): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNKNOWN, Signal.LOADING): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNKNOWN, Signal.SHUT_OUT): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNKNOWN, Signal.REJECTED): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNKNOWN, Signal.SILENT): Move(_UNHEALTHY, When.AT_ONCE),
    # A healthy server has the benefit of the doubt.
    (_HEALTHY, Signal.PASS): Move(_HEALTHY, When.AT_ONCE),
    (_HEALTHY, Signal.WANTED_PASS): Move(_HEALTHY, When.AT_ONCE),
    (_HEALTHY, Signal.MISS): Move(_UNHEALTHY, When.AFTER_MISSES),
    (_HEALTHY, Signal.LOST_DIAL): Move(_UNHEALTHY, When.AFTER_MISSES),
    (_HEALTHY, Signal.NOT_READY): Move(_UNHEALTHY, When.AFTER_MISSES),
    (_HEALTHY, Signal.LOADING): Move(_UNHEALTHY, When.AT_ONCE),
    (_HEALTHY, Signal.SHUT_OUT): Move(_UNHEALTHY, When.AT_ONCE),
    (_HEALTHY, Signal.REJECTED): Move(_UNHEALTHY, When.AT_ONCE),
    (_HEALTHY, Signal.SILENT): Move(_UNHEALTHY, When.AT_ONCE),
    # An unhealthy one proves itself, unless somebody waits for it.
    (_UNHEALTHY, Signal.PASS): Move(_HEALTHY, When.AFTER_PASSES),
    (_UNHEALTHY, Signal.WANTED_PASS): Move(_HEALTHY, When.AT_ONCE),
    (_UNHEALTHY, Signal.MISS): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNHEALTHY, Signal.LOST_DIAL): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNHEALTHY, Signal.NOT_READY): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNHEALTHY, Signal.LOADING): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNHEALTHY, Signal.SHUT_OUT): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNHEALTHY, Signal.REJECTED): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNHEALTHY, Signal.SILENT): Move(_UNHEALTHY, When.AT_ONCE),
}
