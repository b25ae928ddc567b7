"""Which groups are there, and how much may everybody together use of a model? The use cases."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from app.services.core.errors import NotFound
from app.services.registry.people import group_decisions
from app.services.registry.people.rules import NO_SUCH_GROUP, require_keeper, sees_group
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.services.core.people.principal import Limits, Principal
    from app.services.registry.people.records import GroupChange, GroupRecord, GroupSpec
    from app.services.registry.people.register import PeopleRegister

__all__ = ["Groups"]

logger = get_logger(__name__)


class Groups:
    """Groups of keys, and limits of models. Args: register: where both are kept."""

    def __init__(self, register: PeopleRegister) -> None:
        self._register = register

    @property
    def groups(self) -> Mapping[str, GroupRecord]:
        """All groups by id."""
        return self._register.book.groups

    @property
    def model_limits(self) -> Mapping[str, Limits]:
        """The limits of models for everybody together, by name."""
        return self._register.book.model_limits

    def list_groups(self, principal: Principal) -> list[GroupRecord]:
        """The groups that one may see, by name.

        Raises:
            NotAllowed: a user's key asks.
        """
        actor = self._register.actor(principal)
        require_keeper(actor)
        return sorted((group for group in self.groups.values() if sees_group(actor, group)), key=lambda one: one.name)

    def get_group(self, principal: Principal, group_id: str) -> GroupRecord:
        """Return one group.

        Raises:
            NotAllowed: a user's key asks.
            NotFound: there is none that one may see.
        """
        actor = self._register.actor(principal)
        require_keeper(actor)
        group = self.groups.get(group_id)
        if group is None or not sees_group(actor, group):
            raise NotFound(NO_SUCH_GROUP)
        return group

    async def create_group(self, principal: Principal, spec: GroupSpec) -> GroupRecord:
        """Make a group.

        Raises:
            NotAllowed, FieldsInvalid, StorageUnavailable: nothing changed.
            Conflict: there is one of this name, or there are too many.
        """
        register, group_id = self._register, str(uuid4())
        group = await register.carry(
            lambda now: group_decisions.make_group(register.book, register.actor(principal), spec, group_id, now)
        )
        logger.info("A group was created", group_id=group_id)
        return group

    async def change_group(self, principal: Principal, group_id: str, change: GroupChange) -> GroupRecord:
        """Change a group; its keys follow at once. Raises as ``create_group`` does, and NotFound."""
        register = self._register
        group = await register.carry(
            lambda now: group_decisions.alter_group(register.book, register.actor(principal), group_id, change, now)
        )
        logger.info("A group was changed", group_id=group_id)
        return group

    async def remove_group(self, principal: Principal, group_id: str) -> None:
        """Remove a group that is empty but for revoked keys.

        Raises:
            NotAllowed, NotFound, StorageUnavailable: nothing changed.
            Conflict: keys are in it.
        """
        register = self._register
        await register.carry(
            lambda now: (group_decisions.remove_group(register.book, register.actor(principal), group_id, now), None)
        )
        logger.info("A group was removed", group_id=group_id)

    async def set_model_limits(self, principal: Principal, name: str, limits: Limits) -> None:
        """Limit a model for everybody together, in place of the limits that it had.

        Raises:
            NotAllowed: not an admin of all groups.
            FieldsInvalid, Conflict, StorageUnavailable: nothing changed.
        """
        register = self._register
        await register.carry(
            lambda now: (group_decisions.limit_model(register.book, register.actor(principal), name, limits, now), None)
        )
        logger.info("A model was limited", model=name)

    async def drop_model_limits(self, principal: Principal, name: str) -> None:
        """Limit a model no more. Raises as ``set_model_limits`` does, and NotFound where it has no limits."""
        register = self._register
        await register.carry(
            lambda now: (group_decisions.drop_limits(register.book, register.actor(principal), name, now), None)
        )
        logger.info("A model is limited no more", model=name)
