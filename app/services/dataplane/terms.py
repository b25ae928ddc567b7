"""On what terms does a request go: which servers may it use, where does its name lead, what does it count for?

Only requests for which there is something to say have terms. Where every server is open to all, a name is a model's and
the key has no limits, there are none, and the snapshot is used as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core.choice.aliases import model_of
from app.services.core.choice.along import plan_along
from app.services.core.choice.plan import Refuse, unknown_model
from app.services.core.errors import ModelNotFound
from app.services.core.people.principal import Trust
from app.services.core.people.refusals import no_server_trusted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable

    from app.services.core.choice.plan import Plan, Select
    from app.services.core.choice.sight import Sight
    from app.services.core.choice.snapshot import Route, Snapshot
    from app.services.core.errors import GatewayError, NotAllowed
    from app.services.core.limits.gate import Admitted
    from app.services.core.prompt.demand import Demand
    from app.services.dataplane.plane import DataPlane

__all__ = ["Terms"]


class Terms:
    """The terms of one request.

    Args:
        plane: with the snapshot of the moment.
        asked: the name that the client asked for.
        sight: decides which servers it may use.
        allowed: the only names that its key may ask for; None: all.
        for_tools: whether its tools are what keeps it from going further.

    Attributes:
        name: the route that it goes by now.
        admitted: what it counts for.
        draws_for: draws what it counts for on another model, by the name of its route; gives the error where that
            model's limits have no room. None where no model has any.
    """

    __slots__ = (
        "_allowed", "_drawn", "_for_tools", "_names", "_plane", "_sight", "admitted", "asked", "draws_for", "name",
    )  # fmt: skip

    def __init__(
        self,
        plane: DataPlane,
        asked: str,
        sight: Sight,
        allowed: Container[str] | None = None,
        *,
        for_tools: bool = False,
    ) -> None:
        self._plane = plane
        self._allowed = allowed
        self._names: tuple[str, ...] = (asked,)
        self._sight = sight
        self._for_tools = for_tools
        self.asked = asked
        self.name = asked
        self.admitted: list[Admitted] = []
        self.draws_for: Callable[[str], GatewayError | None] | None = None
        self._drawn: set[str] = set()

    def go_by(self, names: tuple[str, ...]) -> None:
        """Take these routes in place of the one of the name that was asked for, the first that can serve first."""
        self._names = names
        self.name = names[0]
        self._drawn.add(self.name)

    def settle(self, tokens: int, now: float, wall: float) -> None:
        """Count what it used in place of what was drawn; once, at its end."""
        self.draws_for = None  # it knows these terms: without a circle they go at once
        for admitted in self.admitted:
            admitted.settle(tokens, now, wall)

    @property
    def kind(self) -> tuple[tuple[str, ...], Sight]:
        """What it has in common with others: where one found no place, another of its kind finds none either."""
        return self._names, self._sight

    @property
    def model(self) -> str:
        """The model that the route leads to."""
        return model_of(self.name)

    @property
    def alias(self) -> str:
        """The alias that was asked for; empty where it was a model."""
        return self.asked if self.name != self.asked else ""

    def seen(self) -> Snapshot:
        """The part of the registry that it may use."""
        return self._plane.views.of(self._plane.snapshot, self._sight)

    def route(self) -> Route | None:
        """The route that it goes by; None where none of its servers may be used."""
        return self.seen().route(self.name)

    def routes(self) -> list[Route]:
        """All routes that it may go by."""
        seen = self.seen()
        return [route for name in self._names if (route := seen.route(name)) is not None]

    def plan(
        self, tried: Collection[str], now: float, select: Select | None = None, demand: Demand | None = None
    ) -> Plan:
        """Plan one attempt. The first of its routes that has a server now is taken; where none has, the best hope.

        A begun answer (``select``) goes on with the model that it was begun with.
        """
        plane, names = self._plane, self._names if select is None else (self.name,)
        found = plan_along(
            names, self.seen(), plane.board, tried, now, plane.random, select, demand, objection=self._objection
        )
        if found is None:
            return self._unseen(None)
        self.name, verdict = found
        if isinstance(verdict, Refuse) and isinstance(verdict.error, ModelNotFound):
            return self._unseen(verdict)
        return verdict

    def _objection(self, name: str) -> GatewayError | None:
        """What speaks against a model that was not drawn for: its limits may have no room."""
        if self.draws_for is None or name in self._drawn or len(self._names) == 1:
            return None
        error = self.draws_for(name)
        if error is None:
            self._drawn.add(name)
        return error

    def _unseen(self, verdict: Plan | None) -> Plan:
        """Refuse a name that none of the servers it may use has: because of trust, if that is all that is amiss."""
        refusal = self.distrusted(model_of(name) for name in self._names)
        if refusal is not None:
            return Refuse(refusal)
        if verdict is None or self._allowed is not None:
            return Refuse(unknown_model(self.asked, self.seen(), self._allowed))
        return verdict

    def distrusted(self, models: Iterable[str]) -> NotAllowed | None:
        """Say that servers have these models, but none that is trusted as far as the request goes; None if none has."""
        if self._sight.reach is Trust.PUBLIC:
            return None
        wider = self._plane.views.of(self._plane.snapshot, self._sight.widened())
        if not any(model in wider.routes for model in models):
            return None
        return no_server_trusted(self.asked, self._sight.reach, for_tools=self._for_tools)
