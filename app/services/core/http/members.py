"""Does a body say the same to every reader? Members whose names differ in case alone mean one thing to some engines.

Servers that are written in Go read a member ``Model`` or ``TOOLS`` as ``model`` and ``tools``; others see a member that
they do not know. What the gateway has judged by one name must not come in again by another: where a key is bound to
models, or servers are not all trusted alike, such bodies are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.errors import RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["offers_tools", "plain_members"]

_JUDGED: Final = frozenset(
    ("model", "tools", "functions", "n", "stream", "max_tokens", "max_completion_tokens", "chat_template_kwargs")
)
_NO_TOOLS: Final = (b"", b"null", b"[]", b"{}")
_ABSENT: Final = msgspec.Raw(b"")
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def plain_members(body: bytes) -> Mapping[str, msgspec.Raw]:
    """Read the members of a body that is known to be a JSON object.

    Raises:
        RequestInvalid: one is named almost like one that decides where the request may go.
    """
    members = _decode(body)
    for name in members:
        if name not in _JUDGED and name.casefold() in _JUDGED:
            message = (
                f"The body has a member {name[:64]!r}, which some servers read as '{name.casefold()}'. Leave it out."
            )
            raise RequestInvalid(message, param=name[:64], code="ambiguous_member")
    return members


def offers_tools(members: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a model may call tools in its answer: whatever stands there counts, but nothing and an empty list.

    Some engines also take tools among the arguments of a chat template.
    """
    for name in ("tools", "functions"):
        if bytes(members.get(name, _ABSENT)) not in _NO_TOOLS:
            return True
    return b"tools" in bytes(members.get("chat_template_kwargs", _ABSENT))
