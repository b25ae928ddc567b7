"""What is said of where a request would go? The values, and the sentences that are made of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Explanation", "Leading", "Place"]

_SHORT_ID: Final = 8
_NAMED: Final = 3
_REASONS: Final = {
    "only": "it is the only one that has the model",
    "session": "this session ran there before",
    "prefix": "it has the beginning of this prompt in its cache",
    "placed": "it has the least to do to read this prompt, and keeps its beginning for what follows",
    "roomy": "others have a context that is too short, or may be",
    "loaded": "the model is in memory there",
    "drawn": "servers are drawn by weight, and of two the less busy one is taken",
}
_FATES: Final = {
    "queue": "The next request waits for a place: every server that could take it is full or asked to be left alone.",
    "await": "The next request waits, for none can serve it now. If that lasts, it hears:",
    "refuse": "The next request is refused:",
}


@dataclass(frozen=True, slots=True)
class Place:
    """How one server stands with the next request.

    Attributes:
        server_id: which one.
        model: which of its models; of several where an alias leads to several.
        takes: whether the next request may go there.
        share: of the next requests, 0.0 to 1.0.
        word: what speaks against it, one of ``standing.Word``; empty if nothing does.
        why: the same in words; empty if nothing does.
        in_flight: the gateway's requests there.
        foreign: what its engine counts beyond them, as far as that is still believed.
        places: how many it computes at once; by its owner's bound or its own word, else a usual number.
        cap: how many may be in flight; None for any number.
        priority: the higher, the sooner.
        weight: its share among equals.
        ramp: how much of the weight counts, up to 1.0: less while it comes back.
        warm: whether the model is in its memory.
        context_length: in tokens; None if unknown.
        home: why the request belongs there (``session``, ``prefix``); empty if it does not.
    """

    server_id: str
    model: str
    takes: bool
    share: float
    word: str
    why: str
    in_flight: int
    foreign: float
    places: int
    cap: int | None
    priority: int
    weight: float
    ramp: float
    warm: bool
    context_length: int | None
    home: str


@dataclass(frozen=True, slots=True)
class Leading:
    """One model that an alias leads to.

    Attributes:
        model: which one.
        fallback: whether it is taken only when no target can serve.
        weight: its share beside the other targets'.
        bounds: the needs that it takes, in words; empty for any.
        takes: whether it takes a request such as the next one.
        share: of the next requests, 0.0 to 1.0.
        healthy_servers: how many servers that have it are well.
    """

    model: str
    fallback: bool
    weight: float
    bounds: str
    takes: bool
    share: float
    healthy_servers: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the next request for a model or an alias would go.

    Attributes:
        model: as clients name it.
        verdict: ``forward``, ``queue``, ``await`` or ``refuse``, as the plan decides.
        why: why the server is taken that is taken most, as ``plan.Forward`` tells; else empty.
        message: what the client is told at the end where nobody takes it.
        servers: every server of the model, those first that are taken first; of an alias those of all its models.
        leads: what an alias leads to, the targets first, the heaviest of these first; empty for a model.
    """

    model: str
    verdict: str
    why: str
    message: str
    servers: tuple[Place, ...]
    leads: tuple[Leading, ...] = ()

    def sentence(self) -> str:
        """Say in a sentence or two what becomes of the next request."""
        return " ".join(filter(None, (self._leads(), self._fate())))

    def _leads(self) -> str:
        """Where an alias leads now, and where else."""
        if not self.leads:
            return ""
        taken = [f"{each.model} ({each.share:.0%})" for each in self.leads if each.share > 0.0]
        left = list(dict.fromkeys(each.model for each in self.leads if each.takes and each.share <= 0.0))
        first = _some(taken or left)
        then = f", else to {_some(left)}" if taken and left else ""
        return f"Alias '{self.model}' leads to {first}{then}." if first else ""

    def _fate(self) -> str:
        if self.verdict != "forward":
            return " ".join(part for part in (_FATES[self.verdict], self.message) if part)
        taken = [place for place in self.servers if place.share > 0.0]
        alone = len(taken) == 1
        names = [place.server_id[:_SHORT_ID] + ("" if alone else f" ({place.share:.0%})") for place in taken]
        reason = _REASONS.get(self.why, self.why)
        if alone and self.why == "drawn":
            reason = "it is the least busy of those that may be taken"
        return f"The next request goes to {_some(names)}, because {reason}."

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        told = asdict(self)
        return {
            **told,
            "servers": list(told["servers"]),
            "leads": list(told["leads"]),
            "sentence": self.sentence(),
        }


def _some(names: Sequence[str]) -> str:
    """Join names; of many the first few."""
    more = f" or one of {len(names) - _NAMED} others" if len(names) > _NAMED else ""
    return " or ".join(names[:_NAMED]) + more
