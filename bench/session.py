"""In which order is all measured? Work by work, in rounds that go over all gateways, so that they share the weather."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from bench.cores import bound_to, choose_cores
from bench.fleet import Fleet
from bench.gateways import DIRECT
from bench.install import NotInstalled, install
from bench.measuring import Target, measure
from bench.processes import NotStarted, run_upstreams
from bench.results import Results, describe_machine, our_versions, today
from bench.samples import Sample
from bench.upstream import UPSTREAM_WORDS, event_loop_factory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.gateways import Gateway
    from bench.works import Work

__all__ = ["Plan", "Watcher", "measured", "run_session"]

_UPSTREAMS = 2
_START_SECONDS = 3.0
_AROUND_SECONDS = 0.4
"""What a round takes besides its own time: connections, pausing, a look at /proc."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured."""

    gateways: tuple[Gateway, ...]
    works: tuple[Work, ...]
    rounds: int
    quick: bool
    peers_folder: Path

    def seconds_of(self, work: Work) -> float:
        """How long one round of a work measures."""
        return work.quick_seconds if self.quick else work.seconds

    def rounds_of(self, work: Work) -> int:
        """How many rounds a work has."""
        return min(self.rounds, 1 if self.quick and work.fresh else work.most_rounds)

    def gateways_of(self, work: Work) -> tuple[Gateway, ...]:
        """Those that can do a work."""
        return tuple(gateway for gateway in self.gateways if gateway.tls or not work.tls)

    def expected_seconds(self, work: Work) -> float:
        """About how long one round of a work takes on one gateway."""
        around = _START_SECONDS if work.fresh else 0.0
        return work.ramp_seconds + self.seconds_of(work) + _AROUND_SECONDS + around

    @property
    def command(self) -> str:
        """How the same is measured again."""
        names = ",".join(gateway.name for gateway in self.gateways)
        works = ",".join(work.name for work in self.works)
        quick = " --quick" if self.quick else ""
        return f"scripts/bench{quick} --rounds {self.rounds} --only {names} --works {works}"

    @property
    def total_seconds(self) -> float:
        """About how long all of it takes, without the peers' installation and start."""
        return sum(
            [
                self.expected_seconds(work) * self.rounds_of(work) * (len(self.gateways_of(work)) + work.direct)
                for work in self.works
            ]
        )


class Watcher(Protocol):
    """Is told how far it is."""

    def stage(self, text: str, seconds: float = 0.0) -> None:
        """Something begins; what came before took about so long."""

    def measured(self, sample: Sample) -> None:
        """A round is done."""


def run_session(plan: Plan, watcher: Watcher) -> Results:
    """Install, start, measure, end.

    Raises:
        NotStarted: the upstreams can't be started.
    """
    began, machine = time.monotonic(), describe_machine()
    missing: dict[str, str] = {}
    interpreters = _install(plan, missing, watcher)
    cores = choose_cores()
    samples: list[Sample] = []
    with ExitStack() as stack:
        upstreams = stack.enter_context(run_upstreams(_UPSTREAMS, cores))
        stack.enter_context(bound_to(cores.load))
        fleet = Fleet(interpreters, upstreams, cores, stack)
        for work in plan.works:
            samples += _measure_work(work, plan, fleet, missing, watcher)
    return Results(
        date=today(),
        command=plan.command,
        rounds=plan.rounds,
        quick=plan.quick,
        cores=cores.words,
        machine=machine,
        titles={DIRECT: "direct, no gateway"} | {gateway.name: gateway.title for gateway in plan.gateways},
        versions={gateway.name: gateway.requirement or our_versions() for gateway in plan.gateways},
        works={work.name: work.title for work in plan.works},
        missing=missing,
        samples=_with_added(samples),
        seconds=round(time.monotonic() - began, 1),
        upstream_count=_UPSTREAMS,
        upstream_words=UPSTREAM_WORDS,
    )


def _install(plan: Plan, missing: dict[str, str], watcher: Watcher) -> dict[str, Path]:
    found = {}
    for gateway in plan.gateways:
        watcher.stage(f"Installing {gateway.requirement}" if gateway.requirement else "Looking at ours")
        try:
            found[gateway.name] = install(gateway, plan.peers_folder)
        except NotInstalled as error:
            missing[gateway.name] = str(error)
    return found


def _measure_work(work: Work, plan: Plan, fleet: Fleet, missing: dict[str, str], watcher: Watcher) -> list[Sample]:
    able = [gateway for gateway in plan.gateways_of(work) if gateway.name not in missing]
    samples = [] if work.fresh else _start(able, work, fleet, missing, watcher)
    unable = {sample.gateway for sample in samples} | set(missing)
    contenders = [gateway for gateway in able if gateway.name not in unable]
    given_up: set[str] = set()
    for number in range(1, plan.rounds_of(work) + 1):
        for contender in _rotated([*([None] if work.direct else []), *contenders], number - 1):
            name = contender.name if contender else DIRECT
            if name not in given_up:
                watcher.stage(f"{work.name}, round {number}: {name}")
                sample = _round(work, contender, fleet, number, plan.seconds_of(work))
                watcher.measured(sample)
                samples.append(sample)
                if not sample.figures or sample.wrong or sample.is_last:
                    given_up.add(name)  # it would fail again, and has to be started anew if it ended
            watcher.stage("", plan.expected_seconds(work))
    return samples


def _start(
    gateways: Sequence[Gateway], work: Work, fleet: Fleet, missing: dict[str, str], watcher: Watcher
) -> list[Sample]:
    """Start all that a work needs. One that can't be is missing; if that is for TLS, the work alone lacks it."""
    samples = []
    for gateway in gateways:
        if not fleet.stands(gateway, tls=work.tls):
            watcher.stage(f"Starting {gateway.title}{' with TLS' if work.tls else ''}")
        reason = fleet.start(gateway, tls=work.tls)
        if reason and work.tls:
            samples.append(Sample(gateway.name, work.name, 0, note=f"did not start with TLS: {reason}"))
        elif reason:
            missing[gateway.name] = reason
    return samples


def _round(work: Work, gateway: Gateway | None, fleet: Fleet, number: int, seconds: float) -> Sample:
    if gateway is None:
        return measured(work, fleet.direct, number, seconds)
    try:
        with fleet.measured(gateway, tls=work.tls, fresh=work.fresh) as member:
            sample = measured(work, member.target, number, seconds)
            ended = member.running.last_words()
    except NotStarted as error:
        return Sample(gateway.name, work.name, number, note=f"did not start anew: {error}")
    return msgspec.structs.replace(sample, wrong=max(1, sample.wrong), first_wrong=ended) if ended else sample


def measured(work: Work, target: Target, number: int, seconds: float) -> Sample:
    """Measure one round in an event loop of its own."""
    gc.collect()
    gc.freeze()  # what is there already is not looked through again while we measure
    try:
        with asyncio.Runner(loop_factory=event_loop_factory) as runner:
            return runner.run(measure(work, target, number, seconds))
    finally:
        gc.unfreeze()


def _rotated(contenders: Sequence[Gateway | None], by: int) -> list[Gateway | None]:
    """Another begins each round, so that no gateway always follows the same one."""
    start = by % len(contenders) if contenders else 0
    return [*contenders[start:], *contenders[:start]]


def _with_added(samples: list[Sample]) -> list[Sample]:
    """Put what a gateway adds to the latencies of the direct way, in the same round, beside its own."""
    direct = {(sample.work, sample.round): sample.figures for sample in samples if sample.gateway == DIRECT}
    for sample in samples:
        beside = direct.get((sample.work, sample.round), {})
        for share in ("p50", "p90", "p99"):
            if sample.gateway != DIRECT and f"{share}_ms" in sample.figures and f"{share}_ms" in beside:
                sample.figures[f"added_{share}_ms"] = sample.figures[f"{share}_ms"] - beside[f"{share}_ms"]
    return samples
