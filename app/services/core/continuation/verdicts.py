"""How do the verdicts of two trials, on chats and on completions, become one ability?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from app.services.core.continuation.ability import Rung
from app.services.core.continuation.asking import Found

if TYPE_CHECKING:
    from app.services.core.continuation.ability import Ability
    from app.services.core.continuation.asking import Unclear

__all__ = ["Part", "with_verdict"]

Part = Literal["chat", "text"]

_WORDS: Final[dict[Part, str]] = {"chat": "chats: ", "text": "completions: "}
_BETWEEN: Final = " | "


def with_verdict(known: Ability, verdict: Found | Unclear, part: Part, version: str) -> Ability:
    """Return what is known after a trial. One without a verdict changes nothing that was found before.

    Args:
        known: what was known before.
        verdict: what the trial came to.
        part: what it was about.
        version: of the engine that was tried.
    """
    reasons = _reasons(known.reason)
    if isinstance(verdict, Found):
        found = verdict.ability
        reasons[part] = found.reason
        known = (
            replace(known, text=found.text)
            if part == "text"
            else replace(known, chat=found.chat, thinking_off=found.thinking_off, trims=found.trims)
        )
    elif getattr(known, part) is Rung.UNJUDGED:
        reasons[part] = f"not known yet: {verdict.reason}"
    else:
        return known
    return replace(known, reason=_joined(reasons), version=version)


def _reasons(joined: str) -> dict[Part, str]:
    """Take a joined reason apart again."""
    parts = joined.split(_BETWEEN)
    return {
        name: next((part.removeprefix(word) for part in parts if part.startswith(word)), "")
        for name, word in _WORDS.items()
    }


def _joined(reasons: dict[Part, str]) -> str:
    return _BETWEEN.join(f"{_WORDS[name]}{reason.replace(_BETWEEN, ' ')}" for name, reason in reasons.items() if reason)
