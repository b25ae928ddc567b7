"""Who is asking, and what may they do? The frozen value that stands for a key on the way of a request."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Final

__all__ = ["NO_LIMITS", "LimitRule", "Limits", "Principal", "Role", "Trust"]


class Role(StrEnum):
    """What a key may do. An admin may do all that owners and users may; an owner all that users may."""

    ADMIN = "admin"
    OWNER = "owner"
    USER = "user"


class Trust(StrEnum):
    """How far a server is trusted, and how far a request may go.

    A request that goes as far as ``GROUP`` may be served by trusted servers and by those of its own group; one that
    goes as far as ``PUBLIC`` by all.
    """

    TRUSTED = "trusted"
    """The operator's own servers, and those that the operator approved as such."""
    GROUP = "group"
    """Trusted by the members of its owner's group."""
    PUBLIC = "public"
    """Anybody's."""

    @property
    def breadth(self) -> int:
        """How far it reaches, as a number: 0 for trusted, 2 for public."""
        return _BREADTHS[self]

    def narrowed(self, other: Trust) -> Trust:
        """The nearer of the two."""
        return self if self.breadth <= other.breadth else other


_BREADTHS: Final = {Trust.TRUSTED: 0, Trust.GROUP: 1, Trust.PUBLIC: 2}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be used; None is without limit. Days and months are calendar ones in UTC.

    ``requests_per_minute`` N means: at most N in any 60 seconds, and all N may come at once.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    concurrency: int | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, part.name) is not None for part in fields(self))

    def lies_within(self, other: Limits) -> bool:
        """Whether each of these is set wherever the other's is, and no larger."""
        return all(
            (wide := getattr(other, part.name)) is None
            or ((narrow := getattr(self, part.name)) is not None and narrow <= wide)
            for part in fields(self)
        )


NO_LIMITS: Final = Limits()
_MODELS: Final = "/v1/models/"
_OPEN_TO_ALL: Final = ("/v1/models", "/v1/usage")


@dataclass(frozen=True, slots=True)
class LimitRule:
    """Limits of one subject that a request counts for.

    Attributes:
        subject: whose they are, and what they are counted under: ``key:<id>``, ``person:<name>``, ``group:<id>`` or
            ``model:<name>``.
        limits: how much.
        words: how an error names the subject, such as "your key" or "your group physics-101".
        model: the only model that counts for it; None where every one does.
    """

    subject: str
    limits: Limits
    words: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking: what their key allows, never the key.

    Attributes:
        key_id: which key.
        name: what it is called.
        role: what it may do.
        group: the id of the group that it belongs to.
        person: whose use counts together: what fairness, usage and limits of people go by. ``key:<id>`` for a key that
            names nobody.
        models: the only names that it may ask for; None: all.
        routes: the only paths that it may call, with all below them; None: all that its role may.
        reach: how far its requests may go.
        tools_anywhere: whether its requests with tools may go as far as the others.
        names_people: whether it is a front end's, which says in a header whom it asks for.
        background: whether its requests yield to people's.
        weight: how large its person's share is beside others' when servers are full.
        rules: the limits that every request of it counts for.
        person_limits: those of each person that it names (``names_people``).
        minted_by: the id of the key that made it.
        expires_at: Unix seconds, None for never. The ring of keys leaves out what has expired.
    """

    key_id: str
    name: str
    role: Role
    group: str | None = None
    person: str = ""
    models: frozenset[str] | None = None
    routes: frozenset[str] | None = None
    reach: Trust = Trust.PUBLIC
    tools_anywhere: bool = False
    names_people: bool = False
    background: bool = False
    weight: float = 1.0
    rules: tuple[LimitRule, ...] = ()
    person_limits: Limits = NO_LIMITS
    minted_by: str | None = None
    expires_at: float | None = None
    is_plain: bool = field(init=False, repr=False, compare=False)
    """Whether it may ask for every model by every route, and counts for no limit of its own: most do."""

    def __post_init__(self) -> None:
        if not self.person:
            object.__setattr__(self, "person", f"key:{self.key_id}")
        is_plain = self.models is None and not (self.rules or self.person_limits)
        object.__setattr__(self, "is_plain", is_plain)

    def may_ask_for(self, model: str) -> bool:
        """Whether it may ask for a model by this name."""
        return self.models is None or model in self.models

    def may_call(self, path: str) -> bool:
        """Whether its scope lets it call a path; what its role may do is another question.

        Which models there are and what it used itself every key may ask: clients do so first.
        """
        routes = self.routes
        if routes is None or path in routes or path in _OPEN_TO_ALL or path.startswith(_MODELS):
            return True
        return any(path.startswith(f"{route.rstrip('/')}/") for route in routes)
