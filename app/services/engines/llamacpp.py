"""How does llama.cpp's server, as read at 0c1e570, show itself?"""

from __future__ import annotations

from hashlib import sha256
from http import HTTPStatus
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.signals import Signals
from app.services.engines.abilities import abilities_in
from app.services.engines.exposition_text import amount
from app.services.engines.interface import MAX_MODELS, Engine, Evidence, header_starts, owner
from app.services.engines.reading import (
    MAX_AMOUNT,
    count_at,
    decode_or_none,
    is_model_name,
    objects_at,
    text_at,
    texts_at,
    value_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from app.services.core.signals import Capability

__all__ = ["LlamaCpp"]

LISTING: Final = "/v1/models"
PROPS: Final = "/props"
METRICS: Final = "/metrics"
SLOTS: Final = "/slots"


MARK_CHARACTERS: Final = 16
MOST_LOOKED_AT: Final = 4 * MAX_MODELS
"""Names in a list that are looked at, empty ones and other nonsense among them."""


class LlamaCpp(Engine):
    """Signs with ``Server: llama.cpp``; tells the context of one slot, which is what a request may use.

    A model may be asked for by its aliases as well. While it loads, everything answers 503 "Loading model". Started
    without a model it is a router: it lists many, each with a status, and loads them inside the request.
    """

    name = "llama.cpp"
    context_paths = (("meta", "n_ctx"),)
    error_paths = (("error", "message"),)

    def recognises(self, evidence: Evidence) -> bool:
        """By the Server header, which even its errors carry, or by the owner of its models."""
        return header_starts(evidence, "server", "llama.cpp") or owner(evidence) == "llamacpp"

    def names(self, entry: Mapping[str, object]) -> Iterator[object]:
        """Yield the id, then the aliases."""
        yield entry.get("id")
        aliases = entry.get("aliases")
        if isinstance(aliases, list):
            yield from aliases

    def count_request(self, model: str, text: str) -> tuple[str, bytes] | None:
        """By ``/tokenize``; the model is for a router of several."""
        asked = {"model": model, "content": text, "add_special": False, "parse_special": False}
        return "/tokenize", msgspec.json.encode(asked)

    def is_loading(self, status: int, body: bytes) -> bool:
        """Take a list whose model has no figures yet for loading too: builds of before 2026 answer so meanwhile."""
        if status != HTTPStatus.OK:
            return super().is_loading(status, body)
        entry = next(objects_at(decode_or_none(body), ("data",)), {})
        return "meta" in entry and entry["meta"] is None and "status" not in entry

    def signal_paths(self) -> tuple[str, ...]:
        """Return the pages that do not wake a model that sleeps: ``/slots`` does, so it is left alone.

        ``/metrics`` is there only with ``--metrics``; a router answers it with 400.
        """
        return LISTING, PROPS, METRICS

    def signals(self, answers: Mapping[str, bytes]) -> Signals:
        """Read what models it has and how they are, how many slots, and how many of them are busy."""
        listing, props = decode_or_none(answers.get(LISTING)), decode_or_none(answers.get(PROPS))
        slots = list(objects_at(decode_or_none(answers.get(SLOTS)), ()))
        page = answers.get(METRICS, b"")
        running = amount(page, "llamacpp:requests_processing")
        if running is None and slots:
            running = sum(slot.get("is_processing") is True for slot in slots)
        places = count_at(props, ("total_slots",)) or len(slots) or None
        return Signals(
            running=running,
            waiting=amount(page, "llamacpp:requests_deferred"),
            places=None if places is None else min(places, MAX_AMOUNT),
            loaded=self._loaded(listing, props),
            contexts=self._contexts(listing, props, slots),
            capabilities=self._capabilities(listing, props),
            templates=self._templates(listing, props),
        )

    def _entries(self, listing: object) -> Iterator[tuple[str, Mapping[str, object]]]:
        """Yield the entries of a list under each name that they go by, at most 1000 names."""
        every = ((name, entry) for entry in objects_at(listing, ("data",)) for name in self.names(entry))
        named = islice(every, MOST_LOOKED_AT)
        usable = ((name, entry) for name, entry in named if is_model_name(name))
        yield from (pair for pair, _ in zip(usable, range(MAX_MODELS), strict=False))

    def _loaded(self, listing: object, props: object) -> frozenset[str] | None:
        """A router tells by model. A server of one tells only that it sleeps: then its memory is empty."""
        told = [(name, text_at(entry, ("status", "value"))) for name, entry in self._entries(listing)]
        if any(status for _, status in told):
            return frozenset(name for name, status in told if status == "loaded")
        return frozenset() if value_at(props, ("is_sleeping",)) is True else None

    def _contexts(self, listing: object, props: object, slots: list[Mapping[str, object]]) -> Mapping[str, int]:
        """The context of a slot, by model; a server of one tells it in its settings and its slots too."""
        contexts = {name: count_at(entry, ("meta", "n_ctx")) for name, entry in self._entries(listing)}
        if not any(contexts.values()):
            alone = count_at(props, ("default_generation_settings", "n_ctx"))
            if alone is None and slots:
                alone = count_at(slots[0], ("n_ctx",))
            contexts = dict.fromkeys(contexts or filter(is_model_name, [text_at(props, ("model_alias",))]), alone)
        return {name: context for name, context in contexts.items() if context is not None}

    def _capabilities(self, listing: object, props: object) -> Mapping[str, frozenset[Capability]]:
        """What goes in and out by model, and what the settings of a server of one add to it."""
        of_all = abilities_in(chain(_true_in(props, "modalities"), _true_in(props, "chat_template_caps")))
        by_name = {text_at(model, ("model",)): model for model in objects_at(listing, ("models",))}
        found = {}
        for name, entry in self._entries(listing):
            model = by_name.get(text_at(entry, ("id",)))
            inputs = texts_at(entry, ("architecture", "input_modalities"))
            found[name] = of_all | abilities_in(inputs) | abilities_in(texts_at(model, ("capabilities",)))
        return {name: abilities for name, abilities in found.items() if abilities}

    def _templates(self, listing: object, props: object) -> Mapping[str, str]:
        """The settings of a server of one hold its chat template; a router's tell none."""
        template = text_at(props, ("chat_template",))
        return dict.fromkeys((name for name, _ in self._entries(listing)), _mark(template)) if template.strip() else {}


def _mark(template: str) -> str:
    """Make the mark of a chat template: white space at its ends means nothing."""
    return sha256(template.strip().encode("utf-8", "replace")).hexdigest()[:MARK_CHARACTERS]


def _true_in(document: object, member: str) -> Iterator[str]:
    """Yield the names in an object that are true."""
    flags = value_at(document, (member,))
    if isinstance(flags, dict):
        yield from (name for name, flag in flags.items() if flag is True)
