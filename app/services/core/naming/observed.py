"""What is known of each name that users ask for? All that is told of it on all servers, put together.

What a server itself calls the model is the better witness: the name that users ask for is its owner's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from app.services.core.naming.reading import read_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.services.core.naming.traits import ModelTraits

__all__ = ["Identity", "Known", "Observation", "known_names"]


@dataclass(frozen=True, slots=True)
class Observation:
    """One model on one server: as users ask for it and as the server calls it.

    ``context_length`` is in tokens, None if unknown; ``template`` the mark of its chat template, empty if not told.
    """

    name: str
    upstream_name: str
    engine: str = "unknown"
    context_length: int | None = None
    template: str = ""


class Identity(NamedTuple):
    """What two names of one model have in common. An empty text is something that is not told."""

    family: str
    version: str
    size: str
    active: str
    variant: str
    others: tuple[str, ...]


@dataclass(slots=True)
class Known:
    """All that is known of one name."""

    name: str
    identity: Identity
    makes_vectors: bool
    quantizations: set[str] = field(default_factory=set)
    """Those that are told; with an empty text among them where some server tells none."""
    contexts: set[int] = field(default_factory=set)
    engines: set[str] = field(default_factory=set)
    templates: set[str] = field(default_factory=set)


def known_names(observations: Iterable[Observation]) -> list[Known]:
    """Put together what is told of each name, sorted by name.

    Names that tell too little are left out, and those that mean different models on different servers.
    """
    found: dict[str, Known | None] = {}
    for one in observations:
        if not one.name.isprintable():
            continue  # two names that look alike would be shown as one
        traits = _traits(one)
        identity = _identity(traits)
        known = found.setdefault(one.name, Known(one.name, identity, traits.makes_vectors))
        if known is None:
            continue
        both = _both(known.identity, identity)
        if both is None:
            found[one.name] = None
            continue
        known.identity = both
        known.quantizations.add(traits.quantization)
        known.engines.add(one.engine)
        if one.context_length:
            known.contexts.add(one.context_length)
        if one.template:
            known.templates.add(one.template)
    return [known for _, known in sorted(found.items()) if known is not None and known.identity.family]


def _traits(one: Observation) -> ModelTraits:
    """Read what the server calls the model; what that leaves out, the name may tell, unless the two contradict."""
    told, asked = read_name(one.upstream_name), read_name(one.name)
    if not told.known:
        return replace(asked, quantization=told.quantization or asked.quantization)
    both = _both(_identity(told), _identity(asked))
    if both is None:
        return told
    quantization = told.quantization or asked.quantization
    return replace(told, size=both.size, active=both.active, variant=both.variant, quantization=quantization)


def _identity(traits: ModelTraits) -> Identity:
    return Identity(traits.family, traits.version, traits.size, traits.active, traits.variant, traits.others)


def _both(one: Identity, other: Identity) -> Identity | None:
    """Join what two names tell of one model; None where they contradict each other."""
    if (one.family, one.version, one.others) != (other.family, other.version, other.others):
        return None
    parts = [(one.size, other.size), (one.active, other.active), (one.variant, other.variant)]
    if any(first and second and first != second for first, second in parts):
        return None
    size, active, variant = (first or second for first, second in parts)
    return one._replace(size=size, active=active, variant=variant)
