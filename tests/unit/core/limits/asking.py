"""A gate, asked by tests: rules in few words, and times as seconds after a fixed noon."""

from __future__ import annotations

from datetime import UTC, datetime

from app.services.core.limits.gate import Admitted, Gate, Need, Refused
from app.services.core.people.principal import LimitRule, Limits

NOW = 5000.0
WALL = datetime(2030, 5, 10, 12, tzinfo=UTC).timestamp()
DAY = 86_400
MODELS = frozenset({"llama"})
SMALL = Need(10, 0)


def rule(subject: str = "key:a", words: str = "your key", model: str | None = None, **limits: int) -> LimitRule:
    return LimitRule(subject, Limits(**limits), words, model)


def ask(gate: Gate, *rules: LimitRule, need: Need = SMALL, after: float = 0.0, models=MODELS) -> Admitted | Refused:
    return gate.admit(rules, models, need, NOW + after, WALL + after)


def let_through(gate: Gate, *rules: LimitRule, need: Need = SMALL, after: float = 0.0, models=MODELS) -> Admitted:
    verdict = ask(gate, *rules, need=need, after=after, models=models)
    assert isinstance(verdict, Admitted)
    return verdict


def refused(gate: Gate, *rules: LimitRule, need: Need = SMALL, after: float = 0.0, models=MODELS) -> Refused:
    verdict = ask(gate, *rules, need=need, after=after, models=models)
    assert isinstance(verdict, Refused)
    return verdict


def settle(admitted: Admitted, tokens: int, after: float = 0.0) -> None:
    admitted.settle(tokens, NOW + after, WALL + after)


def used(gate: Gate, *rules: LimitRule, after: float = 0.0) -> dict[str, int]:
    return {standing.kind.value: standing.used for standing in gate.left(rules, NOW + after, WALL + after)}


def headers(lines: bytes) -> dict[str, str]:
    assert lines.endswith(b"\r\n") or not lines
    return dict(line.split(": ", 1) for line in lines.decode().split("\r\n")[:-1])
