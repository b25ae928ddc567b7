"""How is a head judged whose caller is known already, as one who has signed in to the pages is?

As ever, for that principal: its scope, its limits and its use are those of its key. Credentials in the headers are not
looked at. The gateway's own comments in the stream bear a mark, since a page shows what they say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from app.services.dataplane.reception import Call, Reception

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.services.core.keys import Principal

__all__ = ["KnownCaller"]


class KnownCaller(Reception):
    """Judges the heads of one caller. Made for a request and dropped with it: it sees no later ring of keys.

    Args:
        reception: whose settings it takes over.
        principal: who calls.
    """

    __slots__ = ("_principal",)

    def __init__(self, reception: Reception, principal: Principal) -> None:  # its state is the other's, whole
        for name in Reception.__slots__:
            setattr(self, name, getattr(reception, name))
        self._principal = principal

    def _call(self, *asked: Any) -> Call:
        return structs.replace(super()._call(*asked), marks=True)

    def _authenticate(self, headers: Sequence[tuple[bytes, bytes]]) -> Principal:
        del headers
        return self._principal
