"""What do this gateway and its peers cost, side by side on one machine? ``python -m bench --help``.

Peers are installed from PyPI, all get the same upstreams and the same requests, each answer is compared byte for byte,
and rounds go over all gateways in turn. Processor time is the figure to quote: on a shared machine it is far steadier
than requests per second.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from bench.gateways import GATEWAYS
from bench.options import parse, plan_of
from bench.page import write_docs
from bench.page_words import roughness
from bench.processes import NotStarted
from bench.report import Bar, print_report
from bench.results import Results
from bench.session import run_session
from bench.works import WORKS

if TYPE_CHECKING:
    import argparse

_INTERRUPTED = 130


def main() -> int:
    """Measure and report; returns the exit code."""
    options = parse()
    if sys.platform == "win32":
        _say("The benchmark needs Linux or macOS: it binds, pauses and ends whole groups of processes.")
        return 1
    if options.list:
        _print_list()
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended in order too, by whoever may end us
    try:
        results = _stored(options) if options.source else _measured(options)
    except KeyboardInterrupt:
        _say("Interrupted. All that was started has been ended.")
        return _INTERRUPTED
    except (NotStarted, OSError, msgspec.DecodeError) as error:
        _say(f"The benchmark failed: {error}")
        return 1
    if options.output:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    if options.write_docs:
        _say(f"Wrote {write_docs(results)}.")
        if words := roughness(results):
            _say(f"The page says so: {words}")
    if options.json:
        sys.stdout.write(msgspec.json.encode(results).decode() + "\n")
    else:
        print_report(results, Console(width=None if sys.stdout.isatty() else 160))
    return _exit_code(results)


def _stored(options: argparse.Namespace) -> Results:
    return msgspec.json.decode(options.source.read_bytes(), type=Results)


def _measured(options: argparse.Namespace) -> Results:
    plan = plan_of(options)
    if sys.platform != "linux":
        _say("Processor time and memory are read from /proc, which this system lacks: times alone are told.")
    with Bar(plan.total_seconds) as bar:
        return run_session(plan, bar)


def _exit_code(results: Results) -> int:
    if results.wrong:
        _say(f"{results.wrong} answers were wrong.")
        return 1
    if not any(sample.figures for sample in results.samples):
        _say("Nothing could be measured: every gateway is missing.")
        return 1
    return 0


def _print_list() -> None:
    for gateway in GATEWAYS:
        print(f"gateway  {gateway.name:<14} {gateway.title} ({gateway.requirement or 'this project'})")
    for work in WORKS:
        print(f"work     {work.name:<14} {work.title}")


def _say(text: str) -> None:
    print(f"[bench] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
