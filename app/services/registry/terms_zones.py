"""Which time zone does a name mean? Reads the machine's time zone files, so it belongs outside the event loop."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from app.services.core.errors import FieldsInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from app.services.core.people.hours import Hours

__all__ = ["MAX_ZONE_LENGTH", "in_its_zone", "known_zone", "zone_named"]

MAX_ZONE_LENGTH: Final = 64
_PARAM: Final = "hours.timezone"
_FORM: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
_NO_PLACES: Final = ("posix", "right", "localtime", "posixrules", "Factory", "leapseconds")
"""What lies beside the zones: other ways to count seconds, and whatever this machine is set to."""
_NEAR: Final = 0.55


def known_zone(name: str) -> tzinfo | None:
    """Return a zone by its name; None if this machine does not know it."""
    if name == "UTC":
        return UTC
    is_form = len(name) <= MAX_ZONE_LENGTH and _FORM.fullmatch(name) is not None
    if not is_form or name.partition("/")[0] in _NO_PLACES:
        return None
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None  # a folder, a file that is no zone, or nothing
    return zone


def zone_named(name: str) -> tzinfo:
    """Return a zone by its name.

    Raises:
        FieldsInvalid: there is none; the message names one that may be meant.
    """
    zone = known_zone(name)
    if zone is not None:
        return zone
    names = [known for known in available_timezones() if known.partition("/")[0] not in _NO_PLACES]
    if not names:
        message = "This machine knows no time zone but UTC. Use UTC, or ask the operator to install the package tzdata."
        raise FieldsInvalid(message, param=_PARAM)
    near = _near(name[:MAX_ZONE_LENGTH], names)
    meant = f"Did you mean {near}?" if near else "Write it as the IANA database does, such as Europe/Berlin or UTC."
    message = f"There is no such time zone. {meant}"
    raise FieldsInvalid(message, param=_PARAM)


async def in_its_zone(hours: Hours | None) -> Hours | None:
    """Return hours with the zone that they name, read outside the event loop.

    Raises:
        FieldsInvalid: there is no such zone.
    """
    if hours is None or hours.zone is not None:
        return hours
    return replace(hours, zone=await asyncio.to_thread(zone_named, hours.timezone))


def _near(name: str, names: Iterable[str]) -> str | None:
    """Find the zone that is most like a name: another case, its last part alone, or a misspelling."""
    wanted = name.strip().replace(" ", "_").lower()
    by_name = {known.lower(): known for known in sorted(names)}
    by_place = {lower.rpartition("/")[2]: known for lower, known in by_name.items() if "/" in lower}
    for table, text in ((by_name, wanted), (by_place, wanted), (by_place, wanted.rpartition("/")[2])):
        if text in table:
            return table[text]
    for table, text in ((by_name, wanted), (by_place, wanted.rpartition("/")[2])):
        found = get_close_matches(text, table, n=1, cutoff=_NEAR)
        if found:
            return table[found[0]]
    return None
