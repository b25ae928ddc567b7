"""What of an engine's word concerns the models that its server is registered for, and what of it does routing follow?

An engine tells of everything that it has, under names of its own. Here that becomes what the registration knows: its
upstream names, and not more of them than it has. Pure.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from app.services.core.signals import NO_SIGNALS
from app.services.engines.identify import UNKNOWN
from app.services.engines.interface import MAX_MODELS
from app.services.engines.reading import is_model_name
from app.services.registry.records import EngineFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from app.services.core.signals import Signals
    from app.services.core.types import DiscoveredModel
    from app.services.engines.interface import Engine

__all__ = ["concerning", "facts_of", "is_final"]

Told = TypeVar("Told")

_PASSING: Final = frozenset({408, 425, 429})
"""Refusals that say nothing of the next time (RFC 9110, 15.5.9; RFC 8470; RFC 6585)."""
_NOT_THERE: Final = frozenset({501, 505})


def concerning(signals: Signals, expected: Sequence[str], engine: Engine) -> Signals:
    """Put an engine's word under the names that its server is registered for.

    Contexts, capabilities and templates of other models are left out. Of what is in memory others stay, for they take
    room there, but no more than 1000 models in all.

    Args:
        signals: as the engine says it.
        expected: the registered upstream names.
        engine: knows which names it takes for the same model.
    """
    if signals == NO_SIGNALS:
        return signals
    spellings = {name: _spellings(name, engine) for name in expected}
    return replace(
        signals,
        loaded=None if signals.loaded is None else _loaded(signals.loaded, spellings),
        contexts=_by_registered_name(signals.contexts, spellings),
        capabilities=_by_registered_name(signals.capabilities, spellings),
        templates=_by_registered_name(signals.templates, spellings),
    )


def facts_of(
    signals: Signals,
    listed: Iterable[DiscoveredModel],
    expected: Iterable[str],
    engine: Engine,
    seen: Mapping[str, int] = MappingProxyType({}),
) -> EngineFacts:
    """Pick what routing follows.

    What a server lists of a context length is in effect where the engine has one model in memory for good. Where it
    loads models when they are asked for, only those in memory have one: of the others the last one counts that they had
    there, for they will probably be loaded the same way. An unknown engine's list is a claim.

    Args:
        signals: what ``concerning`` returned.
        listed: the models that the last check found.
        expected: the registered upstream names.
        engine: what the server is.
        seen: the contexts that were last in effect there, by registered name.
    """
    swaps_models = engine.swaps_models or signals.loaded is not None
    contexts: dict[str, int] = {}
    if swaps_models:
        contexts = {name: length for name in expected if (length := seen.get(name)) is not None}
    elif engine is not UNKNOWN:
        lengths = {model.name: model.context_length for model in listed}
        contexts = {name: length for name in expected if (length := lengths.get(name)) is not None}
    contexts.update(signals.contexts)
    return EngineFacts(signals.places, signals.loaded, swaps_models, MappingProxyType(contexts))


def is_final(status: int) -> bool:
    """Whether a status says that the same server will answer so the next time too: there is no such page for us."""
    return (300 <= status < 500 and status not in _PASSING) or status in _NOT_THERE  # noqa: PLR2004 - HTTP statuses


def _spellings(name: str, engine: Engine) -> tuple[str, ...]:
    """Return the names under which an engine may tell of a model, the registered one first."""
    tagged = f"{name}:latest"
    return (name,) if engine.lacking((name,), (tagged,)) else (name, tagged)


def _by_registered_name(told: Mapping[str, Told], spellings: Mapping[str, tuple[str, ...]]) -> Mapping[str, Told]:
    found = {name: next((told[one] for one in known_as if one in told), None) for name, known_as in spellings.items()}
    return MappingProxyType({name: value for name, value in found.items() if value is not None})


def _loaded(told: frozenset[str], spellings: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    here = {name for name, known_as in spellings.items() if not told.isdisjoint(known_as)}
    others = told.difference(*(spellings[name] for name in here))
    strangers = islice(sorted(filter(is_model_name, others)), max(0, MAX_MODELS - len(here)))
    return frozenset(here).union(strangers)
