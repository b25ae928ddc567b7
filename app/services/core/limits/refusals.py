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
"""No client is told to wait for longer at once: limits change, and long sleepers break. People hear all of it."""
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
    message, code = _words(worst, _said(worst.wait_seconds))
    wait_seconds = max(math.ceil(min(worst.wait_seconds, MOST_WAIT_SECONDS)), 1)
    return TooMany(message, code=code, retry_after_seconds=wait_seconds)


def _prompt_too_large(shortfall: Shortfall) -> BodyTooLarge:
    standing = shortfall.standing
    whose, only = _possessive(standing.rule), _with_model(standing.rule)
    return BodyTooLarge(
        f"This prompt has about {shortfall.wanted:,} tokens, but {whose} limit is "
        f"{standing.limit:,} a {_PERIODS[standing.kind]}{only}: send a shorter prompt, or {_ASK}.",
        code="tokens_limit_exceeded",
    )


def _words(shortfall: Shortfall, wait: str) -> tuple[str, str]:
    """Return the message and the code of a 429."""
    standing = shortfall.standing
    rule, limit = standing.rule, standing.limit
    who, only = _subject(rule), _with_model(rule)
    if standing.kind is Kind.CONCURRENCY:
        have = f"{who} have {_counted(limit, 'request')} running at once{only}"
        return f"{have}: send it again when one has ended, or {_ASK}.", "concurrency_limit_exceeded"
    if standing.kind is Kind.REQUESTS_PER_MINUTE:
        make = f"{who} make {_counted(limit, 'request')} a minute{only}"
        return f"{make}: wait {wait}, or {_ASK}.", "rate_limit_exceeded"
    use = f"{who} use {_counted(limit, 'token')} a {_PERIODS[standing.kind]}{only}"
    takes = f"{_left(standing)}, and this request takes about {shortfall.wanted:,}"
    return f"{use}. {takes}: wait {wait}, or {_ASK}.", "tokens_limit_exceeded"


def _subject(rule: LimitRule) -> str:
    """Begin a sentence on what a subject may do."""
    return "All people together may" if _is_model(rule) else f"{rule.words[:1].upper()}{rule.words[1:]} may"


def _possessive(rule: LimitRule) -> str:
    if _is_model(rule):
        return "everybody's"
    return f"{rule.words}'" if rule.words.endswith("s") else f"{rule.words}'s"


def _is_model(rule: LimitRule) -> bool:
    return rule.subject.startswith(_MODEL)


def _with_model(rule: LimitRule) -> str:
    model = rule.subject.removeprefix(_MODEL) if _is_model(rule) else rule.model
    return "" if model is None else f" with model '{model[:200]}'"


def _left(standing: Standing) -> str:
    return f"{standing.remaining:,} of them are left" if standing.remaining else "None of them is left"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _said(wait_seconds: float) -> str:
    """Say a time in words that a person reads at a glance, rounded up; of one without end, what clients are told."""
    seconds = max(math.ceil(wait_seconds if math.isfinite(wait_seconds) else MOST_WAIT_SECONDS), 1)
    if seconds < 120:
        return f"{seconds} s"
    minutes = math.ceil(seconds / 60)
    hours = math.ceil(minutes / 60)
    if hours <= 48:
        return f"{minutes} min" if minutes < 120 else f"{hours} h"
    days, more_hours = divmod(hours, 24)
    return f"{days} days and {more_hours} h" if more_hours else f"{days} days"
