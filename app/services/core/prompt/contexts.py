"""Does a prompt fit the context of a server, and what is said when it fits nowhere?

What is known is an estimate (``core.prompt.token_rates``), so there are three answers. ``SURE``: prompt and answer fit,
with a margin for the estimate's error. ``NONE``: the prompt does not fit, with a margin for the same. ``UNSURE``: all
between them, and every server whose context nobody told: an unknown context is never a reason to refuse.

Most engines refuse what is too long (vLLM, SGLang, llama.cpp and TGI with 400 or 422), and a refusal is no harm: so
they are asked up to a fifth beyond their context, for the estimate may be too high. Ollama keeps the end of the prompt
and drops the rest, with 200 and not a word (0.32.9 with most templates, and always on its OpenAI-compatible routes; a
context of 4,096 tokens reads 2,050 of them), and LM Studio may, as its user set it. There the estimate alone decides:
a 400 that names the figures is worth more than an answer to half of a question.

An answer that is longer than what is left of the context is no reason to refuse either: most clients ask for far more
than they get. Servers that hold both are preferred.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from app.services.core.errors import RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.services.core.choice.snapshot import Candidate, Route, Snapshot
    from app.services.core.prompt.demand import Demand

__all__ = ["CUTTERS", "Room", "context_of", "largest_context", "room", "room_at", "too_long"]

CUTTERS: Final = frozenset(("ollama", "lmstudio"))
"""Engines that may cut a prompt in silence, as the registry names them."""
MARGIN_DIVISOR: Final = 8
"""A prompt fits surely if an eighth more of it does."""
GRACE_DIVISOR: Final = 5
"""A prompt may fit up to a fifth beyond the context of an engine that refuses."""


class Room(IntEnum):
    """Whether a context holds a request. The lower, the better."""

    SURE = 0
    UNSURE = 1
    NONE = 2


def room(context_length: int | None, demand: Demand, *, cuts: bool = False) -> Room:
    """Say whether a context holds what a request asks for.

    Args:
        context_length: in tokens; None where it is not known.
        demand: with no figures of its prompt it fits everywhere.
        cuts: whether the engine cuts in silence what does not fit.
    """
    prompt = demand.prompt_tokens
    if not (prompt or demand.least_tokens):
        return Room.SURE
    if not context_length or context_length < 0:
        return Room.UNSURE
    grace = 0 if cuts else context_length // GRACE_DIVISOR
    if demand.least_tokens > context_length or prompt > context_length + grace:
        return Room.NONE
    return Room.SURE if prompt + prompt // MARGIN_DIVISOR + demand.answer_tokens <= context_length else Room.UNSURE


def room_at(candidate: Candidate, demand: Demand) -> Room:
    """Say whether a server holds what a request asks for, in the context that is in effect there."""
    return room(context_of(candidate), demand, cuts=candidate.server.engine in CUTTERS)


def context_of(candidate: Candidate) -> int | None:
    """The context length of a model on a server: the one in effect, else what was registered; None if unknown."""
    model = candidate.model
    return candidate.server.contexts.get(model.upstream_name) or model.context_length or None


def largest_context(route: Route) -> int | None:
    """The largest context of those that serve a model or may soon; of any that has it where these tell none."""
    return _largest((*route.ready, *route.standby, *route.down)) or route.context_length


def too_long(route: Route, demand: Demand, snapshot: Snapshot) -> RequestInvalid:
    """The 400 for a prompt that fits no server of its model.

    Args:
        route: the model's servers.
        demand: what the request asks for.
        snapshot: where another model may be found whose context is large enough.
    """
    tokens, largest = max(demand.prompt_tokens, demand.least_tokens), largest_context(route)
    limit = f", and the largest context of model '{route.name}' here is {largest:,}" if largest else ""
    other = _roomier(route, tokens + tokens // MARGIN_DIVISOR, snapshot)
    way_out = f"Shorten it, or use model '{other[0]}' ({other[1]:,} tokens)" if other else "Shorten it"
    return RequestInvalid(
        f"The prompt has about {tokens:,} tokens{limit}. {way_out}.",
        param=demand.member,
        code="context_length_exceeded",
    )


def _roomier(route: Route, tokens: int, snapshot: Snapshot) -> tuple[str, int] | None:
    """The model that serves now with the smallest context that surely holds so many tokens; and that context."""
    others = [
        (other.context_length, other.name, other)
        for other in snapshot.routes.values()
        if other.ready and (other.context_length or 0) >= tokens and other.name != route.name
    ]
    for _length, name, other in sorted(others, key=lambda found: found[:2]):
        length = _largest(other.ready)
        if length >= tokens:
            return name, length
    return None


def _largest(candidates: Sequence[Candidate]) -> int:
    return max((context_of(candidate) or 0 for candidate in candidates), default=0)
