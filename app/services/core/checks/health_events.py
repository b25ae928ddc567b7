"""What can be seen of a server's health, by a check or by a request that failed?

What an event makes of a server's state stands in ``core.checks.health``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.services.core.types import CheckFailure

if TYPE_CHECKING:
    from app.services.core.types import Inspection

__all__ = ["Event", "Missed", "Passed", "Refused", "Rejected", "WentSilent", "event_from"]


@dataclass(frozen=True, slots=True)
class Passed:
    """A check that got a list of models. ``reason`` is not empty when the list lacks some (``missing``).

    ``wanted``: this one pass is to be enough, for requests wait for the server, or it is given a chance.
    """

    missing: frozenset[str] = frozenset()
    reason: str = ""
    wanted: bool = False


@dataclass(frozen=True, slots=True)
class Missed:
    """A check that failed. ``missing`` is None when the server gave no list."""

    reason: str
    failure: CheckFailure = CheckFailure.UNREACHABLE
    missing: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that could not connect to the server."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A request that the server answered with 401 or 403."""

    reason: str


@dataclass(frozen=True, slots=True)
class WentSilent:
    """A server that fell silent in the middle of an answer, and did not answer a check beside it."""

    reason: str = "stopped answering"


Event = Passed | Missed | Refused | Rejected | WentSilent


def event_from(inspection: Inspection, *, wanted: bool = False) -> Passed | Missed:
    """Read what a check found as an event; ``wanted`` if one pass is to be enough."""
    if inspection.failure is None:
        return Passed(inspection.missing_models, inspection.reason, wanted)
    listed = inspection.failure is CheckFailure.MODEL_MISSING
    return Missed(inspection.reason, inspection.failure, inspection.missing_models if listed else None)
