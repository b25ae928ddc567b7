"""Does the gateway return to where it was, after minutes of clients that come and leave at random?

``python -m bench.soak`` starts a gateway with default settings and two model servers that sometimes break off, finds
the rate that keeps the busiest of these processes and the clients' own at half of a core, and keeps it up. At the end
memory, sockets, descriptors and in-flight counters must be where they were. Linux only; everything on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.soak_children import ChildFailed, Gateway, heed_sigterm, raise_open_files, run_gateway, run_model_server
from bench.soak_kernel import Process
from bench.soak_load import Load
from bench.soak_upstream import event_loop_factory
from bench.soak_verdict import Held, Limits, Sample, Verdict, gauges, judge_leaks
from bench.soak_visit import End

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

FULL_SECONDS = 600.0
QUICK_SECONDS = 60.0
HALF_LOAD = 0.5
LEAST_RATE, MOST_RATE = 20.0, 2000.0
_FIRST_RATE = 50.0
_CALIBRATION_SECONDS = (3.0, 4.0)
_SETTLE_SECONDS = 40.0
_TOLD_EVERY_SECONDS = 10


@dataclass
class Soak:
    """One soak under way: the processes that are watched, and what was seen."""

    gateway: Gateway
    process: Process
    others: tuple[Process, ...]
    seed: int
    samples: list[Sample] = field(default_factory=list)

    def load(self) -> Load:
        """Clients of this soak; the same ones for the same seed."""
        return Load(self.gateway.port, self.gateway.key, self.seed)

    def sample(self, seconds: float) -> None:
        """Note what memory is taken now."""
        self.samples.append(Sample(seconds, self.process.rss_bytes() / 1024))

    async def half_load(self) -> float:
        """Find the rate at which the busiest process is at half of a core."""
        rate = _FIRST_RATE
        for seconds in _CALIBRATION_SECONDS:
            busy = [process.cpu_seconds() for process in (self.process, *self.others)]
            started = time.monotonic()
            await self.load().run(rate, seconds, lambda _passed: None)
            took = time.monotonic() - started
            now = [process.cpu_seconds() for process in (self.process, *self.others)]
            busiest = max(last - first for first, last in zip(busy, now, strict=True)) / took
            rate = min(MOST_RATE, max(LEAST_RATE, rate * HALF_LOAD / max(busiest, 0.01)))
        return rate

    async def settled(self, before: Held | None = None) -> Held:
        """Wait until only the listener is open, or the time is up; return what is held.

        The gauges must be as low as ``before``, or else stay as they are: one of them may count who asks for them.
        """
        deadline = time.monotonic() + _SETTLE_SECONDS
        floor: dict[str, float] = {} if before is None else before.gauges
        while True:
            held = await asyncio.to_thread(self._held)
            low = all(value <= floor.get(name, 0.0) for name, value in held.gauges.items())
            if low and not held.in_flight and set(held.sockets) <= {"LISTEN"}:
                return held
            if time.monotonic() > deadline:
                return held
            if before is None:
                floor = held.gauges
            await asyncio.sleep(0.5)

    def _held(self) -> Held:
        in_flight, metrics = self.gateway.in_flight(), self.gateway.metrics()
        process = self.process
        sockets = dict(process.sockets())
        return Held(process.rss_bytes() / 1024, process.descriptors(), sockets, in_flight, gauges(metrics))


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak and report; returns the exit code: 1 for a leak or a wrong answer, 2 where it could not be run."""
    options = _options(arguments)
    if not Path("/proc/self/smaps_rollup").exists():
        _say("The soak reads memory and sockets from /proc/PID, which this system lacks. Run it on Linux.")
        return 2
    heed_sigterm()
    raise_open_files()
    try:
        report = _soak(options)
    except (ChildFailed, OSError) as error:
        _say(f"The soak could not be run: {error}")
        return 2
    except KeyboardInterrupt:
        _say("Interrupted; every child process has been ended.")
        return 130
    if options.json:
        print(json.dumps(report))
    else:
        _print(report)
    return 0 if report["passed"] else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--seconds", type=_seconds, default=FULL_SECONDS, help="length of the soak (default: 600)")
    parser.add_argument(
        "--quick",
        action="store_const",
        dest="seconds",
        const=QUICK_SECONDS,
        help="60 seconds; a slow leak hides in so short a time",
    )
    parser.add_argument("--rate", type=_rate, help="requests a second (default: found by a short calibration)")
    parser.add_argument("--shell", choices=("door", "asgi"), default="door", help="way in to soak (default: door)")
    parser.add_argument("--seed", type=int, default=1, help="of the clients' choices (default: 1)")
    parser.add_argument(
        "--limit-kb-per-minute", type=float, help="growth of memory that is no leak (default: 200, under 300 s 4000)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else on stdout")
    return parser.parse_args(arguments)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 5 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("must be from 5 to 86400")
    return seconds


def _rate(text: str) -> float:
    rate = float(text)
    if not 1 <= rate <= MOST_RATE:
        raise argparse.ArgumentTypeError(f"must be from 1 to {MOST_RATE:g}")
    return rate


def _soak(options: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-soak-"))
        _say("Starting two model servers and a gateway ...")
        servers = [stack.enter_context(run_model_server()) for _number in range(2)]
        gateway = stack.enter_context(run_gateway(Path(folder), {}, options.shell))
        for server in servers:
            gateway.register(server)
        others = tuple(Process(pid) for pid in (os.getpid(), *(server.pid for server in servers)))
        soak = Soak(gateway, Process(gateway.pid), others, options.seed)
        with asyncio.Runner(loop_factory=event_loop_factory) as runner:
            return runner.run(_run(soak, options))


async def _run(soak: Soak, options: argparse.Namespace) -> dict[str, Any]:
    _say("Looking for half load ...")
    rate = await soak.half_load()
    rate = options.rate or rate
    before = await soak.settled()
    load, cpu = soak.load(), soak.process.cpu_seconds()
    _say(f"Soaking for {options.seconds:g} s at {rate:.0f} requests a second ...")
    started = time.monotonic()
    await load.run(rate, options.seconds, _progress(soak, load, options.seconds))
    busy = (soak.process.cpu_seconds() - cpu) / (time.monotonic() - started)
    _say("Waiting for it to settle ...")
    after = await soak.settled(before)
    short = options.seconds < FULL_SECONDS / 2
    slope_limit = options.limit_kb_per_minute or (4000.0 if short else 200.0)
    verdict = judge_leaks(before, after, soak.samples, Limits(slope_limit, growth_kilobytes=24_576.0))
    return _report(options, rate, busy, load, before, after, verdict)


def _progress(soak: Soak, load: Load, seconds: float) -> Callable[[float], None]:
    """One line that is written anew each second on a terminal, and now and then elsewhere."""
    shown = sys.stderr.isatty()

    def on_second(passed: float) -> None:
        soak.sample(passed)
        line = (
            f"[soak] {passed:4.0f} of {seconds:.0f} s  {load.total} visits  {load.open_visits} open  "
            f"RSS {soak.samples[-1].rss_kilobytes / 1024:.1f} MB  {soak.process.descriptors()} descriptors"
        )
        if shown:
            sys.stderr.write(f"\r{line}\033[K")
        elif round(passed) % _TOLD_EVERY_SECONDS == 0:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    return on_second


def _report(
    options: argparse.Namespace,
    rate: float,
    busy: float,
    load: Load,
    before: Held,
    after: Held,
    verdict: Verdict,
) -> dict[str, Any]:
    return {
        "passed": not verdict.leaks and not load.ends[End.WRONG],
        "leaks": list(verdict.leaks),
        "wrong_answers": load.wrongs,
        "seconds": options.seconds,
        "shell": options.shell,
        "seed": options.seed,
        "requests_per_second": round(rate, 1),
        "gateway_cores_busy": round(busy, 2),
        "visits": load.total,
        "ends": {end.value: load.ends[end] for end in End},
        "left": {departure.value: count for departure, count in sorted(load.left.items())},
        "passed_over": load.passed_over,
        "slope_kilobytes_per_minute": round(verdict.slope_kilobytes_per_minute, 1),
        "before": asdict(before),
        "after": asdict(after),
    }


def _print(report: dict[str, Any]) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    print(
        f"{report['visits']} visits in {report['seconds']:g} s, {report['requests_per_second']:g} a second; "
        f"the gateway took {report['gateway_cores_busy']:.0%} of a core."
    )
    print("Ends:   " + ", ".join(f"{count} {name}" for name, count in report["ends"].items()))
    print("Left:   " + ", ".join(f"{count} {name}" for name, count in report["left"].items()))
    for name in ("rss_kilobytes", "descriptors", "sockets", "in_flight"):
        print(f"{name:<16} {report['before'][name]!s:<28} -> {report['after'][name]}")
    print(f"Memory: {report['slope_kilobytes_per_minute']:+.0f} KB/min in the second half.")
    for wrong in report["wrong_answers"]:
        print(f"WRONG:  {wrong}")
    for leak in report["leaks"]:
        print(f"LEAK:   {leak}")
    print("Passed: everything returned to where it was." if report["passed"] else "Failed.")


def _say(text: str) -> None:
    print(f"[soak] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
