"""May this request go, on what terms, and what does it count for?

Asked once for a request, when its body is there and before it is routed. Where every server is open to all, no name is
an alias, and the key has neither limits nor models of its own, the answer is known without asking: ``is_plain``.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.choice.aliases import lead, leads_nowhere, model_of
from app.services.core.choice.plan import unknown_model
from app.services.core.choice.sight import sight_of
from app.services.core.http.members import offers_tools, plain_members
from app.services.core.limits.gate import Gate, Need, Refused
from app.services.core.people.principal import LimitRule, Trust
from app.services.core.people.refusals import model_not_in_scope
from app.services.dataplane.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from app.services.core.choice.aliases import AliasRoutes
    from app.services.core.choice.snapshot import Snapshot
    from app.services.core.errors import GatewayError
    from app.services.core.http.peek import Peek
    from app.services.core.people.principal import Principal
    from app.services.dataplane.plane import DataPlane
    from app.services.dataplane.reception import Call

__all__ = ["Admission", "TurnedDown", "draw_of"]

_BYTES_PER_TOKEN: Final = 4


class TurnedDown(Exception):
    """A request for ``model`` may not go. ``lines`` are header lines that its error carries beside its own."""

    def __init__(self, error: GatewayError, model: str, lines: bytes = b"") -> None:
        super().__init__(error.message)
        self.error = error
        self.model = model
        self.lines = lines


class Admission:
    """Judges requests.

    Args:
        gate: the limits.
        tools_anywhere: whether requests with tools may go to servers that are not trusted.
    """

    __slots__ = ("_tools_anywhere", "gate")

    def __init__(self, gate: Gate | None = None, *, tools_anywhere: bool = False) -> None:
        self.gate = gate or Gate()
        self._tools_anywhere = tools_anywhere

    def judge(self, plane: DataPlane, call: Call, seen: Peek, body: bytes, now: float) -> tuple[Call, Terms]:
        """Say on what terms a request goes. What it counts for is drawn.

        Args:
            plane: with the snapshot of the moment.
            call: the head of the request.
            seen: what was peeked of its body.
            body: as the client sent it.
            now: monotonic seconds.

        Returns:
            The call, with what its answer says of limits among its lines; and the terms.

        Raises:
            TurnedDown: with the error that the client hears.
            RequestInvalid: the body says different things to different readers.
        """
        principal, asked = call.principal, seen.model
        if not principal.may_ask_for(asked):
            raise TurnedDown(model_not_in_scope(asked, principal.models or ()), asked)
        need = Need(len(body) // _BYTES_PER_TOKEN, seen.answer_tokens * (seen.choices or 1))
        rules = self.rules_of(principal, call)
        is_bound = principal.models is not None or self.gate.model_rules or any(rule.model for rule in rules)
        terms = self.terms(plane, call, seen, body, is_bound=bool(is_bound))
        view = terms.seen()
        if (alias := view.aliases.get(asked)) is not None:
            self._lead(terms, alias, view, need, draw_of(principal.key_id, call.session) or plane.random)
        elif "\n" in asked:  # the inner names of routes hold one, and are nothing to ask for
            raise TurnedDown(unknown_model(asked, view, principal.models), asked)
        models = _names_of(terms, view, terms.name)
        rules += self._of_models(models)
        if rules:
            admitted = self.gate.admit(rules, models, need, now, plane.wall_clock())
            if isinstance(admitted, Refused):
                raise TurnedDown(admitted.error, asked, admitted.lines)
            terms.admitted.append(admitted)
            call = msgspec.structs.replace(call, lines=call.lines + admitted.lines)
        if is_bound:
            terms.draws_for = lambda name: self._draw_for(plane, terms, call, need, name)
        return call, terms

    def terms(self, plane: DataPlane, call: Call, seen: Peek, body: bytes, *, is_bound: bool = False) -> Terms:
        """Say which servers a request may use; also of one that began when there was no difference.

        Raises:
            RequestInvalid: the body says different things to different readers.
        """
        principal, is_open = call.principal, plane.snapshot.is_open
        members = {} if is_open and not is_bound else plain_members(body)
        goes_anywhere = is_open or self._tools_anywhere or principal.tools_anywhere
        for_tools = not goes_anywhere and offers_tools(members)
        sight = sight_of(principal, Trust.TRUSTED if for_tools else call.reach)
        is_for_tools = for_tools and call.reach is not Trust.TRUSTED
        return Terms(plane, seen.model, sight, principal.models, for_tools=is_for_tools)

    def _draw_for(self, plane: DataPlane, terms: Terms, call: Call, need: Need, name: str) -> GatewayError | None:
        """Draw what a request counts for on another model that its alias leads to."""
        models = _names_of(terms, terms.seen(), name)
        own = tuple(rule for rule in self.rules_of(call.principal, call) if rule.model is not None)
        admitted = self.gate.admit(own + self._of_models(models), models, need, plane.clock(), plane.wall_clock())
        if isinstance(admitted, Refused):
            return admitted.error
        terms.admitted.append(admitted)
        return None

    def _of_models(self, models: Collection[str]) -> tuple[LimitRule, ...]:
        """The limits of models for everybody together."""
        known = self.gate.model_rules
        return tuple(known[model] for model in sorted(models) if model in known) if known else ()

    @staticmethod
    def _lead(terms: Terms, alias: AliasRoutes, view: Snapshot, need: Need, draw: Callable[[], float]) -> None:
        """Say where an alias leads.

        Raises:
            TurnedDown: nowhere.
        """
        tokens = need.prompt_tokens + need.answer_tokens
        names = lead(alias, tokens, draw, view.routes)
        if not names:
            refusal = terms.distrusted(alias.alias.models)
            raise TurnedDown(refusal or leads_nowhere(alias.alias, view, tokens), terms.asked)
        terms.go_by(names)

    @staticmethod
    def rules_of(principal: Principal, call: Call | None = None) -> tuple[LimitRule, ...]:
        """What requests of a key count for; for a front end's key its limits are those of each person that it names.

        Args:
            principal: whose key.
            call: which request; None where it is none that names anybody.
        """
        if not principal.person_limits:
            return principal.rules
        named = call is not None and call.named
        person = call.person if call is not None else principal.person
        words = "this user" if named else "your key"
        return (*principal.rules, LimitRule(f"person:{person}", principal.person_limits, words))


def _names_of(terms: Terms, view: Snapshot, name: str) -> set[str]:
    """All names of the model that a route leads to, and the one that was asked for: limits of each of them count."""
    names = {terms.asked, model_of(name)}
    route = view.route(name)
    return names if route is None else names | {route.family} | view.kin.get(route.family, frozenset())


def draw_of(key_id: str, session: bytes) -> Callable[[], float] | None:
    """What draws among an alias's targets for a session, which stays with its model; None where there is none."""
    if not session:
        return None
    point = zlib.crc32(b"%b\n%b" % (key_id.encode(), session)) / 2**32
    return lambda: point
