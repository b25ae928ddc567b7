"""What does the gateway cost, on both of its ways in, beside asking the upstreams directly? ``python -m bench --help``.

Two upstreams, one gateway with default settings (a log line a request) and the load client share this machine;
requests/s are those of all of them together, and the processor time of the gateway is the figure to compare. Only this
project is measured: comparisons with others (Envoy, vllm-router and the like) come later, on machines of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.answers import SHAPES, Shape, request
from bench.client import AnswerWrong, run_load
from bench.processes import KEY, WAYS_IN, Running, cpu_seconds, run_gateway, run_upstreams
from bench.upstream import event_loop_factory

_UPSTREAMS = 2
_WARM_UP_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement. The CPU figures are microseconds a request; None where they can't be had."""

    way: str
    shape: str
    requests: int
    requests_per_second: float
    gateway_cpu_us: float | None
    upstreams_cpu_us: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure."""

    connections: int
    seconds: float


def main() -> int:
    """Measure and report; returns the exit code."""
    options = _options()
    plan = Plan(options.connections, options.seconds)
    if sys.platform != "linux":
        _progress("Processor time is read from /proc, which this system lacks: requests/s alone are told.")
    try:
        results = _measure_all(plan)
    except (AnswerWrong, RuntimeError, OSError) as error:
        _progress(f"The benchmark failed: {error}")
        return 1
    if options.json:
        machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        print(json.dumps({"machine": machine, **asdict(plan), "results": [asdict(result) for result in results]}))
    else:
        _print_table(results)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--seconds", type=_above_zero, default=4.0, help="length of each of six runs (default: 4)")
    parser.add_argument("--connections", type=int, choices=range(1, 1001), metavar="N", default=32, help="default: 32")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else on stdout")
    return parser.parse_args()


def _above_zero(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("must be above 0 and at most 3600")
    return seconds


def _measure_all(plan: Plan) -> list[Result]:
    results: list[Result] = []
    _progress(f"Starting {_UPSTREAMS} upstreams ...")
    with run_upstreams(_UPSTREAMS) as upstreams:
        results += [_measure("direct", shape, plan, upstreams, None) for shape in SHAPES]
        for way, command in WAYS_IN.items():
            _progress(f"Starting a gateway: {way} ...")
            with (
                tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder,
                run_gateway(command, Path(folder), upstreams) as gateway,
            ):
                results += [_measure(way, shape, plan, upstreams, gateway) for shape in SHAPES]
    return results


def _measure(way: str, shape: Shape, plan: Plan, upstreams: Running, gateway: Running | None) -> Result:
    _progress(f"Measuring for {plan.seconds:g} s: {way}, {shape.name} ...")
    ports = upstreams.ports if gateway is None else gateway.ports
    asked = request(shape, KEY)
    with asyncio.Runner(loop_factory=event_loop_factory) as runner:

        def run_for(seconds: float) -> tuple[int, float]:
            load = runner.run(run_load(ports, asked, shape.body, connections=plan.connections, seconds=seconds))
            return load.answers, load.seconds

        run_for(_WARM_UP_SECONDS)
        before = [None if one is None else cpu_seconds(one) for one in (gateway, upstreams)]
        answers, seconds = run_for(plan.seconds)
        after = [None if one is None else cpu_seconds(one) for one in (gateway, upstreams)]
    gateway_us, upstreams_us = (
        None if first is None or last is None else round((last - first) * 1e6 / answers, 1)
        for first, last in zip(before, after, strict=True)
    )
    return Result(way, shape.name, answers, round(answers / seconds, 1), gateway_us, upstreams_us)


def _print_table(results: list[Result]) -> None:
    row = "{:<12}{:<24}{:>12}{:>24}{:>26}"
    print(row.format("way", "answer", "requests/s", "gateway CPU us/request", "upstreams CPU us/request"))
    for result in results:
        cpu = [
            "-" if figure is None else f"{figure:.0f}" for figure in (result.gateway_cpu_us, result.upstreams_cpu_us)
        ]
        print(row.format(result.way, result.shape, f"{result.requests_per_second:.0f}", *cpu))


def _progress(text: str) -> None:
    print(f"[bench] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
