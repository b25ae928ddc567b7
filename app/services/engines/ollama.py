"""How does Ollama, as read at 0.33, show itself?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.signals import Signals
from app.services.engines.abilities import abilities_in
from app.services.engines.interface import Engine, Evidence, owner
from app.services.engines.reading import count_at, decode_or_none, is_model_name, objects_at, text_at, texts_at

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

__all__ = ["Ollama"]

IN_MEMORY: Final = "/api/ps"
ON_DISK: Final = "/api/tags"


class Ollama(Engine):
    """Says "Ollama is running" at ``/``, and owns its models as ``library``, or as the user that a name begins with.

    Names carry a tag ("llama3.1:8b"). The list does not tell context lengths; only models in memory have one. Any
    other is loaded inside the request, with 4,096 tokens where the machine has under 23 GiB of GPU memory
    (server/routes.go), and a longer prompt is cut in silence.
    """

    name = "ollama"
    error_paths = (("error", "message"), ("error",))
    swaps_models = True

    def recognises(self, evidence: Evidence) -> bool:
        """By the owner of its library models, or by its greeting."""
        return owner(evidence) == "library" or evidence.root_body.strip().startswith(b"Ollama is running")

    def lacking(self, expected: Iterable[str], listed: Collection[str]) -> list[str]:
        """Take a name without a tag for the one tagged ``latest``, as Ollama does."""
        return [name for name in super().lacking(expected, listed) if f"{name}:latest" not in listed]

    def signal_paths(self) -> tuple[str, ...]:
        """Return what is in memory, and what there is with its capabilities."""
        return IN_MEMORY, ON_DISK

    def signals(self, answers: Mapping[str, bytes]) -> Signals:
        """Read both lists (api/types.go). How many requests run or wait, Ollama tells nowhere."""
        in_memory = decode_or_none(answers.get(IN_MEMORY))
        there = list(_models(decode_or_none(answers.get(ON_DISK))))
        running = list(_models(in_memory))
        elsewhere = (name for name, model in there if text_at(model, ("remote_host",)))  # Ollama's cloud loads nothing
        contexts = ((name, count_at(model, ("context_length",))) for name, model in running)
        abilities = ((name, abilities_in(texts_at(model, ("capabilities",)))) for name, model in there)
        is_told = isinstance(in_memory, dict) and isinstance(in_memory.get("models"), list)
        return Signals(
            loaded=frozenset([*(name for name, _ in running), *elsewhere]) if is_told else None,
            contexts={name: context for name, context in contexts if context is not None},
            capabilities={name: able for name, able in abilities if able},
        )


def _models(document: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield models by name, which always has its tag."""
    for model in objects_at(document, ("models",)):
        name = text_at(model, ("model",)) or text_at(model, ("name",))
        if is_model_name(name):
            yield name, model
