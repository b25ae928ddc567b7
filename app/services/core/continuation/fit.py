"""Which servers may take over an answer, and which of them first?

How many tokens a context has to hold is a guess: four bytes of prompt are taken for a token, or what was learnt of the
model; encoded pictures are left out. So a server is ruled out only where its context is smaller than that of the server
that began *and* clearly too small for the guess. One that is let through wrongly refuses, and the next is asked; one
that is ruled out wrongly might have been the last. An engine that cuts in silence what is too long refuses nothing, so
there the prompt and all that was delivered must surely fit: an error is a better end than half of another answer.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from app.services.core.answer.usage import BYTES_PER_TOKEN
from app.services.core.continuation.ability import UNJUDGED, Rung
from app.services.core.continuation.judgement import spent_tokens
from app.services.core.continuation.rendering import RENDERERS
from app.services.core.continuation.request import DEFAULT_LIMITS
from app.services.core.naming.reading import read_name
from app.services.core.prompt.contexts import CUTTERS, Room, context_of, room
from app.services.core.prompt.demand import NO_DEMAND, Demand

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.services.core.choice.snapshot import Candidate
    from app.services.core.continuation.ability import Ability
    from app.services.core.continuation.asked import Asked
    from app.services.core.continuation.delivered import Delivered

__all__ = ["Fit", "crossed", "fit", "needed_tokens", "select"]


class Fit(StrEnum):
    """Whether a server can go on with an answer."""

    ABLE = "able"
    UNABLE = "unable"
    UNJUDGED = "unjudged"
    """A probe has yet to tell."""


def fit(
    candidate: Candidate,
    asked: Asked,
    delivered: Delivered,
    *,
    anew: bool,
    first: Candidate | None = None,
    demand: Demand | None = None,
) -> Fit:
    """Judge one server.

    Args:
        candidate: the server, under the name that it has for the model.
        asked: what the client wants.
        delivered: what it has.
        anew: whether the answer is made from its beginning: any server can, if its context is large enough.
        first: the server that began; None where that is not known.
        demand: what is known of the prompt, where it was read.
    """
    if not _holds(candidate, asked, delivered, first, demand):
        return Fit.UNABLE
    if anew:
        return Fit.ABLE
    ability = candidate.server.abilities.get(candidate.model.upstream_name, UNJUDGED)
    rung = ability.chat if asked.chat else ability.text
    if rung is Rung.UNJUDGED:
        return Fit.UNJUDGED
    if asked.chat:
        able = rung in (Rung.FLAGS, Rung.TRAILING) or _renders(candidate, asked, delivered, ability)
    else:
        able = rung is Rung.TEXT and _bounds_alike(candidate, asked, first)
    return Fit.ABLE if able else Fit.UNABLE


def needed_tokens(asked: Asked, delivered: Delivered) -> int:
    """About how many tokens a context has to hold: prompt, what was delivered, and the most that may still come.

    Where the request sets no limit, one token more than was delivered is enough.
    """
    answer = max(spent_tokens(delivered, None) + 1, asked.most_tokens or 0)
    return asked.prompt_bytes // BYTES_PER_TOKEN + answer


def select(candidates: Iterable[Candidate], first: Candidate | None) -> list[list[Candidate]]:
    """Put candidates into groups, best first.

    Those of the engine that began with the same quantization, as far as the names tell; those with that quantization on
    other engines; the others of that engine; the rest. Empty groups are left out; within a group the order stays.
    """
    groups: tuple[list[Candidate], ...] = ([], [], [], [])
    for candidate in candidates:
        groups[_distance(candidate, first)].append(candidate)
    return [group for group in groups if group]


def crossed(first: Candidate, second: Candidate) -> str:
    """Say what differs where another server goes on with an answer: ``quantization Q4_K_M -> Q8_0, engine a -> b``.

    Empty where nothing does. What neither name tells is not known to differ.
    """
    before, after = _quantization(first), _quantization(second)
    parts = []
    if before != after and first.model.upstream_name != second.model.upstream_name:
        parts.append(f"quantization {before or 'not told'} -> {after or 'not told'}")
    if first.server.engine != second.server.engine:
        parts.append(f"engine {first.server.engine} -> {second.server.engine}")
    return ", ".join(parts)


def _distance(candidate: Candidate, first: Candidate | None) -> int:
    if first is None:
        return 0
    other_engine = candidate.server.engine != first.server.engine
    if _quantized_alike(candidate, first, told=other_engine):
        return 1 if other_engine else 0
    return 3 if other_engine else 2


def _quantized_alike(candidate: Candidate, first: Candidate, *, told: bool) -> bool:
    """Whether two have the same quantization by their servers' own names for them.

    What both names leave out is the same on one engine, which has a default; between two it must be told.
    """
    if not told and candidate.model.upstream_name == first.model.upstream_name:
        return True
    quantization = _quantization(candidate)
    return quantization == _quantization(first) and (bool(quantization) or not told)


def _quantization(candidate: Candidate) -> str:
    return read_name(candidate.model.upstream_name).quantization


def _holds(
    candidate: Candidate, asked: Asked, delivered: Delivered, first: Candidate | None, demand: Demand | None
) -> bool:
    """Whether the context may be large enough: as large as that of the first, or than three quarters of the guess."""
    length, begun = context_of(candidate), None if first is None else context_of(first)
    if length is None or (begun is not None and length >= begun):
        return True
    cuts, spent, known = candidate.server.engine in CUTTERS, spent_tokens(delivered, None), demand or NO_DEMAND
    prompt = max(asked.prompt_bytes // BYTES_PER_TOKEN, known.prompt_tokens)
    now = Demand(known.least_tokens + spent, prompt + spent, refused_at=known.refused_at)
    found = room(length, now, cuts=cuts)
    if cuts:
        return found is Room.SURE
    return found is not Room.NONE and 4 * length >= 3 * needed_tokens(asked, delivered)


def _renders(candidate: Candidate, asked: Asked, delivered: Delivered, ability: Ability) -> bool:
    """Whether a server goes on with this chat as raw text.

    Raw text has no tool calls, and takes no beginning of the client's own. Behind thoughts it needs a template that can
    leave them out: another opens them anew in the prompt.
    """
    if ability.chat not in (Rung.TEXT, Rung.TOKENS) or candidate.server.engine not in RENDERERS:
        return False
    return not (asked.has_tools or asked.prefilled) and (ability.thinking_off or not delivered.reasoning)


def _bounds_alike(candidate: Candidate, asked: Asked, first: Candidate | None) -> bool:
    """Whether a server sets no bound of its own on a completion without one, where the first did not."""
    bounds = candidate.server.engine in DEFAULT_LIMITS and not asked.limits
    return not bounds or first is None or first.server.engine in DEFAULT_LIMITS
