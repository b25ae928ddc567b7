"""What may be asked of the benchmark on the command line?"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.gateways import GATEWAYS
from bench.goals import GOALS
from bench.session import Plan
from bench.works import WORKS

__all__ = ["parse", "plan_of"]

_ROOT = Path(__file__).resolve().parents[1]
_QUICK_GATEWAYS = ("ours", "envoy", "nginx", "vllm-router")
_ROUNDS, _QUICK_ROUNDS = 5, 2
_MOST_ROUNDS = 100
_EPILOG = """\
examples:
  make bench                                   everything, in under 20 minutes (and the peers' installation)
  python -m bench --quick                      what the goals need, in under 3 minutes
  python -m bench --only ours,envoy --works short,streams-100 --rounds 3
  python -m bench --write-docs                 everything, and docs/benchmarks.md with its plots written anew
exit codes: 0 measured (goals may be missed), 1 wrong answers or nothing measured, 2 options, 130 interrupted"""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the program with a clear word when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Compare what this gateway and others cost, on this machine, side by side.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK_ROUNDS} short rounds of what the goals need")
    parser.add_argument("--only", type=_gateways, metavar="NAME,NAME", help="these gateways (see --list)")
    parser.add_argument("--works", type=_works, metavar="NAME,NAME", help="these works (see --list)")
    parser.add_argument("--rounds", type=_rounds, metavar="N", help=f"default: {_ROUNDS}, with --quick {_QUICK_ROUNDS}")
    parser.add_argument("--list", action="store_true", help="name all gateways and works, and end")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, and nothing else on stdout")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the results to a file, as JSON")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md and docs/benchmarks/")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FILE", help="measure nothing, take the results of an --output"
    )
    parser.add_argument(
        "--peers-folder",
        type=Path,
        default=_ROOT / ".bench" / "peers",
        metavar="FOLDER",
        help="where peers are installed (default: .bench/peers in the repository)",
    )
    return parser.parse_args(arguments)


def plan_of(options: argparse.Namespace) -> Plan:
    """Which gateways, which works, how often."""
    quick = bool(options.quick)
    goal_works = {goal.work for goal in GOALS}
    names = options.only or (_QUICK_GATEWAYS if quick else tuple(gateway.name for gateway in GATEWAYS))
    works = options.works or tuple(work.name for work in WORKS if not quick or work.name in goal_works)
    return Plan(
        gateways=tuple(gateway for gateway in GATEWAYS if gateway.name in names),
        works=tuple(work for work in WORKS if work.name in works),
        rounds=options.rounds or (_QUICK_ROUNDS if quick else _ROUNDS),
        quick=quick,
        peers_folder=options.peers_folder.absolute(),
    )


def _gateways(text: str) -> tuple[str, ...]:
    return _names(text, [gateway.name for gateway in GATEWAYS])


def _works(text: str) -> tuple[str, ...]:
    return _names(text, [work.name for work in WORKS])


def _names(text: str, known: list[str]) -> tuple[str, ...]:
    wanted = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(map(repr, unknown))}. Known: {', '.join(known)}")
    return wanted


def _rounds(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= _MOST_ROUNDS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {_MOST_ROUNDS}")
    return int(text)
