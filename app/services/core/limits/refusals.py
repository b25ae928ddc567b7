"""What does a client hear whose limit is reached: which limit, whose, when to come again, whom to ask?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from app.services.core.errors import BodyTooLarge, GatewayError, TooMany
from app.services.core.limits.standing import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.services.core.limits.standing import Shortfall, Standing
    from app.services.core.people.principal import LimitRule

__all__ = ["MOST_WAIT_SECONDS", "refusal"]

MOST_WAIT_SECONDS: Final = 86_400
"""Nobody is told to wait for longer than a day at once: limits change, and clients that sleep for a month break."""
_MODEL: Final = "model:"
_PERIODS: Final = {
    Kind.TOKENS_PER_MINUTE: "minute",
    Kind.TOKENS_PER_DAY: "day (UTC)",
    Kind.TOKENS_PER_MONTH: "month (UTC)",
}
_ASK: Final = "ask the operator for a larger limit"


def refusal(shortfalls: Sequence[Shortfall]) -> GatewayError:
    """Make the error of a request that does not fit under some limits: it tells of the one that takes longest.

    Args:
        shortfalls: at least one.
    """
    worst = max(shortfalls, key=lambda shortfall: shortfall.wait_seconds)
    standing = worst.standing
    if standing.kind.counts_tokens and worst.wanted > standing.limit:
        return _prompt_too_large(worst)
    wait_seconds = min(max(math.ceil(min(worst.wait_seconds, MOST_WAIT_SECONDS)), 1), MOST_WAIT_SECONDS)
    message, code = _words(worst, _said(wait_seconds))
    return TooMany(message, code=code, retry_after_seconds=wait_seconds)


def _prompt_too_large(shortfall: Shortfall) -> BodyTooLarge:
    standing = shortfall.standing
    return BodyTooLarge(
        f"This prompt has about {shortfall.wanted:,} tokens, but {_possessive(standing.rule)} limit is "
        f"{standing.limit:,} a {_PERIODS[standing.kind]}{_of_model(standing.rule)}: send a shorter prompt, or {_ASK}.",
        code="tokens_limit_exceeded",
    )


def _words(shortfall: Shortfall, wait: str) -> tuple[str, str]:
    """Return the message and the code of a 429."""
    standing = shortfall.standing
    rule, limit = standing.rule, standing.limit
    who, only = _subject(rule), _of_model(rule)
    if standing.kind is Kind.CONCURRENCY:
        have = f"{who} have {_counted(limit, 'request')} running at once{only}"
        return f"{have}: send it again when one has ended, or {_ASK}.", "concurrency_limit_exceeded"
    if standing.kind is Kind.REQUESTS_PER_MINUTE:
        make = f"{who} {'take' if _is_model(rule) else 'make'} {_counted(limit, 'request')} a minute{only}"
        return f"{make}: wait {wait}, or {_ASK}.", "rate_limit_exceeded"
    use = f"{who} use {_counted(limit, 'token')} a {_PERIODS[standing.kind]}{only}"
    takes = f"{_left(standing)}, and this request takes about {shortfall.wanted:,}"
    return f"{use}. {takes}: wait {wait}, or {_ASK}.", "tokens_limit_exceeded"


def _subject(rule: LimitRule) -> str:
    """Begin a sentence on what a subject may do."""
    words = rule.words[:1].upper() + rule.words[1:]
    return f"{words} may, for everybody together," if _is_model(rule) else f"{words} may"


def _possessive(rule: LimitRule) -> str:
    return f"{rule.words}'" if rule.words.endswith("s") else f"{rule.words}'s"


def _is_model(rule: LimitRule) -> bool:
    return rule.subject.startswith(_MODEL)


def _of_model(rule: LimitRule) -> str:
    return "" if rule.model is None else f" of model '{rule.model[:200]}'"


def _left(standing: Standing) -> str:
    return f"{standing.remaining:,} of them are left" if standing.remaining else "None of them is left"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _said(seconds: int) -> str:
    """Say a time in words that a person reads at a glance."""
    if seconds < 120:
        return f"{seconds} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{math.ceil(minutes / 60)} h"
