"""Why does a request go where it goes? For a client that asks with its request, and for an operator who asks ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.choice.aliases import lead
from app.services.core.choice.explain import explain
from app.services.core.choice.plan import Await, Forward, Queue, Refuse
from app.services.core.choice.route_header import header, header_without_server, passed_over
from app.services.core.prompt.demand import Demand
from app.services.dataplane.admission import draw_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from app.services.core.choice.explain import Explanation
    from app.services.core.choice.plan import Plan
    from app.services.core.choice.snapshot import Route
    from app.services.dataplane.demands import Wish
    from app.services.dataplane.plane import DataPlane

__all__ = ["foresee", "why"]

_VERDICTS: Final = {Queue: "queued", Await: "waiting", Refuse: "refused"}


def why(
    plane: DataPlane, route: Route | None, verdict: Plan, wish: Wish | None, body_bytes: int, tried: Collection[str]
) -> bytes:
    """Say in one line why a request goes where it goes; nothing where nobody has its model.

    Args:
        plane: with the figures that the verdict was made of: nothing was taken since.
        route: of its model; None where nobody has it.
        verdict: what was decided.
        wish: what the request asks for.
        body_bytes: how long its body is.
        tried: the servers that it was sent to before.
    """
    if route is None:
        return b""
    demand = None if wish is None else wish.demand
    passed = passed_over(route, plane.board, plane.clock(), demand, tried)
    if isinstance(verdict, Forward):
        return header(verdict, demand, body_bytes, passed)
    return header_without_server(_VERDICTS[type(verdict)], demand, passed)


def foresee(
    plane: DataPlane, model: str, prompt_tokens: int, answer_tokens: int, session: str | None, key_id: str
) -> Explanation:
    """Say where a request would go now, and why.

    Args:
        plane: with the figures of this moment.
        model: as clients name it.
        prompt_tokens: about how many tokens its prompt has; 0 for a short one.
        answer_tokens: the most that it asks for; 0 for no limit.
        session: what it says in ``X-Session-ID``, if anything.
        key_id: who asks.

    Raises:
        ModelNotFound: no server has it.
    """
    now, snapshot = plane.clock(), plane.snapshot
    draw = draw_of(key_id, session.encode()) if session else None
    name = model
    if (alias := snapshot.aliases.get(model)) is not None:
        name = next(iter(lead(alias, prompt_tokens + answer_tokens, draw or plane.random)), model)
    route = snapshot.route(name)
    family = route.family if route is not None else model
    homes = plane.demands.session_homes(key_id, family, session, now) if session else ()
    prompt = max(prompt_tokens, 1) if answer_tokens else prompt_tokens
    demand = Demand(prompt // 2, prompt, answer_tokens, homes) if prompt or homes else None
    return explain(model, snapshot, plane.board, now, demand, draw=draw)
