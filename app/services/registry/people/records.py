"""What does the gateway keep of keys and groups, and what may be said of them when they are made or changed?"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from app.services.core.people.principal import NO_LIMITS, Limits, Role, Trust

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = [
    "GroupChange",
    "GroupRecord",
    "GroupSpec",
    "Invite",
    "KeyChange",
    "KeyRecord",
    "KeySpec",
    "KeyState",
    "SecretRecord",
]


class KeyState(StrEnum):
    """What a key is good for at a moment."""

    ACTIVE = "active"
    """It opens the gateway."""
    UNCLAIMED = "unclaimed"
    """Its person was invited and has not fetched it yet: there is no secret."""
    EXPIRED = "expired"
    """Its end has passed; a later ``expires_at`` brings it back."""
    REVOKED = "revoked"
    """It was ended for good."""


@dataclass(frozen=True, slots=True)
class SecretRecord:
    """One of the secrets that open a key; what is kept of it.

    Attributes:
        digest: SHA-256 of the secret, 32 bytes.
        shown: what may be shown of it: ``mvk_...wxyz``.
        created_at: when it was made.
        expires_at: until when it opens the key: set once another has taken its place; None: as long as the key lives.
    """

    digest: bytes = field(repr=False)
    shown: str
    created_at: datetime
    expires_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether it opens its key, if that is good."""
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True)
class Invite:
    """What is kept of an invite: the SHA-256 of its token, and its end."""

    digest: bytes = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it is stored; all of its instants are aware. ``secrets`` are sorted, the newest last.

    What ``models``, ``routes``, ``reach``, ``weight`` and the limits say is the key's own: its group may narrow it, and
    the key that minted it. ``Principal`` says what comes of that.
    """

    id: str
    name: str
    role: Role
    created_at: datetime
    updated_at: datetime
    group_id: str | None = None
    person: str | None = None
    minted_by: str | None = None
    models: frozenset[str] | None = None
    routes: frozenset[str] | None = None
    reach: Trust = Trust.PUBLIC
    tools_anywhere: bool = False
    names_people: bool = False
    background: bool = False
    weight: float = 1.0
    limits: Limits = NO_LIMITS
    model_limits: Mapping[str, Limits] = field(default_factory=dict)
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    secrets: tuple[SecretRecord, ...] = ()

    def state(self, now: datetime) -> KeyState:
        """What it is good for, taken by itself: the key that minted it may have ended and taken it along."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return KeyState.EXPIRED
        if not self.secrets:
            return KeyState.UNCLAIMED
        return KeyState.ACTIVE if any(secret.is_live(now) for secret in self.secrets) else KeyState.EXPIRED


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """Keys that belong together: a class, a lab. Its bounds narrow each of its keys.

    Attributes:
        id: what keys refer to.
        name: what people call it; no two groups have one name.
        description: for people.
        models: the only names that its keys may ask for; None: all.
        reach: how far the requests of its keys may go at most.
        weight: what the weights of its keys are multiplied by.
        limits: of all of its keys together.
        person_limits: of each person in it.
        model_limits: of all of its keys together, by model.
        created_at: when.
        updated_at: when it was last changed.
    """

    id: str
    name: str
    created_at: datetime
    updated_at: datetime
    description: str = ""
    models: frozenset[str] | None = None
    reach: Trust = Trust.PUBLIC
    weight: float = 1.0
    limits: Limits = NO_LIMITS
    person_limits: Limits = NO_LIMITS
    model_limits: Mapping[str, Limits] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeySpec:
    """A key as it is asked for; attributes as with ``KeyRecord``. What is left out is as with the key that mints it.

    An explicit None means "all", or "never", as there, and is refused where the minting key is bounded.
    """

    name: str
    role: Role = Role.USER
    group_id: str | UnsetType | None = UNSET
    person: str | UnsetType | None = UNSET
    models: frozenset[str] | UnsetType | None = UNSET
    routes: frozenset[str] | UnsetType | None = UNSET
    reach: Trust | UnsetType = UNSET
    tools_anywhere: bool = False
    names_people: bool = False
    background: bool | UnsetType = UNSET
    weight: float | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    model_limits: Mapping[str, Limits] | UnsetType = UNSET
    expires_at: datetime | UnsetType | None = UNSET


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What is to change of a key: the fields that are set."""

    name: str | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    group_id: str | UnsetType | None = UNSET
    person: str | UnsetType | None = UNSET
    models: frozenset[str] | UnsetType | None = UNSET
    routes: frozenset[str] | UnsetType | None = UNSET
    reach: Trust | UnsetType = UNSET
    tools_anywhere: bool | UnsetType = UNSET
    names_people: bool | UnsetType = UNSET
    background: bool | UnsetType = UNSET
    weight: float | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    model_limits: Mapping[str, Limits] | UnsetType = UNSET
    expires_at: datetime | UnsetType | None = UNSET


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """A group as it is asked for."""

    name: str
    description: str = ""
    models: frozenset[str] | None = None
    reach: Trust = Trust.PUBLIC
    weight: float = 1.0
    limits: Limits = NO_LIMITS
    person_limits: Limits = NO_LIMITS
    model_limits: Mapping[str, Limits] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupChange:
    """What is to change of a group: the fields that are set."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    models: frozenset[str] | UnsetType | None = UNSET
    reach: Trust | UnsetType = UNSET
    weight: float | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    person_limits: Limits | UnsetType = UNSET
    model_limits: Mapping[str, Limits] | UnsetType = UNSET
