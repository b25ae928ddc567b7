"""How is one gateway tried under one fault? Engines first, then the gateway, then arrivals; all is ended afterwards."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec

from bench.churn.network import NoNamespace, network_of_its_own
from bench.churn.pool import Pool
from bench.churn.readiness import await_probes
from bench.churn.results import Trial
from bench.churn.run import Run
from bench.cores import bound_to
from bench.processes import NotStarted, run_gateway
from bench.upstream import event_loop_factory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.churn.faults import Fault
    from bench.churn.peers import Contender
    from bench.churn.run import Load
    from bench.cores import Cores

__all__ = ["ENGINES", "run_trial"]

ENGINES = 4


def run_trial(
    contender: Contender,
    fault: Fault,
    load: Load,
    interpreter: Path,
    cores: Cores,
    on_second: Callable[[str], None],
) -> Trial:
    """Try one gateway. What keeps it from being tried is told in the trial's note.

    Args:
        contender: the gateway.
        fault: what goes wrong.
        load: what arrives.
        interpreter: of the gateway's environment.
        cores: who runs where.
        on_second: told each second how far it is.
    """
    try:
        with network_of_its_own() if fault.in_namespace else nullcontext():
            return _tried(contender, fault, load, interpreter, cores, on_second)
    except (NotStarted, NoNamespace) as error:
        name = contender.gateway.name
        return Trial(name, fault.name, load.rate, load.seconds, load.seed, note=f"not measured: {error}")


def _tried(
    contender: Contender,
    fault: Fault,
    load: Load,
    interpreter: Path,
    cores: Cores,
    on_second: Callable[[str], None],
) -> Trial:
    with (
        tempfile.TemporaryDirectory(prefix="gateway-churn-") as folder,
        bound_to(cores.load),
        asyncio.Runner(loop_factory=event_loop_factory) as runner,
        _engines(runner, Pool(ENGINES, cores.upstreams, Random(load.seed), vanishing=fault.in_namespace)) as pool,
        run_gateway(contender.gateway, interpreter, Path(folder), pool.running, cores) as running,
        _quiet_collector(),
    ):
        judged = contender.gateway.requirement is not None or await_probes(running.port)
        trial = runner.run(Run(contender, running.port, fault, load, pool, on_second).run())
        unready = "" if judged else "not all engines had been tried for continuation when it began"
        told = [part for part in (trial.note, unready, *pool.fallen(), running.last_words()) if part]
        return msgspec.structs.replace(trial, note="; ".join(told))


@contextmanager
def _engines(runner: asyncio.Runner, pool: Pool) -> Iterator[Pool]:
    try:
        runner.run(pool.start())
        yield pool
    finally:
        runner.run(pool.close())


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """What is there already is not looked through again while we measure."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
