"""What becomes of requests for many models on one server with memory for few? A laptop under a clock of its own.

One line for all: the first in it waits for its model, and whatever stands behind waits too. Nothing that runs is cut; a
model that is not used makes room for another. So it does what it is asked in turn, and loads for each change of model.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from app.services.core.live.residence import Residence

__all__ = ["Gateway", "Job", "SimulatedLaptop", "may_take", "mean_wait"]

STEP_SECONDS = 0.1
TOLD_EVERY_STEPS = 100


@dataclass(eq=False)
class Job:
    """One request: for which model, when it comes, how long it runs."""

    model: str
    asked_at: float
    runs_seconds: float
    began_at: float | None = None
    ended_at: float | None = None

    @property
    def waited_seconds(self) -> float:
        assert self.began_at is not None, "it never began"
        return self.began_at - self.asked_at


@dataclass
class SimulatedLaptop:
    """The engine. ``sizes``: how much memory each model takes; ``load_seconds``: how long it loads."""

    sizes: Mapping[str, int]
    memory: int = 1
    load_seconds: float = 10.0
    parallel: int = 2
    loads: list[str] = field(default_factory=list)
    loaded: dict[str, float] = field(default_factory=dict)  # until when it is being loaded
    used: dict[str, float] = field(default_factory=dict)
    line: deque[Job] = field(default_factory=deque)
    running: list[Job] = field(default_factory=list)

    def step(self, now: float) -> None:
        self.running = [job for job in self.running if job.ended_at is None or job.ended_at > now]
        while self.line and self._admit(self.line[0], now):
            self.line.popleft()

    def _admit(self, job: Job, now: float) -> bool:
        if job.model not in self.loaded and not self._make_room(job.model):
            return False
        if job.model not in self.loaded:
            self.loads.append(job.model)
            self.loaded[job.model] = now + self.load_seconds
        self.used[job.model] = now
        if self.loaded[job.model] > now or self._count(job.model) >= self.parallel:
            return False
        job.began_at, job.ended_at = now, now + job.runs_seconds
        self.running.append(job)
        return True

    def _make_room(self, model: str) -> bool:
        idle = sorted((name for name in self.loaded if not self._count(name)), key=lambda name: self.used[name])
        while sum(self.sizes[name] for name in (*self.loaded, model)) > self.memory:
            if not idle:
                return False
            del self.loaded[idle.pop(0)]
        return True

    def _count(self, model: str) -> int:
        return sum(job.model == model for job in self.running)


@dataclass
class Gateway:
    """Sends jobs to a laptop, held back by a residence or not. Who waits asks ten times a second.

    ``told_late_steps``: how old the lists are that the residence is told. ``watch``: called after each step.
    """

    laptop: SimulatedLaptop
    residence: Residence | None
    told_late_steps: int = 0
    watch: Callable[[Gateway], None] | None = None
    cold_starts: int = 0
    now: float = 0.0
    open_jobs: list[Job] = field(default_factory=list)
    _lists: dict[int, frozenset[str]] = field(default_factory=dict)

    def serve(self, jobs: Iterable[Job], *, at_most_seconds: float) -> list[Job]:
        """Let requests come until all have ended; return them in the order that they came in."""
        everybody = sorted(jobs, key=lambda job: job.asked_at)
        to_come, waiting, step = deque(everybody), deque[Job](), 0
        while to_come or waiting or self.open_jobs:
            self.now = step * STEP_SECONDS
            assert self.now <= at_most_seconds, f"{len(waiting)} wait, {len(self.open_jobs)} run"
            while to_come and to_come[0].asked_at <= self.now:
                waiting.append(to_come.popleft())
            self._end()
            waiting = deque(job for job in waiting if not self._send(job))
            self.laptop.step(self.now)
            self._hear(step)
            if self.watch is not None:
                self.watch(self)
            step += 1
        return everybody

    def _send(self, job: Job) -> bool:
        if self.residence is not None:
            if not may_take(self.residence, job.model, self.now):
                return False
            was_loading = self.residence.loading_since(job.model) is not None
            self.residence.take(job.model, self.now)
            self.cold_starts += not was_loading and self.residence.loading_since(job.model) is not None
        self.laptop.line.append(job)
        self.open_jobs.append(job)
        return True

    def _hear(self, step: int) -> None:
        if self.residence is None:
            return
        for job in self.open_jobs:
            if job.began_at == self.now:
                self.residence.began(job.model, self.now)
        self._lists[step] = frozenset(self.laptop.loaded)
        listed = self._lists.pop(step - self.told_late_steps, None)
        if listed is not None and step % TOLD_EVERY_STEPS == 0:
            self.residence.told(listed, self.now)

    def _end(self) -> None:
        for job in [job for job in self.open_jobs if job.ended_at is not None and job.ended_at <= self.now]:
            self.open_jobs.remove(job)
            if self.residence is not None:
                self.residence.give_back(job.model, self.now)


def may_take(residence: Residence, model: str, now: float) -> bool:
    """Ask for a model's turn as one does that waits for no other server: if it is not its turn, the wait is noted."""
    if residence.is_open(model, now):
        return True
    residence.wish(model, now)
    return False


def mean_wait(jobs: Iterable[Job]) -> float:
    return statistics.fmean(job.waited_seconds for job in jobs)
