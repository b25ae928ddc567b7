"""What does a request with limits cost? ``python -m bench.limits`` prints nanoseconds a call.

Each figure is the least of many short runs, on a machine that others use too. ``steady`` is a key with 5,000 requests a
second, whose marks are mostly merged; ``sparse`` one with three, where each request makes a mark and sweeps one away.
"""

from __future__ import annotations

import time
import tracemalloc
from itertools import count
from typing import TYPE_CHECKING, Final

from app.services.core.limits.gate import Admitted, Gate, Need, Refused
from app.services.core.people.principal import LimitRule, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ROUNDS: Final = 150
_CALLS: Final = 1000
_PEOPLE: Final = 10_000
_WALL: Final = 1_900_000_000.0
_NEED: Final = Need(300, 0)
_MODELS: Final = frozenset({"llama-3-8b"})
_MUCH: Final = 10**12
_PACES: Final = {"steady": 1 / 5000, "sparse": 1 / 3}
_RULES: Final = {
    "requests a minute": Limits(_MUCH),
    "requests and tokens a minute": Limits(_MUCH, _MUCH),
    "requests at once": Limits(concurrency=100),
    "all five": Limits(_MUCH, _MUCH, _MUCH, _MUCH, 100),
}


def main() -> None:
    """Measure and print."""
    for name, limits in _RULES.items():
        rules = (LimitRule("key:1", limits, "your key"),)
        for pace, seconds in _PACES.items():
            _print(f"admit and settle, {name}, {pace}", _least(_served(rules, seconds)))
    three = tuple(LimitRule(f"{kind}:1", Limits(_MUCH, _MUCH), "yours") for kind in ("key", "person", "group"))
    _print("admit and settle, three subjects, steady", _least(_served(three, _PACES["steady"])))
    _print("a refusal, requests a minute", _least(_refusals(Limits(60), _NEED, 60)))
    _print(
        "a refusal, a large prompt at a full window", _least(_refusals(Limits(None, 5_000_000), Need(4_000_000), 9000))
    )
    _print("saving one counter with a full window", _least(_saved()))
    _print(f"memory of one of {_PEOPLE:,} people, bytes", _memory())


def _print(what: str, figure: float) -> None:
    print(f"{what:55} {figure:>9,.0f}")


def _least(call: Callable[[], object]) -> float:
    """Return the nanoseconds of one call, of the fastest round."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.perf_counter_ns()
        for _ in range(_CALLS):
            call()
        best = min(best, (time.perf_counter_ns() - began) / _CALLS)
    return best


def _served(rules: tuple[LimitRule, ...], pace: float) -> Callable[[], object]:
    """Make a call that lets one request through and settles it, each a little later than the one before."""
    gate, steps = Gate(), count()

    def serve() -> None:
        now = next(steps) * pace
        admitted = gate.admit(rules, _MODELS, _NEED, now, _WALL + now)
        assert isinstance(admitted, Admitted)
        admitted.settle(420, now, _WALL + now)

    return serve


def _filled(limits: Limits, requests: int) -> tuple[Gate, tuple[LimitRule, ...]]:
    """Make a gate that let requests through, spread over fifty seconds."""
    gate, rules = Gate(), (LimitRule("key:1", limits, "your key"),)
    for now in _spread(requests):
        admitted = gate.admit(rules, _MODELS, _NEED, now, _WALL + now)
        assert isinstance(admitted, Admitted)
        admitted.settle(420, now, _WALL + now)
    return gate, rules


def _spread(requests: int) -> Iterator[float]:
    return (50 * number / requests for number in range(requests))


def _refusals(limits: Limits, need: Need, requests: int) -> Callable[[], object]:
    """Make a call that is refused."""
    gate, rules = _filled(limits, requests)
    assert isinstance(gate.admit(rules, _MODELS, need, 51.0, _WALL), Refused)
    return lambda: gate.admit(rules, _MODELS, need, 51.0, _WALL)


def _saved() -> Callable[[], object]:
    """Make a call that draws once and saves what changed."""
    gate, rules = _filled(Limits(_MUCH, _MUCH, _MUCH, _MUCH), 9000)

    def save() -> None:
        gate.admit(rules, _MODELS, _NEED, 51.0, _WALL)
        assert len(gate.changed(51.0, _WALL)) == 1

    return save


def _memory() -> float:
    """Return the bytes of a person's counter after three requests, by limits of every kind."""
    limits = _RULES["all five"]
    tracemalloc.start()
    gate = Gate()
    for number in range(_PEOPLE):
        rules = (LimitRule(f"person:open-webui/{number}@example.org", limits, "this user"),)
        for second in range(3):
            admitted = gate.admit(rules, _MODELS, _NEED, float(second), _WALL)
            assert isinstance(admitted, Admitted)
            admitted.settle(420, float(second), _WALL)
    gate.changed(3.0, _WALL)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / len(gate)


if __name__ == "__main__":
    main()
