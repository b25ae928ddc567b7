"""What does one choice of an event say, taken apart into its members, and how does it look in a chat's form?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.continuation.members import is_bare, joined, members_in

if TYPE_CHECKING:
    from app.services.core.continuation.members import Members

__all__ = ["ABSENT", "as_chat", "ends_text", "is_first", "speaks"]

ABSENT: Final = msgspec.Raw(b"null")
_FIRST: Final = msgspec.Raw(b"0")
_CALLS: Final = ("tool_calls", "function_call")


def is_first(choice: Members) -> bool:
    """Whether it is the one that all answers have."""
    return bytes(choice.get("index", _FIRST)) in (b"0", b"null")


def ends_text(choice: Members, delta: Members) -> bool:
    """Whether no text follows it, or something else than text: it says why it ended, or bears a part of a call."""
    parts = [choice.get("finish_reason", ABSENT), *(delta.get(name, ABSENT) for name in _CALLS)]
    return not all(map(is_bare, parts))


def speaks(choice: Members) -> bool:
    """Whether it says anything: a role, a text, a call, why it ended, or what is not known here."""
    said = [value for name, value in choice.items() if name not in ("index", "delta")]
    said += (members_in(choice.get("delta", ABSENT)) or {}).values()
    return not all(map(is_bare, said))


def as_chat(choice: Members, *, with_role: bool) -> Members:
    """A completion's choice in a chat's form."""
    text = choice.get("text", ABSENT)
    delta: Members = {"role": msgspec.Raw(b'"assistant"')} if with_role else {}
    if not is_bare(text):
        delta["content"] = text
    others = {name: value for name, value in choice.items() if name not in ("index", "text")}
    return {"index": choice.get("index", _FIRST), "delta": joined(delta), **others}
