"""How is it tried? Each request is answered in peace, and once more while the server that answers it is killed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Final, Protocol

from bench.identical.answer import Answer, differences, read_answer
from bench.identical.cases import CHAT, stop_in, with_stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.identical.cases import Case
    from bench.identical.site import Heard, Site

__all__ = ["Cut", "Trial", "Watcher", "choose_cut", "run_trials"]

_AT_A_TIME: Final = 2
"""How many are answered in peace at a time: one for each server."""
_MOST_TRIES: Final = 3
"""How often one is asked that is over before its server is killed, as it came faster than it did in peace."""


@dataclass(frozen=True, slots=True)
class Cut:
    """When a server is killed: ``delay_seconds`` after ``events`` events were read."""

    events: int
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One request, answered twice.

    Attributes:
        case: what was asked.
        expected: the answer in peace.
        events: how many events that had.
        cut: when the server was killed.
        was_cut: whether it was, before the stream's end.
        continuations: how often the gateway says that the stream went on elsewhere.
        gap_seconds: the longest time without an event, among those that ended after the kill.
        differences: in what the second answer is not the first; empty if it is.
        again: in what a third answer, in peace, is not the first: then the model server itself is unsteady. Asked for
            only where the second one differs.
    """

    case: Case
    expected: Answer
    events: int
    cut: Cut
    was_cut: bool
    continuations: int
    gap_seconds: float
    differences: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)


class Watcher(Protocol):
    """Is told how far it is."""

    def stage(self, text: str, count: int) -> None:
        """Something begins that has so many steps."""

    def step(self, words: str = "") -> None:
        """One of them is done; ``words`` are worth a line of their own."""


@dataclass(frozen=True, slots=True)
class _InPeace:
    """The first answer to a request, which by now has its stop string."""

    case: Case
    heard: Heard
    answer: Answer


async def run_trials(site: Site, cases: Sequence[Case], seed: int, watcher: Watcher) -> list[Trial]:
    """Try all requests.

    Raises:
        NotWell, EngineFailed: a server did not come back, or an answer in peace was refused.
    """
    watcher.stage("Answers in peace", len(cases))
    answered = await _all_in_peace(site, cases, seed, watcher)
    watcher.stage("The same, cut", len(cases))
    trials = []
    for first in answered:
        trial = await _cut_short(site, first, seed)
        words = "; ".join(trial.differences[:1])
        watcher.step(f"request {trial.case.number} ({trial.case.kind}): {words}" if words else "")
        trials.append(trial)
    return trials


def choose_cut(times: Sequence[float], events: int, random: Random) -> Cut:
    """Draw the moment at which a server is killed: at any time between its first event and its last but one.

    Args:
        times: when each event of the answer in peace came.
        events: how many of them bear text, or the role: those after them come with the last of these.
        random: draws.
    """
    after = random.randint(1, max(1, events - 1))
    gap = times[after] - times[after - 1] if after < len(times) else 0.0
    return Cut(after, random.random() * gap)


async def _all_in_peace(site: Site, cases: Sequence[Case], seed: int, watcher: Watcher) -> list[_InPeace]:
    room = asyncio.Semaphore(_AT_A_TIME)
    try:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(_in_peace(site, case, seed, room, watcher)) for case in cases]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None  # the others came of it, or say the same
    return [task.result() for task in asked]


async def _in_peace(site: Site, case: Case, seed: int, room: asyncio.Semaphore, watcher: Watcher) -> _InPeace:
    async with room:
        heard = await site.ask(case)
        answer = read_answer(heard.data, chat=case.path == CHAT)
        if case.wants_stop:
            case = with_stop(case, stop_in(answer.text, Random(f"{seed} stop {case.number}")))
            heard = await site.ask(case)
            answer = read_answer(heard.data, chat=case.path == CHAT)
    watcher.step()
    return _InPeace(case, heard, answer)


async def _cut_short(site: Site, first: _InPeace, seed: int) -> Trial:
    random = Random(f"{seed} cut {first.case.number}")
    trial = await _tried(site, first, random)
    tries = 1
    while not trial.was_cut and not trial.differences and tries < _MOST_TRIES:
        trial = await _tried(site, first, random)
        tries += 1
    if not trial.differences:
        return trial
    again = read_answer((await site.ask(first.case)).data, chat=first.case.path == CHAT)
    return replace(trial, again=differences(first.answer, again))


async def _tried(site: Site, first: _InPeace, random: Random) -> Trial:
    case, in_peace = first.case, first.heard
    endings = 1 + len(first.answer.finishes) + len(first.answer.figures)
    cut = choose_cut(in_peace.times, len(in_peace.data) - endings, random)
    before = await site.continuations()
    killing = _Killing(site, cut)
    heard = await site.ask(case, killing.on_event)
    was_cut = await killing.end(heard.server_id)
    await site.wait_until_well()
    return Trial(
        case=case,
        expected=first.answer,
        events=len(in_peace.data),
        cut=cut,
        was_cut=was_cut,
        continuations=await site.continuations() - before,
        gap_seconds=_longest_gap(heard.times, killing.killed_at),
        differences=differences(first.answer, read_answer(heard.data, chat=case.path == CHAT)),
    )


class _Killing:
    """Kills the server that answers, at its time, and starts it again once the stream goes on."""

    def __init__(self, site: Site, cut: Cut) -> None:
        self._site = site
        self._cut = cut
        self._timer: asyncio.TimerHandle | None = None
        self.killed_at = 0.0
        self._started = False

    def on_event(self, server_id: str, events: int) -> None:
        """Take note of how many events have come."""
        engine = self._site.engines[server_id]
        if self.killed_at:
            if not self._started:
                self._started = True
                engine.start()
        elif self._timer is None and events >= self._cut.events:
            self._timer = asyncio.get_running_loop().call_later(self._cut.delay_seconds, self._kill, server_id)

    async def end(self, server_id: str) -> bool:
        """The stream is over: see that the server runs, and tell whether it was killed."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.killed_at:
            return False
        engine = self._site.engines[server_id]
        if not self._started:
            engine.start()
        await engine.wait_ready()
        return True

    def _kill(self, server_id: str) -> None:
        self._site.engines[server_id].kill()
        self.killed_at = time.perf_counter()


def _longest_gap(times: Sequence[float], killed_at: float) -> float:
    gaps = [later - earlier for earlier, later in pairwise(times) if later > killed_at]
    return max(gaps, default=0.0) if killed_at else 0.0
