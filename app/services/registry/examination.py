"""Is a server fit to be registered as its owner describes it? One look, and words for an owner when it is not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from app.services.core.checks.health import CheckRecord, HealthState, Thresholds, advance, event_from
from app.services.core.errors import EndpointRefused, ServerUnreachable
from app.services.core.types import CheckFailure, Inspection
from app.services.registry.specification import Chosen, choose_models

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from app.services.core.types import Endpoint, ModelEntry
    from app.services.registry.records import ServerRecord
    from app.services.registry.specification import ServerSpec

__all__ = ["Examined", "Inspector", "examine", "revised"]

RETRY_AFTER_SECONDS: Final = 5

ADVICE: Final = {
    CheckFailure.UNREACHABLE: "Check that it is running and that the gateway can reach it, then try again.",
    CheckFailure.TLS: "Check its certificate, or set UPSTREAM_CA_FILE to the authority that signed it.",
    CheckFailure.NOT_READY: "Wait until it is ready, then try again.",
    CheckFailure.CREDENTIALS: "Give the key that it asks for as api_key.",
    CheckFailure.BAD_ANSWER: "Check that an OpenAI-compatible API is at this URL: GET /v1/models must list its models.",
}


class Inspector(Protocol):
    """Looks at a server once, on the way that traffic will take."""

    async def inspect(self, endpoint: Endpoint, api_key: str | None, expected: Sequence[str]) -> Inspection:
        """Ask the server for its models.

        Args:
            endpoint: where it listens.
            api_key: its own key, if it wants one.
            expected: upstream names that it should list.
        """
        ...


@dataclass(frozen=True, slots=True)
class Examined:
    """A server that is fit: what it serves, what it is, and the check that showed it.

    ``version`` is the engine's own; empty where it was not told.
    """

    models: tuple[ModelEntry, ...]
    engine: str
    check: CheckRecord
    health: HealthState
    version: str = ""

    def after(self, before: HealthState) -> HealthState:
        """The state of a server that was known before: the time of its last transition stays if it was healthy."""
        if before.status is not self.health.status:
            return self.health
        return replace(self.health, last_transition_at=before.last_transition_at)


async def examine(inspector: Inspector, endpoint: Endpoint, spec: ServerSpec, now: datetime) -> Examined:
    """Look at a server before it counts.

    Raises:
        EndpointRefused: the address may not be dialled.
        ServerUnreachable: it cannot be reached, is not ready, wants another key, or lacks a model.
    """
    expected = [model.upstream_name for model in spec.models or ()]
    inspection = await inspector.inspect(endpoint, spec.api_key, expected)
    if inspection.failure is CheckFailure.REFUSED_ADDRESS:
        raise EndpointRefused(_sentence(inspection.reason), param="endpoint_url", code=inspection.code)
    if inspection.failure is CheckFailure.LOADING:
        message = f"The server at {endpoint.url} is {inspection.reason}. Nothing is wrong with it: try again soon."
        raise ServerUnreachable(message, retry_after_seconds=RETRY_AFTER_SECONDS)
    if inspection.failure not in {None, CheckFailure.MODEL_MISSING}:
        message = f"The server at {endpoint.url} failed its check: {_sentence(inspection.reason)}"
        raise ServerUnreachable(f"{message} {_advice(inspection)}".strip(), retry_after_seconds=RETRY_AFTER_SECONDS)
    verdict = choose_models(spec, inspection)
    if not isinstance(verdict, Chosen):
        message = f"The server at {endpoint.url} {_sentence(verdict.reason)}"
        raise ServerUnreachable(message, param="models", retry_after_seconds=RETRY_AFTER_SECONDS)
    return Examined(
        models=verdict.models,
        engine=inspection.engine,
        check=CheckRecord(now, ok=True, latency_ms=inspection.latency_ms),
        health=advance(HealthState(), event_from(replace(inspection, reason="")), now, Thresholds()),
        version=inspection.version,
    )


def revised(
    record: ServerRecord,
    *,
    spec: ServerSpec,
    endpoint: Endpoint,
    examined: Examined | None,
    key_given: bool,
    now: datetime,
) -> ServerRecord:
    """Return the record as the description has it; holds and trust stay, models unless they were examined."""
    return replace(
        record,
        endpoint=endpoint,
        models=examined.models if examined else record.models,
        engine=examined.engine if examined else record.engine,
        api_key=spec.api_key if key_given else record.api_key,
        key_unreadable=record.key_unreadable and not key_given,
        discovers_models=spec.models is None,
        max_concurrency=spec.max_concurrency,
        priority=spec.priority,
        weight=spec.weight,
        share=spec.share,
        hours=spec.hours,
        capabilities=spec.capabilities,
        metadata=spec.metadata,
        updated_at=now,
    )


def _advice(inspection: Inspection) -> str:
    """Say what to do; nothing where the reason does already, as those of TLS do after a semicolon."""
    if inspection.failure is None or (inspection.failure is CheckFailure.TLS and "; " in inspection.reason):
        return ""
    return ADVICE.get(inspection.failure, "")


def _sentence(reason: str) -> str:
    """End a reason as a sentence ends."""
    return reason if reason.endswith((".", "!", "?", "]")) else f"{reason}."
