"""What does the first page say of the pool at this moment? Figures as people read them, states, and the last news."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from app.routers.dashboard.server_standing import STATES
from app.routers.dashboard.wording import NOTHING, compact, count, duration, per_second
from app.routers.stats_views import counts_of
from app.services.core.people.principal import Role
from app.services.core.reporting.happenings import Kind, sentence
from app.services.scopes import scope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.routers.deps import Gateway
    from app.routers.stats_views import Counts
    from app.services.core.people.principal import Principal
    from app.services.core.reporting.happenings import Happening
    from app.services.core.reporting.series import Series
    from app.services.happenings import Happenings
    from app.services.traffic import Figures, Traffic

__all__ = ["NOW", "now_of", "overview_topic", "series_data", "share_in_words", "table_of"]

NOW: Final = "now"
"""The id of the one row."""
_NEWS: Final = 12
_SHORT_FROM: Final = 10_000
_GOOD: Final = frozenset(
    {Kind.HEALTHY, Kind.APPROVED, Kind.RELEASED, Kind.UNBLOCKED, Kind.TAKES_KEY, Kind.CONTINUED, Kind.RESUMED}
)
_BAD: Final = frozenset({Kind.UNHEALTHY, Kind.BLOCKED, Kind.QUARANTINED, Kind.REFUSES_KEY})
_LISTS: Final = (
    "requests_per_second", "prompt_tokens_per_second", "completion_tokens_per_second", "errors_share", "continuations",
    "queued_most", "first_token_p50_seconds", "first_token_p95_seconds",
)  # fmt: skip


def overview_topic(
    gateway: Gateway, traffic: Traffic, happenings: Happenings
) -> Callable[[Principal], Mapping[str, Any]]:
    """Give the live topic of the first page: one row. A user lends nothing, and is told nothing of the pool."""

    def topic(principal: Principal) -> Mapping[str, Any]:
        return {} if principal.role is Role.USER else {NOW: now_of(gateway, traffic, happenings, principal)}

    return topic


def now_of(gateway: Gateway, traffic: Traffic, happenings: Happenings, principal: Principal) -> dict[str, Any]:
    """Say how those servers do that a key may steer.

    Returns:
        ``figures``: texts by name; ``states``: how many servers are in each; ``total``: how many there are;
        ``news``: what happened, the newest first.

    Raises:
        NotAllowed: a user's key.
    """
    scope = scope_of(principal, traffic.owners(), gateway.registry.owners)
    counts = counts_of(gateway, principal)
    states = {name.replace("_", "-"): number for name, number in counts.states.items()}
    return {
        "figures": _texts(counts, traffic.figures(scope)),
        "states": {name: states[name] for name in STATES},
        "total": counts.total,
        "news": [_news(one, gateway) for one in happenings.of(scope, _NEWS)],
    }


def series_data(series: Series) -> dict[str, Any]:
    """Give what the charts draw."""
    return {"times": series.times, "step_seconds": series.span.step_seconds} | {
        name: getattr(series, name) for name in _LISTS
    }


def table_of(series: Series) -> list[tuple[int, list[str]]]:
    """Give the same as rows of a table, the newest first: when each step begins, and its figures as texts."""
    writers = (_rate, _rate, _rate, share_in_words, count, count, duration, duration)
    columns = [[write(value) for value in getattr(series, name)] for name, write in zip(_LISTS, writers, strict=True)]
    rows = [(time, [column[place] for column in columns]) for place, time in enumerate(series.times)]
    return rows[::-1]


def share_in_words(share: float | None) -> str:
    """Write a part of the whole in percent: 0 %, 0.8 %, 12 %."""
    if share is None:
        return NOTHING
    percent = share * 100
    digits = 0 if percent == 0 or percent >= 10 else 1  # noqa: PLR2004 - where digits stop telling
    return f"{percent:.{digits}f}\N{NARROW NO-BREAK SPACE}%"


def _rate(number: float | None) -> str:
    return compact(number) if number is not None and number >= _SHORT_FROM else per_second(number)


def _texts(counts: Counts, figures: Figures) -> dict[str, str]:
    prompt, completion = figures.prompt_tokens_per_second, figures.completion_tokens_per_second
    tokens = None if prompt is None or completion is None else prompt + completion
    return {
        "serving": count(counts.serving),
        "servers": count(counts.total),
        "models_available": count(counts.models_available),
        "models": count(counts.models),
        "requests_rate": _rate(figures.requests_per_second),
        "tokens_rate": _rate(tokens),
        "prompt_rate": _rate(prompt),
        "completion_rate": _rate(completion),
        "first_token_p50": duration(figures.first_token_p50_seconds),
        "first_token_p95": duration(figures.first_token_p95_seconds),
        "queued": count(figures.queued),
        "in_flight": count(counts.in_flight),
        "errors_share": share_in_words(figures.errors_share),
        "errors": count(figures.errors),
        "requests": count(figures.requests),
        "continuations": count(figures.continuations),
    }


def _news(one: Happening, gateway: Gateway) -> dict[str, Any]:
    """Tell one thing that happened: the name of a server that is there still leads to it."""
    words = sentence(one)
    is_there = one.server_id in gateway.registry.servers
    return {
        "id": one.id,
        "at": one.at.isoformat(timespec="milliseconds"),
        "tone": "good" if one.kind in _GOOD else "bad" if one.kind in _BAD else "info",
        "url": f"/ui/servers/{one.server_id}" if is_there else "",
        "name": one.server if is_there else "",
        "words": words.removeprefix(one.server) if is_there else words,
    }
