"""What may an owner ask for, and which models does a server then serve? Pure: values in, values out."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET, UnsetType

from app.services.core.errors import FieldsInvalid
from app.services.core.types import DiscoveredModel, Endpoint, Inspection, ModelEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from app.services.core.people.hours import Hours
    from app.services.registry.records import ServerRecord

__all__ = [
    "MAX_MODELS",
    "MAX_MODEL_NAME_LENGTH",
    "Chosen",
    "Lacking",
    "ServerChange",
    "ServerSpec",
    "adopted",
    "applied",
    "choose_models",
    "needs_check",
    "spec_of",
]

MAX_MODELS: Final = 1000
MAX_MODEL_NAME_LENGTH: Final = 256
MAX_CONTEXT_LENGTH: Final = 2**31 - 1
NAMES_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A server as its owner describes it. ``models`` is None for "all that it lists", ``hours`` for always."""

    endpoint_url: str
    api_key: str | None = field(default=None, repr=False)
    models: tuple[ModelEntry, ...] | None = None
    capabilities: Mapping[str, object] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)
    max_concurrency: int | None = None
    priority: int = 0
    weight: float = 1.0
    share: str = "everyone"
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class ServerChange:
    """What an owner changes: the fields that are set, None included where None means "none"."""

    endpoint_url: str | UnsetType = UNSET
    api_key: str | UnsetType | None = field(default=UNSET, repr=False)
    models: tuple[ModelEntry, ...] | UnsetType | None = UNSET
    capabilities: Mapping[str, object] | UnsetType = UNSET
    metadata: Mapping[str, object] | UnsetType = UNSET
    max_concurrency: int | UnsetType | None = UNSET
    priority: int | UnsetType = UNSET
    weight: float | UnsetType = UNSET
    share: str | UnsetType = UNSET
    hours: Hours | UnsetType | None = UNSET

    def refuse_stray_key(self, record: ServerRecord, endpoint: Endpoint) -> None:
        """Let no stored key go where it was not stored for: whoever steers a server need not know its key.

        Args:
            record: the server as it is stored.
            endpoint: where it is to be.

        Raises:
            FieldsInvalid: scheme, host or port change, and nothing is said about the key.
        """
        stored = record.api_key is not None or record.key_unreadable
        if stored and self.api_key is UNSET and endpoint.origin != record.endpoint.origin:
            message = (
                "Give api_key again: the stored one is only ever sent to the address it was stored for, "
                "or send null to drop it."
            )
            raise FieldsInvalid(message, param="api_key")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The models that a server will be asked for."""

    models: tuple[ModelEntry, ...]


@dataclass(frozen=True, slots=True)
class Lacking:
    """The server does not list what was asked for; ``reason`` goes on after its URL and names the fix."""

    reason: str


def spec_of(record: ServerRecord) -> ServerSpec:
    """Read a stored server back as its owner's description."""
    return ServerSpec(
        endpoint_url=record.endpoint.url,
        api_key=record.api_key,
        models=None if record.discovers_models else record.models,
        capabilities=record.capabilities,
        metadata=record.metadata,
        max_concurrency=record.max_concurrency,
        priority=record.priority,
        weight=record.weight,
        share=record.share,
        hours=record.hours,
    )


def applied(spec: ServerSpec, change: ServerChange) -> ServerSpec:
    """Return the description with the given fields changed."""
    given: dict[str, Any] = {
        name: value for name in (part.name for part in fields(change)) if (value := getattr(change, name)) is not UNSET
    }
    return replace(spec, **given)


def needs_check(before: ServerSpec, after: ServerSpec) -> bool:
    """Whether a change may make a server unreachable or unfit, so that it has to be looked at before it counts."""
    return _checkable(before) != _checkable(after)


def choose_models(spec: ServerSpec, inspection: Inspection) -> Chosen | Lacking:
    """Match what is asked for with what the server lists.

    Args:
        spec: the owner's description.
        inspection: what a look at the server found; it passed, or failed by ``MODEL_MISSING`` alone.
    """
    listed = _usable(inspection.models)
    if spec.models is None:
        if not listed:
            return Lacking("lists no models: load one, then try again")
        return Chosen(tuple(_entry(spec.capabilities, name, name, listed) for name in listed))
    missing = [model.upstream_name for model in spec.models if model.upstream_name in inspection.missing_models]
    if missing:
        return Lacking(_lacking(list(listed), missing))
    return Chosen(
        tuple(_entry(spec.capabilities, model.name, model.upstream_name, listed) for model in spec.models),
    )


def adopted(record: ServerRecord, models: Iterable[DiscoveredModel], engine: str = "unknown") -> ServerRecord:
    """Return the record as a later look at the server leaves it; the same record if that changes nothing.

    A server that was registered for whatever it lists follows its list, unless that is empty: then it is loading, and
    the health check takes its models out of service. Context lengths and the engine follow in any case.
    """
    listed = _usable(models)
    if not listed:
        return record
    names = [(name, name) for name in listed] if record.discovers_models else []
    wanted = names or [(model.name, model.upstream_name) for model in record.models]
    known = {model.upstream_name: model.context_length for model in record.models}
    entries = tuple(
        ModelEntry(name, upstream, listed.get(upstream) or known.get(upstream) or _declared(record.capabilities))
        for name, upstream in wanted
    )
    seen = record.engine if engine == "unknown" else engine
    if entries == record.models and seen == record.engine:
        return record
    return replace(record, models=entries, engine=seen)


def _checkable(spec: ServerSpec) -> tuple[object, ...]:
    """Gather what an examination depends on."""
    names = None if spec.models is None else [(model.name, model.upstream_name) for model in spec.models]
    return spec.endpoint_url, spec.api_key, names, _declared(spec.capabilities)


def _usable(models: Iterable[DiscoveredModel]) -> dict[str, int | None]:
    """Keep the names that can be asked for, once each, in the server's order: what it says is not to be trusted."""
    listed: dict[str, int | None] = {}
    for model in models:
        if len(listed) == MAX_MODELS:
            break
        if model.name not in listed and _is_model_name(model.name):
            length = model.context_length
            listed[model.name] = length if length is not None and 0 < length <= MAX_CONTEXT_LENGTH else None
    return listed


def _is_model_name(name: str) -> bool:
    """Whether users could ask for a model by this name: no control characters, no lone surrogates, not too long."""
    usable = all(unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"} for character in name)
    return usable and 0 < len(name) <= MAX_MODEL_NAME_LENGTH and name == name.strip()


def _entry(
    capabilities: Mapping[str, object], name: str, upstream_name: str, listed: Mapping[str, int | None]
) -> ModelEntry:
    return ModelEntry(name, upstream_name, listed.get(upstream_name) or _declared(capabilities))


def _declared(capabilities: Mapping[str, object]) -> int | None:
    """Read the context length that the owner declared, in tokens."""
    value = capabilities.get("context_length")
    return value if isinstance(value, int) else None


def _lacking(listed: list[str], missing: list[str]) -> str:
    """Say what the server lists and what it lacks, and how a name is mapped."""
    if not listed:
        return f"lists no models, so not {_enumerated(missing)} either: load the model, then try again"
    noun = "model" if len(listed) == 1 else "models"
    example = f'"models": [{{"name": "{missing[0]}", "upstream_name": "{listed[0]}"}}]'
    fix = f"Load it there, or say what the server calls it: {example}"
    return f"lists {noun} {_enumerated(listed)} but not {_enumerated(missing)}. {fix}"


def _enumerated(names: list[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"
