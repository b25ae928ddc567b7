"""May this request go now, by all limits that it counts for; and what is left of them?

All of a request's counters are drawn or none: first each is asked whether there is room, then all are drawn. Nothing
here waits: between the two there is no other request.

A request that was drawn counts as one whatever becomes of it, also where no server took it: who asks for what can't be
had, asks all the same. Its tokens are settled by what was used: none, in that case.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.errors import GatewayError
from app.services.core.limits.counter import Counter, Draw, Need
from app.services.core.limits.lines import limit_lines, lines_just_drawn
from app.services.core.limits.refusals import refusal
from app.services.core.limits.shelf import MOST_PEOPLE, Shelf
from app.services.core.limits.sliding import MINUTE_SECONDS
from app.services.core.limits.standing import Standing, shortfalls, standings
from app.services.core.limits.state import StateDamaged, from_state, to_state
from app.services.core.people.principal import Limits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from app.services.core.people.principal import LimitRule

__all__ = ["MOST_TOKENS", "Admitted", "Gate", "Need", "Refused", "SavedCounter", "Standing"]

MOST_TOKENS: Final = 100_000_000
"""No request uses more: a server that says so is not believed."""
_LOOKED_AT: Final = 512
"""Counters that are looked at each time that states are saved, to forget those that are empty."""

SavedCounter = tuple[str, str | None, bytes | None]
"""A subject, the only model that counts (None: all), and its state; None where nothing is left that counts."""

_Pick = tuple[Counter, Limits, int]
"""A counter, by which limits, and how many tokens are drawn there."""


class Refused(msgspec.Struct, frozen=True):
    """A request may not go.

    Attributes:
        error: what the client hears.
        lines: header lines on how its limits stand, each with its end.
    """

    error: GatewayError
    lines: bytes


class Admitted(msgspec.Struct, gc=False):
    """A request may go, and was drawn. A struct, because they are made fastest.

    Attributes:
        lines: header lines on how its limits stand, each with its end; empty where neither requests nor tokens are
            limited.
        draws: what is to be settled.
        unsaved: where counters go that changed.
    """

    lines: bytes
    draws: list[Draw]
    unsaved: list[Counter]

    def settle(self, tokens: int, now: float, wall: float) -> None:
        """Give back the request's place, and count what it used in place of what was reserved.

        To be called once, at its end, whatever that is; further calls change nothing.

        Args:
            tokens: what it used, of prompt and answer; 0 if no server took it.
            now: monotonic seconds.
            wall: Unix seconds.
        """
        draws, self.draws = self.draws, []
        if not 0 <= tokens <= MOST_TOKENS:
            tokens = min(max(tokens, 0), MOST_TOKENS)
        for draw in draws:
            counter = draw.counter
            counter.settle(draw, tokens, now, wall)
            if draw.reserved and not counter.unsaved:
                counter.unsaved = True
                self.unsaved.append(counter)


class Gate:
    """All limits and what counts for them.

    Args:
        most_people: how many people's counters are kept in memory.

    Attributes:
        model_rules: limits of models for everybody together, by the name of the model; swapped whole. Who admits
            requests puts those that concern a request among its rules.
    """

    __slots__ = ("_shelf", "_unsaved", "model_rules")

    def __init__(self, most_people: int = MOST_PEOPLE) -> None:
        self.model_rules: Mapping[str, LimitRule] = MappingProxyType({})
        self._shelf = Shelf(most_people)
        self._unsaved: list[Counter] = []

    def __len__(self) -> int:
        """How many counters are kept."""
        return len(self._shelf)

    def admit(
        self, rules: Sequence[LimitRule], models: Collection[str], need: Need, now: float, wall: float
    ) -> Admitted | Refused:
        """Let a request through and draw what it takes, or say why not.

        Args:
            rules: all limits that it may count for.
            models: the names of the model that it asks for; a rule for a model counts for these alone.
            need: what it will take.
            now: monotonic seconds.
            wall: Unix seconds.
        """
        picked: list[_Pick] = []
        counters = self._shelf.counters
        for rule in rules:
            subject, model, limits = rule.subject, rule.model, rule.limits
            if model is None:
                counter = counters.get(subject) or self._shelf.counter(subject, None)
            elif model in models:
                counter = counters.get((subject, model)) or self._shelf.counter(subject, model)
            else:
                continue
            if picked:
                counter, limits = _merged(picked, counter, limits)
            tokens = counter.room(limits, need, now, wall)
            if tokens is None:
                return self._refuse(rules, models, need, now, wall)
            picked.append((counter, limits, tokens))
        draws: list[Draw] = []
        for counter, limits, tokens in picked:
            if not counter.kept:
                self._keep(counter, now, wall)
            draws.append(counter.draw(limits, need, tokens, now, wall))
            if not counter.unsaved and (tokens or limits.requests_per_minute is not None):
                counter.unsaved = True
                self._unsaved.append(counter)
        return Admitted(_lines(draws, wall), draws, self._unsaved)

    def left(self, rules: Iterable[LimitRule], now: float, wall: float) -> list[Standing]:
        """Return how each limit of some rules stands."""
        return [
            standing
            for rule in rules
            for standing in standings(rule, self._shelf.counter(rule.subject, rule.model), now, wall)
        ]

    def changed(self, now: float, wall: float) -> list[SavedCounter]:
        """Return what is to be saved: the counters that changed since the last call, and those that are forgotten."""
        unsaved = [*self._unsaved, *self._shelf.forget_idle(_LOOKED_AT, now, wall)]
        self._unsaved.clear()
        states: dict[tuple[str, str | None], bytes | None] = {}
        for counter in unsaved:
            counter.unsaved = False
            is_empty = not counter.kept and counter.is_empty(now, wall)
            states[counter.subject, counter.model] = None if is_empty else to_state(counter, now, wall)
        return [(subject, model, state) for (subject, model), state in states.items()]

    def restore(self, states: Iterable[tuple[str, str | None, bytes]], now: float, wall: float) -> int:
        """Go on where another process was. Counters that are there already stay as they are.

        Args:
            states: what was saved. Where there are more people than are kept, the first ones are.
            now: monotonic seconds.
            wall: Unix seconds.

        Returns:
            How many of the states are damaged; these are left out.
        """
        damaged = 0
        for subject, model, data in states:
            try:
                counter = from_state(subject, model, data, now, wall)
            except StateDamaged:
                damaged += 1
                continue
            if self._shelf.has_room_for(subject) and not self._shelf.counter(subject, model).kept:
                self._shelf.keep(counter, now, wall)
        return damaged

    def _keep(self, counter: Counter, now: float, wall: float) -> None:
        """Keep a new counter. What those counted that have to go for it is saved once more."""
        for gone in self._shelf.keep(counter, now, wall):
            if not gone.unsaved:
                gone.unsaved = True
                self._unsaved.append(gone)

    def _refuse(
        self, rules: Sequence[LimitRule], models: Collection[str], need: Need, now: float, wall: float
    ) -> Refused:
        """Say why a request may not go, by all limits that it does not fit under."""
        counted = [
            (rule, self._shelf.counter(rule.subject, rule.model))
            for rule in rules
            if rule.model is None or rule.model in models
        ]
        short = [found for rule, counter in counted for found in shortfalls(rule, counter, need, now, wall)]
        stand = [found for rule, counter in counted for found in standings(rule, counter, now, wall)]
        return Refused(refusal(short), limit_lines(stand))


def _merged(picked: list[_Pick], counter: Counter, limits: Limits) -> tuple[Counter, Limits]:
    """See that a subject that comes twice is counted once, by the tighter limits of the two."""
    for index, (other, known, _) in enumerate(picked):
        if other.subject == counter.subject and other.model == counter.model:
            del picked[index]
            return other, Limits(
                _least(known.requests_per_minute, limits.requests_per_minute),
                _least(known.tokens_per_minute, limits.tokens_per_minute),
                _least(known.tokens_per_day, limits.tokens_per_day),
                _least(known.tokens_per_month, limits.tokens_per_month),
                _least(known.concurrency, limits.concurrency),
            )
    return counter, limits


def _least(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def _lines(draws: list[Draw], wall: float) -> bytes:
    """Write how the tightest limits stand of a request that was just drawn."""
    requests: tuple[int, int] | None = None
    tokens: tuple[int, int] | None = None
    ends_at: int | None = None
    """When the period of the tightest limit of tokens ends; None for a minute."""
    for draw in draws:
        limits, minute = draw.limits, draw.counter.minute
        if (limit := limits.requests_per_minute) is not None:
            left = limit - minute.requests
            if requests is None or left < requests[1]:
                requests = limit, left
        if (limit := limits.tokens_per_minute) is not None:
            left = limit - minute.tokens
            if tokens is None or left < tokens[1]:
                tokens, ends_at = (limit, left), None
        for limit, _, period in draw.periods:
            left = limit - period.used
            if tokens is None or left < tokens[1]:
                tokens, ends_at = (limit, left), period.ends_at
    return lines_just_drawn(requests, tokens, MINUTE_SECONDS if ends_at is None else ends_at - wall)
