"""What comes of it when somebody makes, changes or removes a group, or limits a model? Pure, as with keys."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from app.services.core.errors import Conflict, FieldsInvalid, NotAllowed, NotFound
from app.services.registry.accounting.audit_entry import entry
from app.services.registry.people.book import MAX_GROUPS
from app.services.registry.people.forms import checked_group, checked_limits, checked_model_name
from app.services.registry.people.records import GroupRecord
from app.services.registry.people.rules import refuse_looser_group, require_all_groups, require_group
from app.services.registry.people.shown import differences, shown_group, shown_limits
from app.services.registry.people.store import PeopleChange

if TYPE_CHECKING:
    from datetime import datetime

    from app.services.core.people.principal import Limits
    from app.services.registry.people.book import PeopleBook
    from app.services.registry.people.records import GroupChange, GroupSpec
    from app.services.registry.people.rules import Actor

__all__ = ["MAX_LIMITED_MODELS", "alter_group", "drop_limits", "limit_model", "make_group", "remove_group"]

MAX_LIMITED_MODELS: Final = 1000


def make_group(
    book: PeopleBook, actor: Actor, spec: GroupSpec, group_id: str, now: datetime
) -> tuple[PeopleChange, GroupRecord]:
    """Make a group.

    Raises:
        NotAllowed: not an admin of all groups, or one that is bounded asks for a larger weight than its own.
        FieldsInvalid: it is not well-formed.
        Conflict: its name is taken, or there are too many.
    """
    require_all_groups(actor)
    if len(book.groups) >= MAX_GROUPS:
        raise Conflict(f"There are {MAX_GROUPS} groups already, which is the most. Remove one first.")
    given: dict[str, Any] = {part.name: getattr(spec, part.name) for part in fields(spec)}
    group = checked_group(GroupRecord(id=group_id, created_at=now, updated_at=now, **given))
    _refuse_taken(book, group)
    refuse_looser_group(actor, group, None)
    line = entry(actor.principal, now, "group.created", "group", group.id, group.name, after=shown_group(group))
    return PeopleChange(groups=(group,), entries=(line,)), group


def alter_group(
    book: PeopleBook, actor: Actor, group_id: str, change: GroupChange, now: datetime
) -> tuple[PeopleChange, GroupRecord]:
    """Change a group: what its keys may do follows at once.

    Raises:
        NotAllowed, NotFound: it is not for who asks to change, or not so.
        FieldsInvalid, Conflict: as with ``make_group``.
    """
    before = require_group(actor, book.groups.get(group_id))
    given: dict[str, Any] = {
        part.name: value for part in fields(change) if (value := getattr(change, part.name)) is not UNSET
    }
    after = checked_group(replace(before, **given))
    _refuse_taken(book, after)
    refuse_looser_group(actor, after, before)
    was, becomes = differences(shown_group(before), shown_group(after))
    if not becomes:
        return PeopleChange(), before
    after = replace(after, updated_at=now)
    line = entry(actor.principal, now, "group.changed", "group", after.id, after.name, before=was, after=becomes)
    return PeopleChange(groups=(after,), entries=(line,)), after


def remove_group(book: PeopleBook, actor: Actor, group_id: str, now: datetime) -> PeopleChange:
    """Remove a group that no key is in; revoked ones leave it.

    Raises:
        NotAllowed, NotFound: it is not for who asks to remove.
        Conflict: keys are in it.
    """
    require_group(actor, book.groups.get(group_id))
    require_all_groups(actor)
    group = book.groups[group_id]
    members = list(book.keys_in(group_id))
    left = sum(key.revoked_at is None for key in members)
    if left:
        noun = "key is" if left == 1 else "keys are"
        raise Conflict(f"{left} {noun} in {group.name}. Revoke them or move them to another group first.")
    line = entry(actor.principal, now, "group.removed", "group", group.id, group.name, before=shown_group(group))
    out = tuple(replace(key, group_id=None) for key in members)
    return PeopleChange(changed=out, groups_gone=(group_id,), entries=(line,))


def limit_model(book: PeopleBook, actor: Actor, name: str, limits: Limits, now: datetime) -> PeopleChange:
    """Limit a model for everybody together, in place of the limits that it had.

    Raises:
        NotAllowed: not an admin of all groups, or not one that may ask for this model.
        FieldsInvalid: the name or the limits are not well-formed, or limit nothing.
        Conflict: too many models are limited.
    """
    _refuse_other_model(actor, name)
    checked_model_name(name, "model")
    if not checked_limits(limits, "limits"):
        raise FieldsInvalid("These limits limit nothing. Set one, or DELETE the model's limits.", param="limits")
    before = book.model_limits.get(name)
    if before == limits:
        return PeopleChange()
    if before is None and len(book.model_limits) >= MAX_LIMITED_MODELS:
        raise Conflict(f"{MAX_LIMITED_MODELS} models have limits already, which is the most. Drop some first.")
    was = None if before is None else shown_limits(before)
    line = entry(
        actor.principal, now, "model_limits.set", "model_limits", name, name, before=was, after=shown_limits(limits)
    )
    return PeopleChange(model_limits={name: limits}, entries=(line,))


def drop_limits(book: PeopleBook, actor: Actor, name: str, now: datetime) -> PeopleChange:
    """Limit a model no more.

    Raises:
        NotAllowed: not an admin of all groups, or not one that may ask for this model.
        NotFound: it has no limits.
    """
    _refuse_other_model(actor, name)
    before = book.model_limits.get(name)
    if before is None:
        raise NotFound("This model has no limits for everybody. GET /admin/model-limits lists those that have.")
    line = entry(actor.principal, now, "model_limits.dropped", "model_limits", name, name, before=shown_limits(before))
    return PeopleChange(model_limits={name: None}, entries=(line,))


def _refuse_other_model(actor: Actor, name: str) -> None:
    require_all_groups(actor)
    if actor.scope.models is not None and name not in actor.scope.models:
        message = "Your key may not ask for this model, so neither for its limits. Ask an admin whose key may."
        raise NotAllowed(message, param="model")


def _refuse_taken(book: PeopleBook, group: GroupRecord) -> None:
    other = book.group_named(group.name)
    if other is not None and other.id != group.id:
        message = f"There is a group called {group.name} already. Change that with PATCH, or choose another name."
        raise Conflict(message, param="name")
