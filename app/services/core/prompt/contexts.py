"""Does a prompt fit the context of a server, and what is said when it fits nowhere?

What is known is an estimate (``core.prompt.token_rates``), so there are four answers. ``SURE``: the prompt fits, with
a margin for the estimate's error. ``UNSURE``: it may, and so it may wherever nobody told a context. ``UNLIKELY``: the
estimate is well beyond the context. ``NONE``: it does not fit. Sure servers go first, unlikely ones only where there is
nobody else, and 400 is said only where all have no room: an estimate that others' texts have moved refuses nobody.

Most engines refuse what is too long (vLLM, SGLang, llama.cpp and TGI with 400 or 422), and a refusal is no harm: the
request goes on to a larger context. So they have no room only for what is too long by its sure tokens, or longer than
a context that has refused it already.

Ollama keeps the end of the prompt and drops the rest, with 200 and not a word (0.32.9 with most templates, and always
on its OpenAI-compatible routes; a context of 4,096 tokens reads 2,050 of them), and LM Studio may, as its user set it.
There an estimate decides: a 400 that names the figures is worth more than an answer to half of a question. It is the
estimate for the lightest texts of the model, so that nobody is refused for what others send.

A model that such an engine has not in memory has no context: it gets one when it is loaded. Until then the one that it
had there last counts, else what the engine takes by default, and what the owner declared where that is less. The owner
who declared more than the default may know better, as nobody has seen it: then a longer prompt may go there, as an
unlikely one. Once it is loaded, what is in effect is known and counts.

Whether the answer fits too is no reason to refuse: most clients ask for far more than they get. It decides between
servers that are equal otherwise (``holds_answer``).
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.errors import RequestInvalid
from app.services.core.prompt.demand import Demand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.services.core.choice.snapshot import Candidate, Route, Snapshot
    from app.services.core.types import ModelEntry, Server

__all__ = [
    "CUTTERS",
    "Room",
    "context_of",
    "expected_context",
    "holds_answer",
    "largest_context",
    "may_fit",
    "outgrown",
    "room",
    "room_at",
    "too_long",
]

CUTTERS: Final[Mapping[str, int]] = MappingProxyType({"ollama": 4096, "lmstudio": 4096})
"""Engines that may cut a prompt in silence, as the registry names them, with the context in tokens that they give a
model by default: Ollama on a machine with under 23 GiB of GPU memory, LM Studio on any."""
MARGIN_DIVISOR: Final = 8
"""A prompt fits surely if an eighth more of it does."""

GRACE_DIVISOR: Final = 5
"""A prompt may fit up to a fifth beyond the context of an engine that refuses."""


class Room(IntEnum):
    """Whether a context holds a request. The lower, the better."""

    SURE = 0
    UNSURE = 1
    UNLIKELY = 2
    NONE = 3


def room(context_length: int | None, demand: Demand, *, cuts: bool = False) -> Room:
    """Say whether a context holds the prompt of a request.

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
    least = max(demand.least_tokens, demand.low_tokens or prompt) if cuts else demand.least_tokens
    if least > context_length or (context_length <= demand.refused_at and not cuts):
        return Room.NONE
    if max(prompt + prompt // MARGIN_DIVISOR, demand.least_tokens) <= context_length:
        return Room.SURE
    grace = 0 if cuts else context_length // GRACE_DIVISOR
    return Room.UNSURE if prompt <= context_length + grace else Room.UNLIKELY


def holds_answer(context_length: int | None, demand: Demand) -> bool:
    """Whether a context surely holds the prompt and the longest answer that is asked for."""
    needed = demand.prompt_tokens + demand.prompt_tokens // MARGIN_DIVISOR + demand.answer_tokens
    return context_length is not None and needed <= context_length


def room_at(candidate: Candidate, demand: Demand) -> Room:
    """Say whether a server holds the prompt of a request, in the context that is or will be in effect there."""
    cuts = candidate.server.engine in CUTTERS
    found = room(context_of(candidate), demand, cuts=cuts)
    if found is Room.NONE and cuts and not candidate.warm and not _told(candidate.server, candidate.model):
        declared = _declared(candidate)
        if declared is not None and room(declared, demand, cuts=True) is not Room.NONE:
            return Room.UNLIKELY  # only the engine's default speaks against it
    return found


def context_of(candidate: Candidate) -> int | None:
    """The context length that a model has on a server, in tokens, or will have there; None if unknown."""
    return candidate.model.context_length or None


def expected_context(server: Server, model: ModelEntry, told: int | None, *, warm: bool) -> int | None:
    """Say which context a prompt meets at a server, in tokens; None if nobody knows.

    Args:
        server: as registered.
        model: its entry, with the context length that was listed or declared.
        told: the one in effect there now, or when the model was in memory last.
        warm: whether the model is in memory, as far as the engine tells.
    """
    default = CUTTERS.get(server.engine)
    if default is None:
        return told or model.context_length
    known = told or (None if warm else default)
    return min((length for length in (known, model.context_length) if length), default=None)


def outgrown(demand: Demand | None, context_length: int | None, answer_tokens: int = 0) -> Demand:
    """Say what is known of a request that a server refused for its length.

    The server counted: prompt and answer together have more tokens than its context. So whatever the estimate said, no
    engine that refuses by itself need be asked again that has no more, and none that cuts.

    Args:
        demand: what was known before; None where it was not read.
        context_length: of the server that refused it, in tokens; None where it is not known.
        answer_tokens: the most that the client asks for, where the demand was not read.
    """
    demand = demand if demand is not None else Demand(answer_tokens=answer_tokens)
    if not context_length:
        return demand
    least = max(demand.least_tokens, context_length + 1 - demand.answer_tokens)
    return msgspec.structs.replace(
        demand,
        least_tokens=least,
        prompt_tokens=max(demand.prompt_tokens, least),
        low_tokens=max(demand.low_tokens, least),
        refused_at=max(demand.refused_at, context_length),
    )


def may_fit(route: Route, demand: Demand, refused: Candidate) -> bool:
    """Whether any server of a model, up or down, may hold a prompt that one of them refused."""
    return any(
        candidate.server.id != refused.server.id and room_at(candidate, demand) is not Room.NONE
        for candidate in (*route.ready, *route.standby, *route.down)
    )


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
    tokens, largest = max(demand.low_tokens or demand.prompt_tokens, demand.least_tokens), largest_context(route)
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


def _told(server: Server, model: ModelEntry) -> int | None:
    """The context that a server told of a model; for Ollama a name without a tag is its ``latest``."""
    name = model.upstream_name
    return server.contexts.get(name) or server.contexts.get(f"{name}:latest")


def _declared(candidate: Candidate) -> int | None:
    """The context that its owner declared for a model."""
    name = candidate.model.upstream_name
    return next((entry.context_length for entry in candidate.server.models if entry.upstream_name == name), None)


def _largest(candidates: Sequence[Candidate]) -> int:
    return max((context_of(candidate) or 0 for candidate in candidates), default=0)
