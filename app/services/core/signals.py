"""What does an engine say of itself, beside its list of models: how busy is it, what has it in memory?

Read with the health checks, never on the way of a request. Every field may be unknown, for most engines tell but a
part; what one does not tell is counted by the gateway itself, or left open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NO_SIGNALS", "Capability", "Signals"]

Capability = str
"""One of ``chat``, ``completions``, ``embeddings``, ``rerank``, ``tools``, ``vision``, ``audio``, ``thinking``."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What one poll of an engine found. Models go by what the server calls them.

    Attributes:
        running: requests that it computes now, the gateway's own among them.
        waiting: requests in its own queue.
        places: how many it computes at once.
        cache_used: the share of its KV cache in use, 0.0 to 1.0.
        loaded: the models in its memory; None where it does not tell, or has but one.
        contexts: context lengths in effect, in tokens.
        capabilities: what models can do, as far as the engine tells.
        templates: a mark of each model's chat template; two of one mark are the same template.
    """

    running: int | None = None
    waiting: int | None = None
    places: int | None = None
    cache_used: float | None = None
    loaded: frozenset[str] | None = None
    contexts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    capabilities: Mapping[str, frozenset[Capability]] = field(default_factory=lambda: MappingProxyType({}))
    templates: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


NO_SIGNALS = Signals()
