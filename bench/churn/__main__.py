"""How many answers arrive whole while model servers die, here and behind others? ``python -m bench.churn --help``.

Four engines speak a text computed from the request, so that every token can be checked. Requests come when they are
due, answered or not, and each has one outcome. All gateways meet the same requests and the same faults.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from bench.churn.faults import FAULTS
from bench.churn.figures import share_of
from bench.churn.kinds import KINDS
from bench.churn.options import parse, plan_of
from bench.churn.page import write_docs
from bench.churn.peers import CONTENDERS
from bench.churn.report import Line, print_report
from bench.churn.results import ChurnResults
from bench.churn.session import joined, run_session
from bench.gateways import OURS

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

_INTERRUPTED = 130


def main() -> int:
    """Try and report; returns the exit code."""
    options = parse()
    if sys.platform == "win32":
        _say("The benchmark needs Linux or macOS: it stops, kills and ends processes by signals.")
        return 1
    if options.list:
        _print_list()
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended in order too, by whoever may end us
    try:
        results = joined([_stored(source) for source in options.sources]) if options.sources else _tried(options)
    except KeyboardInterrupt:
        _say("Interrupted. All that was started has been ended.")
        return _INTERRUPTED
    except (OSError, msgspec.DecodeError) as error:
        _say(f"The benchmark failed: {error}")
        return 1
    if options.output:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    if options.write_docs:
        _say(f"Wrote {write_docs(results)}.")
    if options.json:
        sys.stdout.write(msgspec.json.encode(results).decode() + "\n")
    else:
        print_report(results, Console(width=None if sys.stdout.isatty() else 200))
    return _exit_code(results)


def _stored(source: Path) -> ChurnResults:
    return msgspec.json.decode(source.read_bytes(), type=ChurnResults)


def _tried(options: argparse.Namespace) -> ChurnResults:
    plan = plan_of(options)
    with Line(plan.total_seconds) as line:
        return run_session(plan, line)


def _exit_code(results: ChurnResults) -> int:
    every_kind = [kind.name for kind in KINDS]
    if not share_of(results.trials, every_kind, retried=False).asked:
        _say("Nothing could be measured: every gateway is missing.")
        return 1
    ours = [trial for trial in results.trials if trial.gateway == OURS]
    corrupted = share_of(ours, every_kind, retried=False).corrupted
    if corrupted:
        _say(f"{corrupted} answers of ours were corrupted.")
        return 1
    return 0


def _print_list() -> None:
    for contender in CONTENDERS:
        requirement = contender.gateway.requirement or "this project"
        print(f"gateway  {contender.gateway.name:<14} {contender.gateway.title} ({requirement}): {contender.words}")
    for fault in FAULTS:
        print(f"fault    {fault.name:<14} {fault.title}")
    for kind in KINDS:
        print(f"kind     {kind.name:<14} {kind.title}")


def _say(text: str) -> None:
    print(f"[churn] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
