"""Done at once where it may be, and once for many where it was just done."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.services.pacing import Paced


class World:
    """Work that takes time on a clock of its own."""

    def __init__(self, takes_seconds: float) -> None:
        self.now = 100.0
        self.takes_seconds = takes_seconds
        self.done: list[float] = []
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.paced = Paced(
            self._work, lambda: self.now, lambda seconds, act: self.due.append((self.now + seconds, act))
        )

    def _work(self) -> None:
        self.done.append(self.now)
        self.now += self.takes_seconds

    def until(self, moment: float) -> None:
        """Let time pass."""
        while self.due and self.due[0][0] <= moment:
            self.now, act = self.due.pop(0)
            act()
        self.now = max(self.now, moment)


def test_what_takes_no_time_is_done_whenever_it_is_asked_for() -> None:
    world = World(0.0)
    for _ask in range(3):
        world.paced.ask()
    assert world.done == [100.0] * 3


def test_many_are_served_at_once_after_a_rest() -> None:
    world = World(0.1)
    for _ask in range(10):
        world.paced.ask()
    assert world.done == [100.0]
    world.until(100.55)
    assert world.done == [100.0]
    world.until(100.7)
    assert world.done == [100.0, pytest.approx(100.6)]
    world.until(102.0)
    assert len(world.done) == 2
    world.paced.ask()
    assert world.done[-1] == 102.0


def test_a_storm_takes_a_sixth_of_all_time() -> None:
    world = World(0.1)
    while world.now < 160.0:
        world.paced.ask()
        world.until(world.now + 0.01)
    assert len(world.done) * 0.1 == pytest.approx(60.0 / 6, rel=0.05)


def test_a_failure_is_the_askers_and_it_goes_on() -> None:
    def fail() -> None:
        raise ValueError("no")

    paced = Paced(fail, lambda: 100.0)
    for _ask in range(2):
        with pytest.raises(ValueError, match="no"):
            paced.ask()
