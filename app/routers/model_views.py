"""What goes out of a server's models? How each stands, how it takes over, and whether it does what it says."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from app.services.core.continuation.ability import Rung
from app.services.core.verification.findings import Subject, Verdict
from app.services.registry.records import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.routers.deps import Gateway
    from app.services.core.verification.findings import VerificationFinding
    from app.services.registry.records import ServerRecord

__all__ = ["ContinuationView", "ModelView", "VerificationView", "View", "model_views"]


class View(BaseModel):
    """An answer. Its fields are all there, always."""

    model_config = ConfigDict(protected_namespaces=(), json_schema_serialization_defaults_required=True)


class ContinuationView(View):
    """How a model goes on with an answer that broke off elsewhere: found by trying."""

    chat: Rung = Field(description="How chats go on; `none` if they can't.", examples=["continue_final_message"])
    text: Rung = Field(description="How `/v1/completions` go on; `none` if they can't.", examples=["completions"])
    reason: str = Field(description="Why it can't, or why it is not known yet; empty where all is well.", examples=[""])
    thinking_off: bool = Field(description="Whether chats go on only with the model's thinking turned off.")
    trims: bool = Field(description="Whether white space at the end of what was said so far is lost there.")
    version: str = Field(description="Of the engine that was tried; empty if it tells none.", examples=["b7531"])
    probed_at: datetime | None = Field(description="When it was tried; null if no try has come to a verdict yet.")


class VerificationView(View):
    """What was found of one claim. It changes nothing but what is shown."""

    subject: Subject = Field(description="Which claim.", examples=["context"])
    verdict: Verdict = Field(examples=["ok"])
    detail: str = Field(description="In words; empty where the figure says it all.", examples=["4096 tokens"])
    measured: float | None = Field(
        description="`context`: tokens, `speed`: tokens a second, `first_token`: ms, `canary`: likeness to the nearest "
        "other server of the model, 0 to 1; null where there is no figure.",
        examples=[4096],
    )
    found_at: datetime


class ModelView(View):
    """One model of a server."""

    name: str = Field(description="What users ask for.", examples=["llama-3-8b"])
    upstream_name: str = Field(description="What the server calls it.", examples=["meta-llama/Llama-3.1-8B-Instruct"])
    context_length: int | None = Field(
        description="In tokens, as listed or registered; null if neither server nor owner told.", examples=[8192]
    )
    context_in_effect: int | None = Field(
        description="In tokens, as the engine runs the model now: a prompt has to fit this one. Null if it does not "
        "tell, or has the model not in memory; `context_length` counts then.",
        examples=[8192],
    )
    loaded: bool | None = Field(description="Whether it is in memory now; null if the engine does not tell.")
    capabilities: list[str] = Field(
        description="What the model can do, as far as the engine tells.", examples=[["chat", "tools"]]
    )
    listed: bool = Field(description="Whether the server's last list had it.")
    continuation: ContinuationView = Field(description="How it takes over answers that broke off elsewhere.")
    verification: list[VerificationView] = Field(description="Whether it does what it says; empty until it was asked.")


def model_views(gateway: Gateway, record: ServerRecord, *, known: bool) -> list[ModelView]:
    """Say how a server's models stand."""
    signals, contexts = gateway.said.signals(record.id), gateway.said.facts(record.id).contexts
    loaded = signals.loaded
    findings, missing = gateway.registry.findings(record.id), gateway.book.state(record.id).missing_models
    verified = gateway.verifications.of(record.id)
    return [
        ModelView(
            name=model.name,
            upstream_name=model.upstream_name,
            context_length=model.context_length,
            context_in_effect=contexts.get(model.upstream_name)
            if loaded is None or model.upstream_name in loaded
            else None,
            loaded=None if loaded is None else model.upstream_name in loaded,
            capabilities=sorted(signals.capabilities.get(model.upstream_name, ())),
            listed=model.upstream_name not in missing,
            continuation=_continuation(findings.get(model.upstream_name, Finding()), known=known),
            verification=_verification(verified.get(model.upstream_name, ()), known=known),
        )
        for model in record.models
    ]


def _continuation(finding: Finding, *, known: bool) -> ContinuationView:
    """Say how a model goes on; the reason, which quotes the server, only to those that ``known`` lets read it."""
    ability = finding.ability
    return ContinuationView(
        chat=ability.chat,
        text=ability.text,
        reason=ability.reason if known else "",
        thinking_off=ability.thinking_off,
        trims=ability.trims,
        version=ability.version,
        probed_at=finding.probed_at,
    )


def _verification(findings: Iterable[VerificationFinding], *, known: bool) -> list[VerificationView]:
    """Say what was found of a model's claims; the words, which quote the server and name others, not to strangers."""
    return [
        VerificationView(
            subject=finding.subject,
            verdict=finding.verdict,
            detail=finding.detail if known else "",
            measured=finding.measured,
            found_at=finding.found_at,
        )
        for finding in findings
    ]
