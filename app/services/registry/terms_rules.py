"""What do people's changes of a server do to its approval and its trust? Pure: records in, records and words out.

The operator trusts, and approves, a server as it was seen. When its owner points it elsewhere, or another engine is
found there, that word does not count for what is there now.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from app.services.core.errors import FieldsInvalid
from app.services.core.people.principal import Trust
from app.services.registry.records import Hold

if TYPE_CHECKING:
    from app.services.registry.records import ServerRecord

__all__ = ["AWAITS_APPROVAL", "OWNERS_MOST_WEIGHT", "change_in_words", "judged", "refuse_empty_group", "refuse_rank"]

AWAITS_APPROVAL: Final = Hold(active=True, reason="waits for the operator's approval")
OWNERS_MOST_WEIGHT: Final = 10.0
_UNKNOWN: Final = "unknown"


def judged(
    before: ServerRecord, after: ServerRecord, *, by_operator: bool = False, needs_approval: bool = False
) -> ServerRecord:
    """Return a changed server with what is left of the operator's word.

    Args:
        before: the server as it was.
        after: as it is to be.
        by_operator: whether an admin key asks for it: then the word is given anew.
        needs_approval: whether what owners register is to be approved.
    """
    if by_operator:
        return after
    moved = after.endpoint != before.endpoint
    swapped = before.engine not in {after.engine, _UNKNOWN}
    if (moved or swapped) and after.trust is Trust.TRUSTED:
        after = replace(after, trust=None)
    return replace(after, pending=AWAITS_APPROVAL) if moved and needs_approval else after


def change_in_words(before: ServerRecord, after: ServerRecord) -> str:
    """Say what a change did beyond what was asked for; empty where it did nothing."""
    words = []
    if before.trust is Trust.TRUSTED and after.trust is None:
        what = "endpoint" if after.endpoint != before.endpoint else "engine"
        words.append(
            f"The operator's trust was for another {what}: it counts no more until the operator gives it anew."
        )
    if after.pending.active and not before.pending.active:
        words.append("It takes no requests until the operator approves it.")
    return " ".join(words)


def refuse_empty_group(share: str, group: str | None) -> None:
    """Let nobody lend a server to a group that is none.

    Args:
        share: who may use the server.
        group: the id of its owner's group.

    Raises:
        FieldsInvalid: it would be lent to nobody but its owner.
    """
    if share == "group" and group is None:
        message = (
            "The key that registers it belongs to no group, so share=group would let nobody else use the server. "
            "Choose everyone or me, or ask the operator to put the key into a group."
        )
        raise FieldsInvalid(message, param="share")


def refuse_rank(priority: int, weight: float, *, was: tuple[int, float] = (0, 1.0)) -> None:
    """Let no owner draw everybody's requests to a server of his own.

    Args:
        priority: as an owner asks for it: at most 0, which is everybody's.
        weight: likewise.
        was: both as they are, which may stay: the operator may have given more.

    Raises:
        FieldsInvalid: one is more than an owner may give, and more than it was.
    """
    if priority > max(was[0], 0):
        message = "Only the operator may prefer a server: give a priority of 0 or less, or ask an admin to raise it."
        raise FieldsInvalid(message, param="priority")
    if weight > max(was[1], OWNERS_MOST_WEIGHT):
        message = f"An owner may give a weight of at most {OWNERS_MOST_WEIGHT:g}. Ask an admin for more."
        raise FieldsInvalid(message, param="weight")
