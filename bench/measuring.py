"""How is one round of one work measured on one gateway? By counts and clocks before and after a time of steady load."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from bench.closed_loop import ClosedLoop, until
from bench.measure import cpu_seconds, resident_kilobytes
from bench.open_loop import OpenLoop, RateNotHeld
from bench.samples import Sample
from bench.sites import KEY
from bench.works import Kind, Work
from bench.wrong import AnswerWrong

if TYPE_CHECKING:
    import ssl

__all__ = ["Target", "measure"]

_OPEN_SECONDS = 15.0
_FIRST_SECONDS = 6.0
_STALL_MEAN_EVENTS = 20
_EVENTS_WHEN_OPEN = 2
_FULL = 0.97
_IDLE = 0.1
"""A gateway that takes less of its core while nothing comes is not slow: it has lost what it was asked."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is measured.

    Attributes:
        gateway: its name.
        port: where it listens on 127.0.0.1.
        pid: the root of its process tree; None when an upstream is asked directly.
        rewritten: whether it writes answers anew.
        tls: how to speak TLS with it; None for plain TCP.
        load_pids: the upstreams' processes, if they share the core of the load generator.
    """

    gateway: str
    port: int
    pid: int | None
    rewritten: bool = False
    tls: ssl.SSLContext | None = None
    load_pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Moment:
    """What the clocks and counters say."""

    time: float
    cpu: float | None
    load_cpu: float
    answers: int
    events: int


async def measure(work: Work, target: Target, round_number: int, seconds: float) -> Sample:
    """Measure one round. A wrong answer is in the sample, and raises nothing."""
    try:
        match work.kind:
            case Kind.SATURATION | Kind.STREAMS:
                return await _closed(work, target, round_number, seconds)
            case Kind.RATE:
                return await _at_rate(work, target, round_number, seconds)
            case Kind.MEMORY:
                return await _memory(work, target, round_number)
            case _:
                assert_never(work.kind)
    except AnswerWrong as error:
        return Sample(target.gateway, work.name, round_number, wrong=1, first_wrong=str(error))
    except TimeoutError:
        note = f"opens less than {work.connections} connections in {_OPEN_SECONDS:g} s"
        return Sample(target.gateway, work.name, round_number, note=note)


def _loop_for(work: Work, target: Target) -> ClosedLoop:
    requests = work.requests(KEY, target.port)
    return ClosedLoop(target.port, work.answer, requests, work.connections, rewritten=target.rewritten, tls=target.tls)


async def _closed(work: Work, target: Target, round_number: int, seconds: float) -> Sample:
    async with _loop_for(work, target) as load:
        await load.open_all(work.ramp_seconds)
        begun = await until(lambda: bool(load.wrong) or load.with_events(1) >= work.connections, _FIRST_SECONDS)
        waiting = 0 if begun else work.connections - load.with_events(1)
        before_each = load.progress()
        before = _now(target, load.answers, load.events)
        await asyncio.sleep(seconds)
        after = _now(target, load.answers, load.events)
        stalled = load.stalled(before_each, _STALL_MEAN_EVENTS)
        wrong, first_wrong = load.wrong, load.first_wrong
    lasted, answers, events = after.time - before.time, after.answers - before.answers, after.events - before.events
    count, unit = (events, "event") if work.kind is Kind.STREAMS else (answers, "request")
    figures = {f"{unit}s_per_second": count / lasted, **_cpu(before, after, count, unit)} if count else {}
    note = _silence(work, max(stalled, waiting), count, seconds)
    if note and not wrong and _is_idle(before, after):
        wrong, first_wrong, note = 1, f"{note}, and the gateway did nothing", ""
    if not note and figures.get("load_busy", 0) > _FULL:
        note = "the load's core was full: requests/s are its limit"
    return Sample(
        target.gateway, work.name, round_number, figures, answers, events, wrong, first_wrong, note, is_last=not begun
    )


def _silence(work: Work, silent: int, count: int, seconds: float) -> str:
    """What did not come, if anything."""
    if not count:
        return f"nothing came within {seconds:g} s"
    return f"{silent} of {work.connections} connections got nothing for seconds" if silent else ""


def _is_idle(before: _Moment, after: _Moment) -> bool:
    """Whether a gateway, or an upstream asked directly, has no reason for its silence."""
    if before.cpu is None or after.cpu is None:
        return True
    return after.cpu - before.cpu < _IDLE * (after.time - before.time)


async def _at_rate(work: Work, target: Target, round_number: int, seconds: float) -> Sample:
    requests = work.requests(KEY, target.port)

    def load() -> OpenLoop:
        return OpenLoop(target.port, work.answer, requests, work.rate, rewritten=target.rewritten)

    try:
        await load().run(work.ramp_seconds)
        measured = load()
        before = _now(target, 0, 0)
        await measured.run(seconds)
    except RateNotHeld as error:
        return Sample(target.gateway, work.name, round_number, note=str(error))
    after = _now(target, measured.answers, measured.answers)
    ordered = sorted(measured.latencies)
    figures = _cpu(before, after, measured.answers, "request")
    if ordered:
        figures |= {f"p{share}_ms": _percentile(ordered, share) * 1000 for share in (50, 90, 99)}
    return Sample(
        target.gateway,
        work.name,
        round_number,
        figures,
        measured.answers,
        measured.answers,
        measured.wrong,
        measured.first_wrong,
    )


async def _memory(work: Work, target: Target, round_number: int) -> Sample:
    """Open streams until each has got events, and see how much more memory the gateway has."""
    if target.pid is None:
        return Sample(target.gateway, work.name, round_number, note="no gateway, no memory")
    idle = resident_kilobytes(target.pid)
    async with _loop_for(work, target) as load:
        await asyncio.wait_for(load.open_all(work.ramp_seconds), _OPEN_SECONDS)
        await until(lambda: bool(load.wrong) or load.with_events(_EVENTS_WHEN_OPEN) >= work.connections, _OPEN_SECONDS)
        reached = load.with_events(_EVENTS_WHEN_OPEN)
        loaded = resident_kilobytes(target.pid)
        wrong, first_wrong = load.wrong, load.first_wrong
    if reached < work.connections:
        note = f"opens {reached} of {work.connections} streams in {_OPEN_SECONDS:g} s"
        return Sample(target.gateway, work.name, round_number, {}, 0, 0, wrong, first_wrong, note)
    figures = {}
    if idle is not None and loaded is not None:
        figures = {"kilobytes_per_stream": (loaded - idle) / reached, "idle_megabytes": idle / 1024}
    return Sample(target.gateway, work.name, round_number, figures, 0, reached, wrong, first_wrong)


def _now(target: Target, answers: int, events: int) -> _Moment:
    cpu = None if target.pid is None else cpu_seconds(target.pid)
    upstreams = sum([cpu_seconds(pid) or 0.0 for pid in target.load_pids])
    return _Moment(time.perf_counter(), cpu, time.process_time() + upstreams, answers, events)


def _cpu(before: _Moment, after: _Moment, count: int, unit: str) -> dict[str, float]:
    lasted = after.time - before.time
    figures = {"load_busy": (after.load_cpu - before.load_cpu) / lasted}
    if before.cpu is not None and after.cpu is not None and count:
        figures[f"cpu_us_per_{unit}"] = (after.cpu - before.cpu) * 1e6 / count
        figures["gateway_busy"] = (after.cpu - before.cpu) / lasted
    return figures


def _percentile(ordered: list[float], share: int) -> float:
    """The smallest value that so many of a hundred do not exceed."""
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]
