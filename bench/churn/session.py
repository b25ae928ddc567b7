"""In which order is all tried? Fault by fault, each gateway under the same arrivals and the same faults."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from bench.churn.delivery import GAP_SECONDS
from bench.churn.results import ChurnResults, Trial
from bench.churn.run import Load
from bench.churn.trial import ENGINES, run_trial
from bench.churn.words import LENGTH
from bench.cores import choose_cores
from bench.install import NotInstalled, install
from bench.results import describe_machine, our_versions, today

if TYPE_CHECKING:
    from pathlib import Path

    from bench.churn.faults import Fault
    from bench.churn.kinds import Kind
    from bench.churn.peers import Contender

__all__ = ["Plan", "Watcher", "joined", "run_session"]

_AROUND_SECONDS = 12.0
"""What a trial takes besides its arrivals: starts, warm-up, the last answers."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be tried."""

    contenders: tuple[Contender, ...]
    faults: tuple[Fault, ...]
    kinds: tuple[Kind, ...]
    seconds: float
    rate: float
    seed: int
    peers_folder: Path

    def load_of(self, contender: Contender) -> Load:
        """What arrives at a gateway: fewer requests at one that could not hold them, for as long."""
        rate = min(self.rate, contender.most_rate or self.rate)
        return Load(rate, self.seconds, self.seed, self.kinds)

    def expected_seconds(self, fault: Fault) -> float:
        """About how long one trial takes."""
        return self.seconds + _AROUND_SECONDS + (fault.lasts_seconds if fault.victims else 0)

    @property
    def total_seconds(self) -> float:
        """About how long all of it takes, without the peers' installation."""
        return sum([self.expected_seconds(fault) for fault in self.faults]) * len(self.contenders)

    @property
    def command(self) -> str:
        """How the same is tried again."""
        gateways = ",".join(contender.gateway.name for contender in self.contenders)
        faults = ",".join(fault.name for fault in self.faults)
        kinds = ",".join(kind.name for kind in self.kinds)
        numbers = f"--seconds {self.seconds:g} --rate {self.rate:g} --seed {self.seed}"
        return f"scripts/churn --gateway {gateways} --fault {faults} --kinds {kinds} {numbers}"


class Watcher(Protocol):
    """Is told how far it is."""

    def stage(self, text: str, seconds: float = 0.0) -> None:
        """Something begins, or goes on; so many seconds more are over."""

    def tried(self, trial: Trial) -> None:
        """A trial is done."""


def run_session(plan: Plan, watcher: Watcher) -> ChurnResults:
    """Install, start, try, end."""
    began, machine = time.monotonic(), describe_machine()
    missing: dict[str, str] = {}
    interpreters = _install(plan, missing, watcher)
    cores = choose_cores()
    trials: list[Trial] = []
    for fault in plan.faults:
        for contender in plan.contenders:
            interpreter = interpreters.get(contender.gateway.name)
            if interpreter is None:
                continue
            watcher.stage(f"Starting {contender.gateway.title} for {fault.name}", _AROUND_SECONDS)
            load = plan.load_of(contender)
            trial = run_trial(contender, fault, load, interpreter, cores, lambda text: watcher.stage(text, 1.0))
            watcher.tried(trial)
            trials.append(trial)
    gateways = [contender.gateway for contender in plan.contenders]
    return ChurnResults(
        date=today(),
        command=plan.command,
        machine=machine,
        cores=cores.words,
        titles={gateway.name: gateway.title for gateway in gateways},
        versions={gateway.name: gateway.requirement or our_versions() for gateway in gateways},
        missing=missing,
        trials=trials,
        engines=ENGINES,
        length=LENGTH,
        gap_ms=1000 * GAP_SECONDS,
        seconds=round(time.monotonic() - began, 1),
    )


def joined(parts: list[ChurnResults]) -> ChurnResults:
    """Put the results of several runs together: of one gateway under one fault, the last trial counts.

    Args:
        parts: at least one, in the order in which they were made. Where it was measured is taken from the last.
    """
    trials = {(trial.fault, trial.gateway): trial for part in parts for trial in part.trials}
    measured = {gateway for _fault, gateway in trials}
    missing = {name: reason for part in parts for name, reason in part.missing.items() if name not in measured}
    return msgspec.structs.replace(
        parts[-1],
        command="\n".join(dict.fromkeys(part.command for part in parts)),
        titles={name: title for part in parts for name, title in part.titles.items()},
        versions={name: words for part in parts for name, words in part.versions.items()},
        missing=missing,
        trials=list(trials.values()),
        seconds=round(sum([part.seconds for part in parts]), 1),
    )


def _install(plan: Plan, missing: dict[str, str], watcher: Watcher) -> dict[str, Path]:
    found = {}
    for contender in plan.contenders:
        gateway = contender.gateway
        watcher.stage(f"Installing {gateway.requirement}" if gateway.requirement else "Looking at ours")
        try:
            found[gateway.name] = install(gateway, plan.peers_folder)
        except NotInstalled as error:
            missing[gateway.name] = str(error)
    return found
