"""What does a client say of its request in headers: for whom is it, how far may it go, in which conversation?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from app.services.core.errors import RequestInvalid
from app.services.core.people.principal import Trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from app.services.core.people.principal import Principal

__all__ = ["named_person", "reach_of", "session_of"]

_SANE_SESSION = re.compile(rb"[\x21-\x7e]{1,256}")
_SANE_PERSON = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?")


def named_person(principal: Principal, noted: Mapping[bytes, bytes], user_headers: Iterable[bytes]) -> str:
    """Whom a front end asks for; empty where its key may not name anybody, or it does not say.

    Each front end's people are its own: nobody can draw on another's limits by giving their name.

    Args:
        principal: whose key it is.
        noted: headers by name in lower case.
        user_headers: those in which a user is named; the first that is there counts.
    """
    if principal.names_people:
        for header in user_headers:
            value = noted.get(header, b"").strip(b" \t")
            if value and _SANE_PERSON.fullmatch(value):
                return f"{principal.key_id}/{value.decode('ascii').lower()}"
    return ""


def reach_of(principal: Principal, asked: bytes | None) -> Trust:
    """How far a request may go: as far as its key, or less far where ``X-Gateway-Trust`` says so.

    Raises:
        RequestInvalid: it says something else.
    """
    if asked is None:
        return principal.reach
    try:
        return principal.reach.narrowed(Trust(asked.strip().lower().decode("ascii", "replace")))
    except ValueError:
        raise RequestInvalid("X-Gateway-Trust takes trusted, group or public.", param="X-Gateway-Trust") from None


def session_of(value: bytes) -> bytes:
    """Take a session's id if it is plain and short; others name none."""
    return value if value and _SANE_SESSION.fullmatch(value) else b""
