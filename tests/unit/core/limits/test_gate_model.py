"""Is what a gate lets through what sums by hand allow, in any order of requests, ends and restarts?"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.services.core.limits.gate import Admitted, Gate, Need, Refused
from app.services.core.people.principal import LimitRule, Limits

LIMITS = Limits(requests_per_minute=5, tokens_per_minute=1000, tokens_per_day=3000, concurrency=3)
RULES = (
    LimitRule("key:a", LIMITS, "your key"),
    LimitRule("group:g", Limits(requests_per_minute=7, tokens_per_day=5000), "your group", "llama"),
)
MODELS = frozenset({"llama"})
DAY = 86_400
MINUTE = 60.0
MERGED = 0.011
SAVED = 1.002
"""How much longer something may count that was restored."""
ANOTHER_BOOT = 10.0**6
TOLERANCE = 1e-6


@dataclass
class Entry:
    """Tokens that were used: counted in the minute from ``at`` on, and on the day of ``wall``."""

    at: float
    wall: float
    tokens: int


@dataclass
class Ledger:
    """Everything that was ever let through, added up the slow way."""

    requests: list[float] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    usual: float = 256.0
    answers: int = 0

    def requests_within(self, now: float, seconds: float) -> int:
        return sum(at > now - seconds for at in self.requests)

    def tokens_within(self, now: float, seconds: float) -> int:
        return sum(entry.tokens for entry in self.entries if entry.at > now - seconds)

    def tokens_today(self, wall: float) -> int:
        return sum(entry.tokens for entry in self.entries if entry.wall // DAY == wall // DAY)

    def estimate(self, need: Need) -> int:
        usual = int(self.usual)
        return need.prompt_tokens + (need.answer_tokens if 0 < need.answer_tokens < usual else usual) or 1

    def learn(self, answer: int) -> None:
        self.answers = min(self.answers + 1, 8)
        self.usual += (answer - self.usual) / self.answers


def new_gate() -> Gate:
    gate = Gate()
    gate.model_rules = {}  # can be copied
    return gate


def fits(used: int, need: int, limit: int) -> bool:
    return used + need <= limit or used == 0


class GateMachine(RuleBasedStateMachine):
    """A gate beside a ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = new_gate()
        self.stored: dict[tuple[str, str | None], bytes] = {}
        self.ledger = Ledger()
        self.now = 1000.0
        self.wall = datetime(2030, 5, 31, 23, 50, tzinfo=UTC).timestamp()
        self.running: list[tuple[Admitted, Entry, Need]] = []
        self.slack = MERGED

    def allowed(self, need: Need, seconds: float) -> bool:
        """Whether a request may go by the ledger, if what came in the last so many seconds counts."""
        ledger, whole = self.ledger, self.ledger.estimate(need)
        today = ledger.tokens_today(self.wall)
        return (
            len(self.running) < 3
            and ledger.requests_within(self.now, seconds) < 5
            and fits(ledger.tokens_within(self.now, seconds), whole, 1000)
            and fits(today, whole, 3000)
            and fits(today, whole, 5000)
        )

    @rule(prompt=st.integers(0, 1200), answer=st.sampled_from([0, 1, 50, 400, 10**9]))
    def ask(self, prompt: int, answer: int) -> None:
        need = Need(prompt, answer)
        verdict = self.gate.admit(RULES, MODELS, need, self.now, self.wall)
        if isinstance(verdict, Admitted):
            assert prompt <= 1000
            assert self.allowed(need, MINUTE - TOLERANCE)
            entry = Entry(self.now, self.wall, self.ledger.estimate(need))
            self.ledger.requests.append(self.now)
            self.ledger.entries.append(entry)
            self.running.append((verdict, entry, need))
        elif prompt > 1000:
            assert verdict.error.status == 413
        else:
            assert verdict.error.status == 429
            assert not self.allowed(need, MINUTE + self.slack)
            self.is_honest(verdict, need)

    def is_honest(self, verdict: Refused, need: Need) -> None:
        """See that the request goes when it was told to come again, and not a second before."""
        seconds = verdict.error.retry_after_seconds
        assert seconds is not None
        assert 1 <= seconds <= DAY
        if len(self.running) >= 3:
            return
        for wait, goes in ((seconds, True), (seconds - 1.001, False)):
            if wait >= 0:
                fork = copy.deepcopy(self.gate)
                later = fork.admit(RULES, MODELS, need, self.now + wait, self.wall + wait)
                assert isinstance(later, Admitted) is goes

    @precondition(lambda self: self.running)
    @rule(data=st.data(), tokens=st.one_of(st.just(0), st.integers(1, 2500)), twice=st.booleans())
    def end(self, data: st.DataObject, tokens: int, twice: bool) -> None:
        """End a request: aborted before it was taken, cut short, or longer than it seemed."""
        admitted, entry, need = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        admitted.settle(tokens, self.now, self.wall)
        if twice:
            admitted.settle(tokens, self.now, self.wall)
        answer = max(tokens - need.prompt_tokens, 0)
        was_bounded = entry.tokens - need.prompt_tokens < int(self.ledger.usual)
        if tokens > entry.tokens:
            self.ledger.entries.append(Entry(self.now, self.wall, tokens - entry.tokens))
        else:
            entry.tokens = tokens
        if tokens and (not was_bounded or answer > self.ledger.usual):
            self.ledger.learn(answer)

    @rule(seconds=st.one_of(st.sampled_from([0.0, 0.5, 60.0]), st.floats(0, 3), st.floats(0, 70)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    @rule(away=st.floats(0, 70), is_new_boot=st.booleans())
    def restart(self, away: float, is_new_boot: bool) -> None:
        """Save, die, start anew: what ran is gone, and its estimates stay counted."""
        for subject, model, state in self.gate.changed(self.now, self.wall):
            if state is None:
                self.stored.pop((subject, model), None)
            else:
                self.stored[subject, model] = state
        self.wall += away
        moved = away - ANOTHER_BOOT if is_new_boot else away
        self.now += moved
        self.ledger.requests = [at + moved - away for at in self.ledger.requests]
        for entry in self.ledger.entries:
            entry.at += moved - away
        self.gate = new_gate()
        states = [(subject, model, state) for (subject, model), state in self.stored.items()]
        assert self.gate.restore(states, self.now, self.wall) == 0
        self.running.clear()
        self.slack += SAVED

    @invariant()
    def counts_what_the_ledger_counts(self) -> None:
        used = {one.kind.value: one.used for one in self.gate.left(RULES[:1], self.now, self.wall)}
        ledger = self.ledger
        assert used["concurrency"] == len(self.running)
        assert used["tokens_per_day"] == ledger.tokens_today(self.wall)
        for counted, summed in (
            (used["requests_per_minute"], ledger.requests_within),
            (used["tokens_per_minute"], ledger.tokens_within),
        ):
            assert summed(self.now, MINUTE - TOLERANCE) <= counted <= summed(self.now, MINUTE + self.slack)

    @invariant()
    def lets_no_more_through_in_any_minute(self) -> None:
        times = self.ledger.requests
        assert all(later - earlier >= MINUTE - TOLERANCE for earlier, later in zip(times, times[5:], strict=False))


GateMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestGate = GateMachine.TestCase
