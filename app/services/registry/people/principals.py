"""What may a key do, with all that narrows it? A stored key, its group and the key that minted it make a principal.

What counts together is in ``Principal.rules``; ``person_limits`` are apart, for whose they are shows with a request: a
front end's key (``names_people``) gives each person that it names its own limits. Where it names nobody they count for
the key's own person, which the data plane sees to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from app.services.core.people.principal import NO_LIMITS, LimitRule, Principal
from app.services.core.people.scope import Scope, common_names, common_routes, tighter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.services.core.people.principal import Limits
    from app.services.registry.people.records import GroupRecord, KeyRecord

__all__ = ["model_rule", "person_of", "principal_of", "scope_of"]

_OWN: Final = "your key"
_MINTER: Final = "the key that yours was made with"


def person_of(key: KeyRecord) -> str:
    """Whose use a key's counts as."""
    return key.person or f"key:{key.id}"


def scope_of(key: KeyRecord) -> Scope:
    """What a key may do by itself, for what it mints to be compared with."""
    return Scope(
        role=key.role,
        group=key.group_id,
        person=person_of(key),
        models=key.models,
        routes=key.routes,
        reach=key.reach,
        tools_anywhere=key.tools_anywhere,
        names_people=key.names_people,
        background=key.background,
        weight=key.weight,
        limits=key.limits,
        model_limits=key.model_limits,
        expires_at=None if key.expires_at is None else key.expires_at.timestamp(),
    )


def principal_of(key: KeyRecord, group: GroupRecord | None, minter: Principal | None) -> Principal:
    """Make what stands for a key on the way of a request.

    Args:
        key: as it is stored.
        group: its group.
        minter: the key that minted it, where that bounds it for good: an owner's.
    """
    names_people = key.names_people and (minter is None or minter.names_people)
    own = Principal(
        key_id=key.id,
        name=key.name,
        role=key.role,
        group=key.group_id,
        person=person_of(key),
        models=key.models if group is None else common_names(key.models, group.models),
        routes=key.routes,
        reach=key.reach if group is None else key.reach.narrowed(group.reach),
        tools_anywhere=key.tools_anywhere,
        names_people=names_people,
        background=key.background,
        weight=key.weight if group is None else key.weight * group.weight,
        rules=tuple(_rules(key, group, names_people=names_people)),
        person_limits=_person_limits(key, group) if names_people else NO_LIMITS,
        minted_by=key.minted_by,
        expires_at=None if key.expires_at is None else key.expires_at.timestamp(),
    )
    return own if minter is None else _bounded(own, minter)


def model_rule(name: str, limits: Limits) -> LimitRule:
    """The limits of a model for everybody together."""
    return LimitRule(f"model:{name}", limits, f"model {name}", model=name)


def _bounded(own: Principal, minter: Principal) -> Principal:
    """Let a key do no more than the one that minted it may do now, and draw on what that may use."""
    counted = {(rule.subject, rule.model) for rule in own.rules}
    drawn = tuple(rule for rule in _drawn(minter) if (rule.subject, rule.model) not in counted)
    return replace(
        own,
        models=common_names(own.models, minter.models),
        routes=common_routes(own.routes, minter.routes),
        reach=own.reach.narrowed(minter.reach),
        tools_anywhere=own.tools_anywhere and minter.tools_anywhere,
        background=own.background or minter.background,
        weight=min(own.weight, minter.weight),
        rules=own.rules + drawn,
        person_limits=tighter(own.person_limits, minter.person_limits) if own.names_people else NO_LIMITS,
        expires_at=min((end for end in (own.expires_at, minter.expires_at) if end is not None), default=None),
    )


def _rules(key: KeyRecord, group: GroupRecord | None, *, names_people: bool) -> Iterator[LimitRule]:
    """What every request of a key counts for by itself and in its group."""
    subject = f"key:{key.id}"
    if key.limits != NO_LIMITS and not names_people:
        yield LimitRule(subject, key.limits, _OWN)
    for model, limits in key.model_limits.items():
        yield LimitRule(subject, limits, _OWN, model)
    if group is None:
        return
    subject, words = f"group:{group.id}", f"your group {group.name}"
    if group.limits != NO_LIMITS:
        yield LimitRule(subject, group.limits, words)
    for model, limits in group.model_limits.items():
        yield LimitRule(subject, limits, words, model)
    if group.person_limits != NO_LIMITS and not names_people:
        # In each group a person counts apart: whoever keeps one group can't use up what somebody has in another.
        yield LimitRule(f"person:{group.id}/{person_of(key)}", group.person_limits, f"each person in {words}")


def _person_limits(key: KeyRecord, group: GroupRecord | None) -> Limits:
    """What each person that a front end's key names may use."""
    return key.limits if group is None else tighter(key.limits, group.person_limits)


def _drawn(minter: Principal) -> Iterator[LimitRule]:
    """What the use of a key counts for because of the key that minted it. What of that is a front end's is its own."""
    for rule in minter.rules:
        yield replace(rule, words=_MINTER) if rule.words == _OWN else rule
    if minter.person_limits:
        yield LimitRule(f"key:{minter.key_id}", minter.person_limits, _MINTER)
