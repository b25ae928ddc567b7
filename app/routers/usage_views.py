"""How do use and the audit read?"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from app.routers.csv_answer import csv_answer
from app.routers.model_views import View
from app.services.core.limits.standing import Kind
from app.services.registry.accounting.usage_query import GroupBy, Side

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import Response

    from app.services.core.limits.standing import Standing
    from app.services.core.people.principal import Principal
    from app.services.registry.accounting.audit import AuditLine, AuditPage
    from app.services.registry.accounting.usage_query import (
        Contribution,
        OwnUse,
        Span,
        UsageLine,
        UsageReport,
        UsageSums,
    )

__all__ = [
    "AuditList",
    "ContributionList",
    "OwnUsage",
    "UsageTable",
    "audit_csv",
    "audit_list",
    "contribution_csv",
    "contribution_list",
    "own_usage",
    "usage_csv",
    "usage_table",
]

_PARTS: Final = ("served", "used", "group_used")


class SumsView(View):
    """What was used."""

    requests: int = Field(examples=[120])
    errors: int = Field(
        description="Requests that were answered with a status from 400 on, or broke. A client that left is none.",
        examples=[2],
    )
    prompt_tokens: int = Field(examples=[51200])
    completion_tokens: int = Field(examples=[20480])
    total_tokens: int = Field(examples=[71680])
    estimated_tokens: int = Field(description="Those of `total_tokens` that no server counted.", examples=[310])
    continuations: int = Field(description="How often a broken answer went on elsewhere.", examples=[1])
    seconds: float = Field(description="How long all requests took together.", examples=[361.4])


class Named(View):
    """Whose use it is."""

    id: str = Field(examples=["3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"])
    name: str = Field(
        description="What it is called; `(removed)` where that is not known any more, `(none)` for no group or no "
        "server reached, `(unknown)` for models that no server has, `(others)` for what was too much to tell apart.",
        examples=["alice"],
    )


class UsageRow(SumsView, Named):
    """What one key, model, server, owner, group, person, hour or day used."""


class UsageTable(View):
    """What was used, in rows: by time the oldest first, else those with the most tokens first."""

    group_by: GroupBy = Field(examples=["key"])
    side: Side | None = Field(description="Which side an owner's key sees; null for admins, who see all.")
    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to", description="What is from there on is left out.")
    rows: list[UsageRow]
    total: int = Field(description="How many rows there are in all.", examples=[1])
    totals: SumsView = Field(description="Of all rows, those on other pages too.")


class ModelUse(SumsView):
    """What a key used of one model."""

    model: str = Field(examples=["llama-3-8b"])


class LimitView(View):
    """One limit, and what is left of it."""

    subject: str = Field(description="Whose it is: `key`, `person`, `group` or `model`.", examples=["key"])
    model: str | None = Field(description="The only model that counts for it; null: all do.")
    name: Kind = Field(examples=["requests_per_minute"])
    limit: int = Field(examples=[60])
    used: int = Field(examples=[3])
    remaining: int = Field(examples=[57])
    resets_in_seconds: float = Field(description="When nothing of it will be used, if no more comes.", examples=[41.5])


class OwnUsage(View):
    """What the key itself used, and what is left."""

    key_id: str = Field(examples=["3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"])
    name: str = Field(examples=["alice"])
    today_since: datetime = Field(description="When today began, in UTC.")
    month_since: datetime = Field(description="When this month began, in UTC.")
    today: SumsView
    month: SumsView
    models: list[ModelUse] = Field(description="This month by model, those with the most tokens first.")
    limits: list[LimitView]


class ContributionView(View):
    """What an owner gave and took."""

    id: str = Field(examples=["3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"])
    name: str = Field(examples=["alice"])
    group: str = Field(
        description="The name of its group, its id if that is not known; empty where it has none.", examples=[""]
    )
    served: SumsView = Field(description="What its servers did for everybody.")
    used: SumsView = Field(description="What it and the keys that it made used.")
    group_used: SumsView | None = Field(description="What its whole group used; null where it has none.")
    balance_tokens: int = Field(description="Tokens served less tokens used.", examples=[51200])


class ContributionList(View):
    """What each owner gave and took, who served the most tokens first."""

    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to", description="What is from there on is left out.")
    rows: list[ContributionView]


class AuditView(View):
    """One change."""

    id: int = Field(description="A later change has a larger one.", examples=[42])
    at: datetime
    actor_id: str = Field(
        description="The key that made it; `gateway` for what it found by itself.", examples=["admin"]
    )
    actor_name: str = Field(examples=["operator"])
    client: str = Field(description="The address that it came from.", examples=["192.0.2.7"])
    request_id: str = Field(description="Of the request; it is in the log too.", examples=["9f3c0a"])
    action: str = Field(examples=["key.created"])
    kind: str = Field(description="What was changed.", examples=["key"])
    object_id: str = Field(examples=["3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"])
    name: str = Field(description="What that is called.", examples=["alice"])
    before: dict[str, Any] | None = Field(description="As it was, as far as it changed; null: it was not there.")
    after: dict[str, Any] | None = Field(description="As it is, as far as it changed; null: it is gone.")


class AuditList(View):
    """Changes, the newest first."""

    rows: list[AuditView]
    next_before: int | None = Field(description="Give it as `before` for the next page; null: this is the last one.")


def usage_table(report: UsageReport) -> UsageTable:
    """Show an answer."""
    return UsageTable(
        group_by=report.query.group_by,
        side=report.query.side,
        since=report.query.span.since,
        until=report.query.span.until,
        rows=[_usage_row(line) for line in report.lines],
        total=report.count,
        totals=SumsView(**_sums(report.totals)),
    )


def own_usage(principal: Principal, own: OwnUse) -> OwnUsage:
    """Show a key its own use."""
    return OwnUsage(
        key_id=principal.key_id,
        name=principal.name,
        today_since=own.day,
        month_since=own.month,
        today=SumsView(**_sums(own.today)),
        month=SumsView(**_sums(own.this_month)),
        models=[ModelUse(model=line.id, **_sums(line.sums)) for line in own.models],
        limits=[_limit_view(standing) for standing in own.limits],
    )


def contribution_list(span: Span, found: Iterable[Contribution]) -> ContributionList:
    """Show what owners gave and took."""
    rows = [
        ContributionView(
            id=one.owner,
            name=one.name,
            group=one.group,
            served=SumsView(**_sums(one.served)),
            used=SumsView(**_sums(one.used)),
            group_used=None if one.group_used is None else SumsView(**_sums(one.group_used)),
            balance_tokens=one.balance_tokens,
        )
        for one in found
    ]
    return ContributionList(since=span.since, until=span.until, rows=rows)


def audit_list(page: AuditPage) -> AuditList:
    """Show a page of the audit."""
    return AuditList(rows=[_audit_view(line) for line in page.lines], next_before=page.next_before)


def usage_csv(view: UsageTable) -> Response:
    """Show the rows alone."""
    return csv_answer(UsageRow.model_fields, [row.model_dump() for row in view.rows], "usage")


def contribution_csv(view: ContributionList) -> Response:
    """Show the rows alone, each figure of a part in a column of its own."""
    parts = {name: {part: f"{name}_{part}" for part in SumsView.model_fields} for name in _PARTS}
    columns = [
        column
        for name in ContributionView.model_fields
        for column in (parts[name].values() if name in parts else (name,))
    ]
    rows = []
    for row in view.rows:
        told = row.model_dump()
        for name, columns_of in parts.items():
            told |= {columns_of[part]: value for part, value in (told[name] or {}).items()}
        rows.append(told)
    return csv_answer(columns, rows, "contributions")


def audit_csv(view: AuditList) -> Response:
    """Show the rows alone."""
    return csv_answer(AuditView.model_fields, [row.model_dump() for row in view.rows], "audit")


def _usage_row(line: UsageLine) -> UsageRow:
    return UsageRow(id=line.id, name=line.name, **_sums(line.sums))


def _sums(sums: UsageSums) -> dict[str, Any]:
    told = {name: getattr(sums, name) for name in SumsView.model_fields}
    return told | {"seconds": round(sums.seconds, 3)}


def _limit_view(standing: Standing) -> LimitView:
    return LimitView(
        subject=standing.subject_kind,
        model=standing.model,
        name=standing.kind,
        limit=standing.limit,
        used=standing.used,
        remaining=standing.remaining,
        resets_in_seconds=round(standing.resets_in_seconds, 3),
    )


def _audit_view(line: AuditLine) -> AuditView:
    entry = line.entry
    return AuditView(
        id=line.id,
        at=entry.at,
        actor_id=entry.actor_id,
        actor_name=entry.actor_name,
        client=entry.client,
        request_id=entry.request_id,
        action=entry.action,
        kind=entry.object_kind,
        object_id=entry.object_id,
        name=entry.object_name,
        before=None if entry.before is None else dict(entry.before),
        after=None if entry.after is None else dict(entry.after),
    )
