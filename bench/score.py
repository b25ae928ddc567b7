"""What does the choice of a server cost? Microseconds a decision, for small and large pools. ``python -m bench.score``.

Pure calculation in one process: ``plan`` over a made-up pool, thousands of times. Each figure is the least of several
runs of processor time, for whatever else the machine does can only add to it. ``--against`` measures another copy of
this repository in the same way, in turn with this one, and puts the figures side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.services.core.choice.snapshot import Snapshot
    from app.services.core.live.board import Board, Lane
    from app.services.core.prompt.demand import Demand

    Figures = Mapping[str, Mapping[str, float | None]]

__all__ = ["CASES", "GOALS", "SIZES", "main", "measure"]

SIZES: Final = (2, 10, 100, 1000)
GOALS: Final = {10: 3.0, 1000: 10.0}
"""Microseconds a decision may take, by the number of servers."""
NOW: Final = 1000.0
_MODEL: Final = "llama"
_SECONDS: Final = 0.02
_OTHER_SECONDS: Final = 600


@dataclass(frozen=True)
class Case:
    """One kind of pool, and what requests demand of it. ``usual``: whether the goals hold for it."""

    name: str
    words: str
    usual: bool = True


CASES: Final = (
    Case("idle", "equals, nobody busy"),
    Case("even", "equals, each with 2 or 3 requests"),
    Case("weights", "weights of 1, 2 and 3"),
    Case("retry", "a first attempt has failed"),
    Case("homes", "a request that a server knows the beginning of; each has 2 or 3 others"),
    Case("crowded home", "the same, but that server is too busy: its session and its prefix are looked at in vain"),
    Case("context", "a long prompt that one of two servers surely has room for"),
    Case("rare context", "a long prompt that one of ten servers surely has room for (of 2: one)"),
    Case("foreign", "every engine told of foreign requests"),
    Case("trouble", "one of three ejected, cooling or suspect"),
    Case("ramping", "all came back ten seconds ago", usual=False),
    Case("warm and cold", "one of two has the model in memory"),
    Case("cold", "none has it in memory, one is loading it"),
    Case("swapping", "all swap models, all have this one in memory"),
    Case("all ejected", "nobody may be taken: a look at each server", usual=False),
)


def measure(case: Case, size: int, rounds: int, *, lenient: bool = False) -> float | None:
    """Return the least microseconds a decision took; None, if ``lenient``, where this code cannot be asked that."""
    try:
        snapshot, board, demand, tried = _pool(case.name, size)
        decide = _decision(snapshot, board, demand, tried)
        decide()
    except (ImportError, AttributeError, TypeError):
        if not lenient:
            raise
        return None
    number = 1
    while (seconds := _timed(decide, number)) < _SECONDS and number < 1_000_000:
        number *= 2
    return min(seconds, *(_timed(decide, number) for _round in range(rounds))) / number * 1e6


def _decision(snapshot: Snapshot, board: Board, demand: Demand | None, tried: tuple[str, ...]) -> Callable[[], object]:
    plan = _part("choice.plan").plan
    random = Random(7).random
    if demand is None:
        return lambda: plan(_MODEL, snapshot, board, tried, NOW, random)
    return lambda: plan(_MODEL, snapshot, board, tried, NOW, random, None, demand)


def _part(name: str) -> Any:
    """Import a part of the core of whichever copy is measured; older ones have no rooms in it."""
    try:
        return import_module(f"app.services.core.{name}")
    except ModuleNotFoundError:
        return import_module(f"app.services.core.{name.rpartition('.')[2]}")


def _timed(decide: Callable[[], object], number: int) -> float:
    begun = time.process_time()
    for _decision in range(number):
        decide()
    return time.process_time() - begun


def _pool(case: str, size: int) -> tuple[Snapshot, Board, Demand | None, tuple[str, ...]]:
    """Make the servers of a case, what is known of them, and what is asked."""
    from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server  # noqa: PLC0415 - of that copy too

    build_snapshot, make_board = _part("choice.snapshot").build_snapshot, _part("live.board").Board
    servers = []
    for place in range(size):
        members: dict[str, object] = {"weight": 1.0 + place % 3} if case == "weights" else {}
        length = {"context": 65_536 if place % 2 else 8_192, "rare context": 65_536 if place % 10 == 1 else 8_192}
        models = [ModelEntry(_MODEL, _MODEL, length.get(case, 8_192))]
        if case in ("warm and cold", "cold"):
            members["loaded"] = frozenset({_MODEL} if case == "warm and cold" and place % 2 else ())
        elif case == "swapping":
            members |= {"swaps_models": True, "loaded": frozenset({_MODEL})}
            models.append(ModelEntry("other", "other"))
        endpoint = Endpoint("http", f"server-{place}", 8000)
        server = Server(f"server-{place}", endpoint, tuple(models), health=HealthStatus.HEALTHY, **members)  # type: ignore[arg-type]
        servers.append(server)
    snapshot, board = build_snapshot(servers), make_board()
    board.keep(snapshot.servers)
    for place, server in enumerate(servers):
        _befall(case, place, board.lane(server.id))
    if case == "cold":
        board.lane("server-0").in_flight = 1
        board.gather(_MODEL, "server-0")
    return snapshot, board, _demand(case), ("server-0",) if case == "retry" else ()


def _befall(case: str, place: int, lane: Lane) -> None:
    """Bring one lane into the state that the case is about."""
    lane.in_flight = 0 if case in ("idle", "cold") else 2 + place % 2
    if case == "crowded home" and place == 1:
        lane.in_flight = 50
    elif case == "ramping":
        lane.returned(NOW - 10.0)
    elif case == "foreign":
        from app.services.core.signals import Signals  # noqa: PLC0415 - not in every copy that is measured

        lane.told(Signals(running=5 + place % 4, waiting=1), NOW)
    elif case == "all ejected" or (case == "trouble" and place % 3 == 0):
        _trouble(lane, 0 if case == "all ejected" else place)


def _trouble(lane: Lane, place: int) -> None:
    from app.services.core.retry import Failure  # noqa: PLC0415 - of whichever copy is measured

    if place % 9 == 3:
        lane.cool(NOW, 5.0)
        return
    for _failure in range(5 if place % 9 == 0 else 1):
        lane.failed(Failure.FAILED, NOW, float, NOW)


def _demand(case: str) -> Demand | None:
    if case not in ("homes", "crowded home", "context", "rare context"):
        return None
    demands = _part("prompt.demand")
    if "context" in case:
        demand: Demand = demands.Demand(least_tokens=10_000, prompt_tokens=20_000, answer_tokens=1_000)
        return demand
    homes = demands.Home("server-1", 0, "session"), demands.Home("server-1", 20_000, "prefix")
    at_home: Demand = demands.Demand(homes=homes if case == "crowded home" else homes[1:])
    return at_home


def _figures(sizes: tuple[int, ...], rounds: int, *, lenient: bool) -> dict[str, dict[str, float | None]]:
    return {case.name: {str(size): measure(case, size, rounds, lenient=lenient) for size in sizes} for case in CASES}


def _of_another(folder: Path, rounds: int, sizes: tuple[int, ...]) -> dict[str, dict[str, float | None]]:
    """Have another copy of the repository measured by this very file."""
    command = [sys.executable, "-P", __file__, "--json", "--lenient", "--rounds", str(rounds)]
    command += ["--sizes", ",".join(map(str, sizes))]
    variables = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=_OTHER_SECONDS, check=False
    )
    if done.returncode:
        raise SystemExit(f"The copy in {folder} could not be measured: {done.stderr.strip()[-500:] or 'no reason'}")
    figures: dict[str, dict[str, float | None]] = json.loads(done.stdout)["microseconds"]
    return figures


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.score", description="Measure what the choice of a server costs."
    )
    parser.add_argument(
        "--rounds", type=int, default=9, metavar="N", help="the least of so many runs counts (default: 9)"
    )
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), metavar="N,N", help="numbers of servers")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another copy of the repository to compare with")
    parser.add_argument("--lenient", action="store_true", help="leave out what the code cannot be asked")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, and nothing else on stdout")
    options = parser.parse_args(arguments)
    try:
        options.sizes = tuple(int(size) for size in options.sizes.split(","))
    except ValueError:
        parser.error("--sizes takes numbers with commas between them, as in 10,1000")
    if min(options.sizes) < 2 or not 1 <= options.rounds <= 1000:
        parser.error("--sizes begin at 2, --rounds at 1 (at most 1000)")
    if options.against is not None and not (options.against / "app").is_dir():
        parser.error(f"{options.against} is no copy of the repository: it has no folder app")
    return options


def _table(sizes: tuple[int, ...], ours: Figures, others: Figures | None) -> Table:
    title = "Microseconds a decision" + (", the other copy's before the arrow" if others else "")
    table = Table("case", *(f"{size} servers" for size in sizes), "what it is", title=title)
    for case in CASES:
        cells = []
        for size in sizes:
            cell = _cell(ours[case.name][str(size)])
            before = "" if others is None else f"{_cell(others[case.name][str(size)])} > "
            cells.append(before + cell)
        table.add_row(case.name, *cells, case.words)
    return table


def _cell(microseconds: float | None) -> str:
    return "-" if microseconds is None else f"{microseconds:.2f}"


def _goal_words(figures: Figures) -> str:
    """Say whether the goals are met, and where they are missed."""
    missed = [
        f"{case.name} at {size} ({_cell(took)})"
        for case in CASES
        for size, most in GOALS.items()
        if case.usual and (took := figures[case.name].get(str(size))) is not None and took > most
    ]
    goals = ", ".join(f"{most:g} at {size} servers" for size, most in GOALS.items())
    unusual = ", ".join(case.name for case in CASES if not case.usual)
    return f"At most {goals}, but for {unusual}: {'missed by ' + ', '.join(missed) if missed else 'met'}."


def main(arguments: list[str] | None = None) -> int:
    """Measure and report; returns the exit code."""
    options = _options(arguments)
    folder = None if options.against is None else options.against.resolve()
    others = None if folder is None else _of_another(folder, options.rounds, options.sizes)
    ours = _figures(options.sizes, options.rounds, lenient=options.lenient)
    if options.json:
        document = {"rounds": options.rounds, "microseconds": ours}
        sys.stdout.write(json.dumps(document if others is None else {**document, "other": others}) + "\n")
        return 0
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(_table(options.sizes, ours, others))
    console.print(f"Processor time, the least of {options.rounds} runs: what else the machine did is left out.")
    console.print(_goal_words(ours))
    return 0


if __name__ == "__main__":
    sys.exit(main())
