"""How do requests and faults come at a gateway? Side by side, on one clock, none waiting for another."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from bench.churn.ceiling import ceiling
from bench.churn.client import Attempt, Caller, Fared
from bench.churn.delivery import GAP_SECONDS
from bench.churn.faults import timetable
from bench.churn.figures import examples_of, felt_of, gaps_of, slowest_of, spread, tallies_of
from bench.churn.judge import Fate
from bench.churn.kinds import STREAMED, draw_ask
from bench.churn.results import Trial
from bench.churn.words import LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.churn.faults import Fault
    from bench.churn.kinds import Ask, Kind
    from bench.churn.peers import Contender
    from bench.churn.pool import Pool

__all__ = ["Load", "Run"]

_WHOLE_SECONDS = LENGTH * GAP_SECONDS
_WARM_SECONDS = 3.0
_LEAD_SECONDS = 0.1
_PATIENCE_SECONDS = 40.0
_LAST_SECONDS = 90.0
"""After the last arrival, for what is still under way: requests that are asked again among them."""


@dataclass(frozen=True, slots=True)
class Load:
    """What arrives: so many requests a second on average, for so long, of these kinds; all chance from one seed."""

    rate: float
    seconds: float
    seed: int
    kinds: tuple[Kind, ...]


class Run:
    """One run against one gateway.

    Args:
        contender: the gateway, ``port`` where it listens.
        fault: what goes wrong.
        load: what arrives.
        pool: the engines.
        on_second: told each second how far it is.
    """

    def __init__(
        self,
        contender: Contender,
        port: int,
        fault: Fault,
        load: Load,
        pool: Pool,
        on_second: Callable[[str], None],
    ) -> None:
        kinds = [kind for kind in load.kinds if kind.name not in contender.lacks]
        random = Random(load.seed)
        self._name = contender.gateway.name
        self._fault = fault
        self._load = load
        self._pool = pool
        self._on_second = on_second
        self._hits = timetable(fault, load.seconds, pool.count, random)
        self._asks = _drawn(load.rate, load.seconds, kinds, random)
        self._warm = _drawn(load.rate, _WARM_SECONDS, kinds, random)
        self._caller = Caller(port, random, _PATIENCE_SECONDS, is_rewritten=contender.gateway.rewritten)
        self._came = 0

    async def run(self) -> Trial:
        """Warm up, run, and count."""
        warm = await self._arrive(self._warm)
        began = time.monotonic()
        self._came = 0
        async with asyncio.TaskGroup() as group:
            group.create_task(self._strike())
            telling = group.create_task(self._tell())
            fared = await self._arrive(self._asks)
            telling.cancel()
        await self._pool.settled()
        return self._trial(fared, began, examples_of(warm))

    async def _arrive(self, asks: Sequence[tuple[float, Ask]]) -> list[Fared]:
        """Let requests come when they are due, answered or not, and wait for the last."""
        loop = asyncio.get_running_loop()
        start = loop.time() + _LEAD_SECONDS
        tasks = []
        for due, ask in asks:
            await asyncio.sleep(start + due - loop.time())
            tasks.append(asyncio.create_task(self._caller.ask(ask, due)))
            self._came += 1
        if tasks:
            _done, pending = await asyncio.wait(tasks, timeout=_LAST_SECONDS)
            for task in pending:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return [_fared(result, *asked) for result, asked in zip(results, asks, strict=True)]

    async def _strike(self) -> None:
        """Do to the engines what the timetable says."""
        loop = asyncio.get_running_loop()
        start = loop.time() + _LEAD_SECONDS
        deeds = [(hit.begins_seconds, self._fault.begins, hit.slot) for hit in self._hits]
        deeds += [(hit.ends_seconds, self._fault.ends, hit.slot) for hit in self._hits]
        for moment, deed, slot in sorted(deeds, key=lambda planned: planned[0]):
            await asyncio.sleep(start + moment - loop.time())
            self._pool.do(deed, slot)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._on_second(f"{self._fault.name}, {self._name}: {self._came} of {len(self._asks)} came")

    def _trial(self, fared: list[Fared], began: float, warm_problems: list[str]) -> Trial:
        streams = [(due, ask.expected.steps * GAP_SECONDS) for due, ask in self._asks if ask.kind.name in STREAMED]
        backs = [back for back in self._pool.backs() if back.ready_seconds > began and back.asked_seconds is not None]
        problems = "; ".join(warm_problems)
        return Trial(
            self._name,
            self._fault.name,
            self._load.rate,
            self._load.seconds,
            self._load.seed,
            hits=len(self._hits),
            ceiling=ceiling(self._fault, self._hits, streams, self._pool.count),
            tallies=tallies_of(fared),
            seams=spread(gaps_of(fared, GAP_SECONDS)),
            felt=spread(felt_of(fared, self._hits, _WHOLE_SECONDS, GAP_SECONDS)) if self._hits else None,
            back=spread([(back.asked_seconds or 0.0) - back.ready_seconds for back in backs]),
            examples=examples_of(fared),
            slowest=slowest_of(fared),
            note=f"before the first fault: {problems}" if problems else "",
        )


def _drawn(rate: float, seconds: float, kinds: Sequence[Kind], random: Random) -> list[tuple[float, Ask]]:
    return [(due, draw_ask(number, kinds, random)) for number, due in enumerate(_poisson(rate, seconds, random))]


def _poisson(rate: float, seconds: float, random: Random) -> Iterator[float]:
    """Moments at which independent clients come: gaps of an exponential distribution."""
    moment = random.expovariate(rate)
    while moment < seconds:
        yield moment
        moment += random.expovariate(rate)


def _fared(result: Fared | BaseException, due_seconds: float, ask: Ask) -> Fared:
    """How a request fared; one that was given up at the very end is late.

    Raises:
        BaseException: whatever else went wrong in this program.
    """
    if isinstance(result, asyncio.CancelledError):
        late = Attempt(Fate.LATE, "given up at the end of the run", 0, None, _LAST_SECONDS)
        return Fared(ask, due_seconds, late, late, 1)
    if isinstance(result, BaseException):
        raise result
    return result
