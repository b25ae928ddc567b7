"""What does a test of a connection mean for the person who asked? In words and facts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.routers.dashboard.register_forms import plain
from app.services.core.continuation.ability import Rung
from app.services.core.network.addresses import DenialCode
from app.services.core.types import CheckFailure
from app.services.registry.trial import Failed

if TYPE_CHECKING:
    from app.services.core.continuation.ability import Ability
    from app.services.core.types import DiscoveredModel
    from app.services.registry.trial import Passed

__all__ = ["Told", "told"]

MOST_LISTED: Final = 50
_BY_HAND: Final = "in the gateway's environment or .env file, and start it again"


@dataclass(frozen=True, slots=True)
class Told:
    """What is shown of a test.

    Attributes:
        works: whether it could be registered so.
        summary: the verdict, in a sentence or two.
        advice: who can do what about it; empty where the summary says it.
        engine: what runs there, with its version; empty where nothing was found.
        latency_ms: how long its list of models took; None where there was no answer.
        names: what users would ask for.
        listed: the models that it lists, the first of them.
        more: how many it lists beside those.
        continuing: whether broken answers can go on there: a word, and why.
        warning: what the look complains of although it passed.
    """

    works: bool
    summary: str
    advice: str = ""
    engine: str = ""
    latency_ms: float | None = None
    names: tuple[str, ...] = ()
    listed: tuple[DiscoveredModel, ...] = ()
    more: int = 0
    continuing: tuple[str, str] | None = None
    warning: str = ""


def told(found: Passed | Failed, *, is_operator: bool) -> Told:
    """Put what was found into words.

    Args:
        found: by the test.
        is_operator: whether it is told to who runs the gateway.
    """
    listed, more = found.listed[:MOST_LISTED], max(0, len(found.listed) - MOST_LISTED)
    if isinstance(found, Failed):
        advice = _advice(found, is_operator=is_operator)
        return Told(False, plain(found.error.message), advice, _engine(found.engine, ""), listed=listed, more=more)
    examined = found.examined
    return Told(
        True,
        f"The connection to {found.endpoint.url} works. Nothing is registered yet.",
        engine=_engine(examined.engine, examined.version),
        latency_ms=examined.check.latency_ms,
        names=tuple(model.name for model in examined.models[:MOST_LISTED]),
        listed=listed,
        more=more,
        continuing=_continuing(found.ability),
        warning=f"It {found.lacking}." if found.lacking else "",
    )


def _engine(name: str, version: str) -> str:
    """Name an engine; empty where it is not known."""
    return "" if name == "unknown" and not version else f"{name} {version}".strip()


def _continuing(ability: Ability | None) -> tuple[str, str]:
    if ability is None:
        return "Not tried", "Continuing answers is turned off on this gateway (CONTINUATION_ENABLED)."
    if ability.chat is Rung.UNJUDGED:
        return "Not known yet", ability.reason
    if ability.chat is Rung.NONE:
        why = f" What was tried: {ability.reason}." if ability.reason else ""
        return "No", f"A chat that breaks off on another server can't be finished on this one.{why}"
    quietly = " The model's thinking is turned off for that." if ability.thinking_off else ""
    return "Yes", f"A chat that breaks off on another server can be finished on this one.{quietly}"


def _advice(found: Failed, *, is_operator: bool) -> str:
    """Say who can do what, where the message does not."""
    if found.failure is CheckFailure.REFUSED_ADDRESS:
        return _about_address(found.error.code, is_operator=is_operator)
    if found.failure is CheckFailure.UNREACHABLE:
        return "The gateway has to reach it from where the gateway runs: localhost there is another machine than yours."
    if found.failure is CheckFailure.TLS and not is_operator:
        return "Which authorities the gateway trusts only its operator can change."
    return ""


def _about_address(code: str, *, is_operator: bool) -> str:
    if code == DenialCode.NOT_PUBLIC:
        who = (
            "You can change this, for you run the gateway" if is_operator else "Only the gateway's operator can do that"
        )
        return f"{who}: set ALLOWED_SERVER_NETWORKS {_BY_HAND}."
    return "No setting and nobody can allow this address." if code == DenialCode.FORBIDDEN else ""
