"""Is what one look found the server's doing, or the gateway's own?

A look that failed while the event loop itself was blocked says nothing of the server: it is repeated, not counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from app.services.core.types import CheckFailure

if TYPE_CHECKING:
    from app.services.core.types import Inspection
    from app.services.prober_interface import Looks, ProbeTarget
    from app.services.pulse import Clock, LoopLag

__all__ = ["MAX_REPEATS", "Lookout"]

MAX_REPEATS: Final = 2
"""How often a look is repeated because the event loop was blocked; then it counts."""


class Lookout:
    """Looks at servers, for the prober.

    Args:
        inspector: looks at one server.
        lag: how long the event loop was blocked; its ticks come from whoever runs the checks.
        clock: the time of that lag.
    """

    __slots__ = ("_clock", "_inspector", "_lag")

    def __init__(self, inspector: Looks, lag: LoopLag, clock: Clock) -> None:
        self._inspector = inspector
        self._lag = lag
        self._clock = clock

    async def look(self, target: ProbeTarget) -> Inspection:
        """Look at a server, again if the gateway itself was too slow to tell."""
        for _ in range(MAX_REPEATS):
            before = self._blocked_seconds()
            inspection = await self.glance(target)
            if inspection.failure is not CheckFailure.UNREACHABLE or self._blocked_seconds() == before:
                return inspection
        return await self.glance(target)

    async def glance(self, target: ProbeTarget) -> Inspection:
        """Look at a server once, whatever the event loop did."""
        expected = () if target.discovers else target.expected
        inspection = await self._inspector.inspect(target.endpoint, target.api_key, expected, engine=target.engine)
        return _with_missing(inspection, target) if target.discovers else inspection

    async def hears(self, target: ProbeTarget, timeout_seconds: float) -> bool:
        """Find out whether a server answers at all, whatever it says.

        What proves nothing against it counts as an answer: that the gateway has no socket left, or may no longer dial
        its address. A TLS handshake that fails is an answer too.
        """
        for _ in range(MAX_REPEATS):
            before = self._blocked_seconds()
            if await self._hears(target, timeout_seconds):
                return True
            if self._blocked_seconds() == before:
                return False
        return await self._hears(target, timeout_seconds)

    async def _hears(self, target: ProbeTarget, timeout_seconds: float) -> bool:
        failure = await self._inspector.hears(target.endpoint, target.api_key, timeout_seconds)
        return failure is not CheckFailure.UNREACHABLE

    def _blocked_seconds(self) -> float:
        return self._lag.blocked_seconds(self._clock.monotonic())


def _with_missing(inspection: Inspection, target: ProbeTarget) -> Inspection:
    """Delist at once what a discovering server no longer lists; that it changed its list is no fault of it."""
    if not inspection.passed and inspection.failure is not CheckFailure.MODEL_MISSING:
        return inspection
    listed = {model.name for model in inspection.models}
    return replace(inspection, missing_models=frozenset(target.expected) - listed)
