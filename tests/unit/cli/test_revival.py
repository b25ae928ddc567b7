"""Is a killed model server of the demo brought back in its place, and none any more once the demo ends?"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import cast

import pytest

from app.demo.children import ModelServer, ModelServerFailed, Started
from app.demo.revival import Revival

WAIT_SECONDS = 20


class Child:
    """Stands in for a process: it takes no signal and no time."""

    def __init__(self, pid: int, *, ends_at_once: bool = False, cannot_start: bool = False) -> None:
        self.pid = pid
        self.is_running = True
        self.ends_at_once = ends_at_once
        self.cannot_start = cannot_start
        self.let_go = False

    def kill(self) -> None:
        self.is_running = False

    def ask_to_stop(self) -> None:
        self.let_go = True

    def successor(self) -> Child:
        if self.cannot_start:
            raise OSError(24, "Too many open files")
        return Child(self.pid + 1, ends_at_once=False) if not self.ends_at_once else Failing(self.pid + 1)

    def wait_ready(self, timeout_seconds: float) -> Started:
        assert timeout_seconds > 0
        return Started(self.pid, "http://127.0.0.1:5001", "m")


class Failing(Child):
    def wait_ready(self, timeout_seconds: float) -> Started:
        raise ModelServerFailed(f"it ended within {timeout_seconds:g} s")


class Stage:
    """A revival, what it was given, and what it told."""

    def __init__(self, *children: Child, after_seconds: float = 0.0) -> None:
        self.children = list(children)
        self.back: queue.SimpleQueue[Started] = queue.SimpleQueue()
        self.lost: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.revival = Revival(
            cast("list[ModelServer]", self.children),
            lambda _child, started: self.back.put(started),
            lambda failure: self.lost.put(str(failure)),
            after_seconds=after_seconds,
        )
        for child in children:
            self.revival.serves(f"s{child.pid}", cast("ModelServer", child))
        self.revival.begin()


@pytest.fixture
def opened() -> Iterator[list[Stage]]:
    stages: list[Stage] = []
    yield stages
    for stage in stages:
        stage.revival.close()


def set_up(opened: list[Stage], *children: Child, after_seconds: float = 0.0) -> Stage:
    opened.append(Stage(*children, after_seconds=after_seconds))
    return opened[-1]


def test_one_that_was_killed_comes_back_in_its_place(opened: list[Stage]) -> None:
    first, second = Child(1), Child(10)
    stage = set_up(opened, first, second)
    assert stage.revival.killable("s1")
    stage.revival.kill("s1")
    assert stage.back.get(timeout=WAIT_SECONDS).pid == 2
    assert [child.pid for child in stage.children] == [2, 10]
    assert (first.is_running, first.let_go, second.is_running) == (False, True, True)
    assert stage.revival.killable("s1")
    stage.revival.kill("s1")
    assert stage.back.get(timeout=WAIT_SECONDS).pid == 3


def test_a_dead_or_unknown_one_can_not_be_killed(opened: list[Stage]) -> None:
    stage = set_up(opened, Child(1), after_seconds=WAIT_SECONDS)
    assert not stage.revival.killable("nobody")
    stage.revival.kill("nobody")
    stage.revival.kill("s1")
    assert not stage.revival.killable("s1")
    stage.revival.kill("s1")
    assert [child.pid for child in stage.children] == [1]


@pytest.mark.parametrize(
    ("child", "why"),
    [(Child(1, ends_at_once=True), "ended within"), (Child(1, cannot_start=True), "Too many open files")],
)
def test_one_that_does_not_come_back_is_told_of(opened: list[Stage], child: Child, why: str) -> None:
    stage = set_up(opened, child, Child(10))
    stage.revival.kill("s1")
    assert why in stage.lost.get(timeout=WAIT_SECONDS)
    assert not stage.revival.killable("s1")
    stage.revival.kill("s10")
    assert stage.back.get(timeout=WAIT_SECONDS).pid == 11


def test_none_comes_back_once_the_demo_ends(opened: list[Stage]) -> None:
    stage = set_up(opened, Child(1), after_seconds=WAIT_SECONDS)
    stage.revival.kill("s1")
    stage.revival.close()
    for thread in [thread for thread in threading.enumerate() if thread.name == "demo-revival"]:
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive()
    assert [child.pid for child in stage.children] == [1]
    assert stage.back.empty()
