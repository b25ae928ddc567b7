"""What goes out of keys, groups and limits? A key itself is in two of these answers, the once that it is made."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from app.routers.model_views import View
from app.services.core.people.principal import Limits, Role, Trust
from app.services.registry.people.records import KeyState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.services.registry.people.keys import Keys
    from app.services.registry.people.listing import KeyPage
    from app.services.registry.people.records import GroupRecord, KeyRecord

__all__ = [
    "GroupList",
    "GroupView",
    "KeyList",
    "KeyView",
    "LimitsView",
    "MadeKey",
    "ModelLimitsList",
    "ModelLimitsView",
    "group_view",
    "key_list",
    "key_view",
    "made_key",
    "model_limits_view",
]

EXAMPLE_ID: Final = "7d0f1c6e-2b8a-4f0e-9c55-0f4b1f1f6a01"
EXAMPLE_KEY: Final = "mvk_0000000000000000000000000000000aBcDe"
_VIEWS_AT_ONCE: Final = 100
"""So many keys are shown in some 4 ms."""


class LimitsView(View):
    """How much may be used; null is without limit."""

    requests_per_minute: int | None = Field(examples=[60])
    tokens_per_minute: int | None = Field(examples=[None])
    tokens_per_day: int | None = Field(examples=[200_000])
    tokens_per_month: int | None = Field(examples=[None])
    concurrency: int | None = Field(examples=[None])


class SecretView(View):
    """What may be shown of a secret that opens a key."""

    shown: str = Field(examples=["mvk_...wxyz"])
    created_at: datetime
    expires_at: datetime | None = Field(description="Set once a newer one has taken its place.")


class KeyView(View):
    """A key without its secrets. Its group and the key that minted it may narrow what it may do."""

    id: str = Field(examples=[EXAMPLE_ID])
    name: str = Field(examples=["ada's notebook"])
    role: Role
    state: KeyState = Field(description="`unclaimed`: its person was invited and has not fetched it yet.")
    group: str | None = Field(description="The name of its group.", examples=["physics-101"])
    group_id: str | None
    person: str | None = Field(description="Whose use counts together; null: the key's alone.")
    secrets: list[SecretView] = Field(description="Those that open it now; two while it is being rotated.")
    models: list[str] | None = Field(description="The only models that it may ask for; null: all.")
    routes: list[str] | None = Field(description="The only paths that it may call; null: all that its role may.")
    reach: Trust
    tools_anywhere: bool
    names_people: bool
    background: bool
    weight: float
    limits: LimitsView
    model_limits: dict[str, LimitsView]
    expires_at: datetime | None
    minted_by: str | None = Field(description="The id of the key that made it.", examples=["admin"])
    created_at: datetime
    updated_at: datetime
    revoked_at: datetime | None


class MadeKey(KeyView):
    """A key that was just made or rotated, with its secret: shown this once and never again."""

    key: str = Field(description="Keep it: it is not stored and cannot be shown again.", examples=[EXAMPLE_KEY])


class KeyList(View):
    """A page of keys, oldest first."""

    keys: list[KeyView]
    total: int = Field(description="How many there are on all pages.", examples=[1])
    next_after: str | None = Field(description="Give it as `after` for the next page; null: this is the last one.")


class GroupView(View):
    """A group of keys. Its bounds narrow each of them."""

    id: str = Field(examples=[EXAMPLE_ID])
    name: str = Field(examples=["physics-101"])
    description: str
    models: list[str] | None
    reach: Trust
    weight: float
    limits: LimitsView = Field(description="Of all of its keys together.")
    person_limits: LimitsView = Field(description="Of each person in it.")
    model_limits: dict[str, LimitsView]
    created_at: datetime
    updated_at: datetime


class GroupList(View):
    """Groups, sorted by name."""

    groups: list[GroupView]
    total: int = Field(examples=[1])


class ModelLimitsView(View):
    """Limits of one model, for all who ask for it together."""

    name: str = Field(examples=["llama-3-8b"])
    limits: LimitsView


class ModelLimitsList(View):
    """The models that have limits, sorted by name."""

    model_limits: list[ModelLimitsView]


def limits_view(limits: Limits) -> LimitsView:
    """Show limits."""
    return LimitsView(
        requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
        tokens_per_day=limits.tokens_per_day,
        tokens_per_month=limits.tokens_per_month,
        concurrency=limits.concurrency,
    )


def key_view(keys: Keys, record: KeyRecord) -> KeyView:
    """Show a key."""
    return KeyView(**_shown(keys, record))


async def key_list(keys: Keys, page: KeyPage) -> KeyList:
    """Show a page of keys; where it is long, others get a turn in between."""
    views: list[KeyView] = []
    for start in range(0, len(page.keys), _VIEWS_AT_ONCE):
        views += [key_view(keys, record) for record in page.keys[start : start + _VIEWS_AT_ONCE]]
        await asyncio.sleep(0)
    return KeyList(keys=views, total=page.total, next_after=page.next_after)


def made_key(keys: Keys, record: KeyRecord, secret: str) -> MadeKey:
    """Show a key with its new secret, this once."""
    return MadeKey(**_shown(keys, record), key=secret)


def group_view(record: GroupRecord) -> GroupView:
    """Show a group."""
    return GroupView(
        id=record.id,
        name=record.name,
        description=record.description,
        models=_sorted(record.models),
        reach=record.reach,
        weight=record.weight,
        limits=limits_view(record.limits),
        person_limits=limits_view(record.person_limits),
        model_limits=_by_model(record.model_limits),
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def model_limits_view(name: str, limits: Limits) -> ModelLimitsView:
    """Show the limits of a model."""
    return ModelLimitsView(name=name, limits=limits_view(limits))


def _shown(keys: Keys, record: KeyRecord) -> dict[str, Any]:
    group = keys.groups.get(record.group_id) if record.group_id else None
    opening = keys.ring.principals
    return {
        "id": record.id,
        "name": record.name,
        "role": record.role,
        "state": keys.state(record),
        "group": group.name if group else None,
        "group_id": record.group_id,
        "person": record.person,
        "secrets": [
            SecretView(shown=secret.shown, created_at=secret.created_at, expires_at=secret.expires_at)
            for secret in record.secrets
            if secret.digest in opening
        ],
        "models": _sorted(record.models),
        "routes": _sorted(record.routes),
        "reach": record.reach,
        "tools_anywhere": record.tools_anywhere,
        "names_people": record.names_people,
        "background": record.background,
        "weight": record.weight,
        "limits": limits_view(record.limits),
        "model_limits": _by_model(record.model_limits),
        "expires_at": record.expires_at,
        "minted_by": record.minted_by,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "revoked_at": record.revoked_at,
    }


def _sorted(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def _by_model(limits: Mapping[str, Limits]) -> dict[str, LimitsView]:
    return {name: limits_view(one) for name, one in sorted(limits.items())}
