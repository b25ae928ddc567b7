"""What does a client hear whose key does not reach far enough, and what is to be done about it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.errors import NotAllowed
from app.services.core.people.principal import Trust

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["model_not_in_scope", "no_server_trusted", "route_not_in_scope"]

_NAMES_SHOWN: Final = 20
_GOES_TO: Final = {
    Trust.TRUSTED: "trusted servers only",
    Trust.GROUP: "trusted servers and those of its group only",
    Trust.PUBLIC: "all servers",
}


def model_not_in_scope(model: str, allowed: Collection[str]) -> NotAllowed:
    """Say which models a key may ask for, where it asked for another."""
    return NotAllowed(
        f"This key may not use model '{model[:200]}'. It may use: {_listed(allowed)}.",
        param="model",
        code="model_not_in_scope",
    )


def route_not_in_scope(path: str, allowed: Collection[str]) -> NotAllowed:
    """Say which paths a key may call, where it called another."""
    return NotAllowed(
        f"This key may not call {path[:200]}. It may call: {_listed(allowed)}.", code="route_not_in_scope"
    )


def no_server_trusted(model: str, reach: Trust, *, for_tools: bool) -> NotAllowed:
    """Say why none of a model's servers may be used, and what opens them.

    Args:
        model: the name that was asked for.
        reach: how far the request may go.
        for_tools: whether that is because it has tools.
    """
    if for_tools:
        message = (
            f"This request has tools, so it goes to {_GOES_TO[reach]}: another server could write tool calls of its "
            f"own, which an agent would execute. No such server has model '{model[:200]}'. Leave out tools, or ask the "
            "operator to trust a server (multiverse servers trust ID trusted), to let this key send tools anywhere "
            "(tools_anywhere), or to set TOOLS_ON_UNTRUSTED_SERVERS=true."
        )
        return NotAllowed(message, param="tools", code="tools_need_trusted_server")
    message = (
        f"This request goes to {_GOES_TO[reach]}, and no such server has model '{model[:200]}'. Send it with a wider "
        "X-Gateway-Trust if the key allows it, or ask the operator to trust a server or to widen the key's reach."
    )
    return NotAllowed(message, code="no_trusted_server")


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:_NAMES_SHOWN]) or "none"
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"
