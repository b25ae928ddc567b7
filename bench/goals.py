"""What should the gateway reach, and did it? Each goal is a bound on a figure, or on its ratio to another gateway's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.gateways import OURS
from bench.summary import summarise

if TYPE_CHECKING:
    from bench.results import Results

__all__ = ["ENOUGH_ROUNDS", "GOALS", "Goal", "Verdict", "judge_goals"]

ENOUGH_ROUNDS = 5
"""What rests on fewer rounds is rough."""


@dataclass(frozen=True, slots=True)
class Goal:
    """At most ``most`` of a figure, or, with a rival, of its ratio to the rival's in the same run."""

    words: str
    work: str
    figure: str
    most: float
    rival: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured; None when it could not be. ``rounds``: how many it rests on."""

    goal: Goal
    measured: float | None
    rounds: int

    @property
    def word(self) -> str:
        """Met, missed, or why neither."""
        if self.measured is None:
            return "not measured"
        return "met" if self.measured <= self.goal.most else "missed"

    @property
    def is_rough(self) -> bool:
        """Whether it rests on too few rounds."""
        return self.measured is not None and self.rounds < ENOUGH_ROUNDS


def _against(work: str, figure: str, what: str, rivals: dict[str, float]) -> list[Goal]:
    return [Goal(f"{what}, over {rival}'s", work, figure, most, rival) for rival, most in rivals.items()]


_REQUEST, _EVENT = "cpu_us_per_request", "cpu_us_per_event"
GOALS = (
    *_against("short", _REQUEST, "CPU per request of 1 KB", {"envoy": 1.0, "vllm-router": 0.6}),
    *_against("distinct", _REQUEST, "CPU per request of 1 KB, no two alike", {"envoy": 1.0, "vllm-router": 0.6}),
    *_against("streams-100", _EVENT, "CPU per event, 100 streams", {"vllm-router": 1.0, "envoy": 0.7}),
    *_against("streams-400", _EVENT, "CPU per event, 400 streams", {"vllm-router": 1.0, "envoy": 0.7}),
    Goal("KB of memory per open stream, 2,000 streams", "open-streams", "kilobytes_per_stream", 30.0),
    Goal("ms added to the p99 of direct, 1,000 requests/s", "short-rate", "added_p99_ms", 1.0),
)


def judge_goals(results: Results) -> list[Verdict]:
    """Hold every goal against the medians."""
    return [_judged(results, goal) for goal in GOALS]


def _judged(results: Results, goal: Goal) -> Verdict:
    own, rounds = _median(results, goal.work, goal.figure, OURS)
    if own is None or goal.rival is None:
        return Verdict(goal, own, rounds)
    other, other_rounds = _median(results, goal.work, goal.figure, goal.rival)
    return Verdict(goal, own / other if other else None, min(rounds, other_rounds))


def _median(results: Results, work: str, figure: str, gateway: str) -> tuple[float | None, int]:
    samples = [sample for sample in results.samples if sample.work == work and sample.gateway == gateway]
    found = summarise(samples).get(figure)
    return (found.median, found.rounds) if found else (None, 0)
