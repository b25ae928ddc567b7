"""On what terms is a server lent: to whom, how far trusted, at which hours? Pure: values in, values out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from typing import TYPE_CHECKING, Any, Final

from app.services.core.people.hours import Day, Hours, Window
from app.services.core.people.principal import Role, Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo

    from app.services.registry.records import ServerRecord

__all__ = ["MAX_WINDOWS", "OPERATOR_ALONE", "SHARES", "Owners", "hours_document", "hours_from", "trust_of"]

MAX_WINDOWS: Final = 28
"""Four a day."""
SHARES: Final = ("everyone", "group", "me")
OPERATORS_KEY: Final = "admin"
"""The id of ``ADMIN_API_KEY``, which is in no table."""


def _operator_alone(key_id: str) -> Role | None:
    return Role.ADMIN if key_id == OPERATORS_KEY else None


def _no_group(_key_id: str) -> str | None:
    return None


def _all_good(_key_id: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Owners:
    """What is known of the keys that registered servers.

    Attributes:
        role_of: the role of a key by its id, also after it was revoked; None for one that is not known.
        group_of: the id of its group; None for none.
        is_good: whether it opens the gateway now.
    """

    role_of: Callable[[str], Role | None] = _operator_alone
    group_of: Callable[[str], str | None] = _no_group
    is_good: Callable[[str], bool] = _all_good

    def group(self, key_id: str | None) -> str | None:
        """The id of a key's group; None where there is no such key, or no group of it."""
        return None if key_id is None else self.group_of(key_id)


OPERATOR_ALONE: Final = Owners()
"""There is no key but the operator's."""


def trust_of(record: ServerRecord, owners: Owners) -> Trust:
    """Say how far a server is trusted: as the operator said, else as its owner and who may use it imply.

    Servers of before there were owners are the operator's.
    """
    if record.trust is not None:
        return record.trust
    if record.owner is None or owners.role_of(record.owner) is Role.ADMIN:
        return Trust.TRUSTED
    return Trust.PUBLIC if record.share == "everyone" else Trust.GROUP


def hours_document(hours: Hours) -> dict[str, Any]:
    """Write hours as JSON has them, the way they are given and shown."""
    return {
        "timezone": hours.timezone,
        "windows": [
            {
                "days": [day.name.lower() for day in sorted(window.days)],
                "from": f"{window.opens:%H:%M}",
                "to": f"{window.closes:%H:%M}",
            }
            for window in hours.windows
        ],
    }


def hours_from(document: Mapping[str, Any], zone: tzinfo | None = None) -> Hours:
    """Read hours that ``hours_document`` wrote, or that have been found to be of that form.

    Args:
        document: the hours.
        zone: what they name; None where it is not known here, or not yet.

    Raises:
        KeyError, ValueError: they are not of that form.
    """
    windows = tuple(
        Window(
            frozenset(Day[str(day).upper()] for day in window["days"]),
            _time(window["from"]),
            _time(window["to"]),
        )
        for window in document["windows"]
    )
    return Hours(str(document["timezone"]), windows, zone)


def _time(text: str) -> time:
    """Read a time of day; 24:00 is the midnight at the end of the day."""
    return time() if text == "24:00" else time.fromisoformat(text)
