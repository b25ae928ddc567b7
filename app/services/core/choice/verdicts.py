"""What may become of a request next? The verdicts of ``core.choice.plan``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from app.services.core.choice.snapshot import Candidate

if TYPE_CHECKING:
    from app.services.core.errors import GatewayError

__all__ = ["Await", "Forward", "Plan", "Queue", "Refuse"]


class Forward(msgspec.Struct, frozen=True, gc=False):
    """Send it to this server.

    ``why`` is ``only``: no other server is ready; ``session``, ``prefix`` or ``placed``: it is the request's home
    (``demand.Home``); ``roomy``: others were left out as their context is too short, or may be; ``loaded``: others of
    its priority would have to load the model; ``drawn``: the less loaded of two.
    """

    candidate: Candidate
    why: str = "drawn"


@dataclass(frozen=True, slots=True)
class Queue:
    """Wait for a place: every fitting server is at its cap, or has another model's turn."""


@dataclass(frozen=True, slots=True)
class Await:
    """None can serve it now, but these may be back soon: have them asked, plan again, and give up after a while.

    ``server_ids`` names at least one, down or ejected, best priority first. None of them is held back by its owner, the
    operator or the gateway, and none was tried. ``error`` is what a request hears in the end that was sent nowhere.
    """

    server_ids: tuple[str, ...]
    error: GatewayError


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with this error. ``look_again`` names servers whose return would help: check them now."""

    error: GatewayError
    look_again: tuple[str, ...] = ()


Plan = Forward | Queue | Await | Refuse
