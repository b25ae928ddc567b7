"""How does a server become a row, and a row a server?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from app.services.core.checks.health import HealthState
from app.services.core.continuation.ability import Ability, Rung
from app.services.core.network.addresses import parse_endpoint
from app.services.core.types import HealthStatus, ModelEntry
from app.services.registry.records import Finding, Hold, ServerRecord
from app.services.registry.secrets import SecretBox, SecretUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "finding_of",
    "finding_row",
    "health_of",
    "health_row",
    "hold_of",
    "hold_row",
    "model_rows",
    "record_of",
    "server_row",
    "storable",
]


_HELD: Final = ("paused", "quarantined", "blocked", "draining")
"""The holds that stand with the server; the others belong to its terms."""


def storable(text: str) -> str:
    """Replace what no database takes as text: lone surrogates and NUL. Reasons quote what servers said."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def server_row(record: ServerRecord, box: SecretBox) -> dict[str, Any]:
    """Make the columns of a record, its health left out.

    A key that cannot be read stays stored as it is: with the right encryption key it will open again.
    """
    row: dict[str, Any] = {
        "id": record.id,
        "endpoint_url": record.endpoint.url,
        "owner": record.owner,
        "engine": record.engine,
        "discovers_models": record.discovers_models,
        "max_concurrency": record.max_concurrency,
        "priority": record.priority,
        "weight": record.weight,
        "share": record.share,
        "capabilities": dict(record.capabilities),
        "metadata": dict(record.metadata),
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }
    if not record.key_unreadable:
        row["api_key_ciphertext"] = None if record.api_key is None else box.seal(record.api_key, record.id)
    for name in _HELD:
        row |= hold_row(record, name)
    return row


def model_rows(record: ServerRecord) -> list[dict[str, Any]]:
    """Make the rows of a record's models; ``position`` keeps their order."""
    return [
        {
            "server_id": record.id,
            "name": model.name,
            "upstream_name": model.upstream_name,
            "context_length": model.context_length,
            "position": position,
        }
        for position, model in enumerate(record.models)
    ]


def health_row(health: HealthState) -> dict[str, Any]:
    """Make the columns of a state."""
    return {
        "health_status": health.status.value,
        "health_reason": storable(health.reason),
        "consecutive_failures": health.consecutive_failures,
        "consecutive_successes": health.consecutive_successes,
        "missing_models": sorted(map(storable, health.missing_models)),
        "last_checked_at": health.last_checked_at,
        "last_transition_at": health.last_transition_at,
    }


def health_of(row: Mapping[str, Any]) -> HealthState:
    """Read the state that was last stored."""
    return HealthState(
        status=HealthStatus(row["health_status"]),
        reason=row["health_reason"],
        consecutive_failures=row["consecutive_failures"],
        consecutive_successes=row["consecutive_successes"],
        last_checked_at=row["last_checked_at"],
        last_transition_at=row["last_transition_at"],
        missing_models=frozenset(row["missing_models"]),
    )


def finding_row(finding: Finding) -> dict[str, Any]:
    """Make the columns of what was found of a model."""
    ability = finding.ability
    return {
        "chat": ability.chat.value,
        "text": ability.text.value,
        "thinking_off": ability.thinking_off,
        "trims": ability.trims,
        "reason": storable(ability.reason),
        "version": storable(ability.version),
        "probed_at": finding.probed_at,
    }


def finding_of(row: Mapping[str, Any]) -> Finding:
    """Read what was found of a model.

    Raises:
        ValueError: another release knew a way that this one does not.
    """
    ability = Ability(
        chat=Rung(row["chat"]),
        text=Rung(row["text"]),
        thinking_off=row["thinking_off"],
        trims=row["trims"],
        reason=row["reason"],
        version=row["version"],
    )
    return Finding(ability, row["probed_at"])


def record_of(row: Mapping[str, Any], models: Iterable[Mapping[str, Any]], box: SecretBox) -> ServerRecord:
    """Read a stored server, without its terms.

    Raises:
        EndpointRefused: this version no longer accepts the endpoint's form.
    """
    sealed = row["api_key_ciphertext"]
    try:
        api_key = None if sealed is None else box.open(sealed, row["id"])
        unreadable = False
    except SecretUnreadable:
        api_key, unreadable = None, True
    return ServerRecord(
        id=row["id"],
        endpoint=parse_endpoint(row["endpoint_url"]),
        models=tuple(ModelEntry(model["name"], model["upstream_name"], model["context_length"]) for model in models),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        owner=row["owner"],
        api_key=api_key,
        key_unreadable=unreadable,
        engine=row["engine"],
        discovers_models=row["discovers_models"],
        max_concurrency=row["max_concurrency"],
        priority=row["priority"],
        weight=row["weight"],
        share=row["share"],
        capabilities=row["capabilities"],
        metadata=row["metadata"],
        paused=hold_of(row, "paused"),
        quarantined=hold_of(row, "quarantined"),
        blocked=hold_of(row, "blocked"),
        draining=hold_of(row, "draining"),
    )


def hold_row(record: ServerRecord, name: str) -> dict[str, Any]:
    """Make the three columns of a hold."""
    hold = record.holds[name]
    return {name: hold.active, f"{name}_reason": storable(hold.reason), f"{name}_until": hold.until}


def hold_of(row: Mapping[str, Any], name: str) -> Hold:
    """Read a hold."""
    return Hold(row[name], row[f"{name}_reason"], row[f"{name}_until"])
