"""What may be asked of the churn benchmark on the command line?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bench.churn.faults import FAULTS
from bench.churn.kinds import KINDS
from bench.churn.peers import CONTENDERS
from bench.churn.session import Plan
from bench.gateways import OURS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["parse", "plan_of"]

_ROOT = Path(__file__).resolve().parents[2]
_QUICK_GATEWAYS = (OURS, "envoy", "nginx", "vllm-router")
_QUICK_FAULTS = ("kill", "stop", "reset")
_SECONDS, _QUICK_SECONDS = 60.0, 15.0
_RATE, _SEED = 60.0, 1
_MOST_SECONDS, _MOST_RATE = 3600.0, 1000.0
_EPILOG = """\
examples:
  make churn                                        everything, in about 80 minutes (and the peers' installation)
  python -m bench.churn --quick                     four gateways, three faults, in about 5 minutes
  python -m bench.churn --fault kill --gateway ours --seconds 300
  python -m bench.churn --output first.json         keep the results ...
  python -m bench.churn --from first.json --from second.json --write-docs    ... and put runs together on the page
exit codes: 0 measured, 1 an answer of ours was corrupted or nothing was measured, 2 options, 130 interrupted"""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the program with a clear word when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.churn",
        description="Count how many answers arrive whole while model servers die: here and behind other gateways.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK_SECONDS:g} s each of a few gateways and faults")
    parser.add_argument("--gateway", type=_gateways, metavar="NAME,NAME", help="these gateways (see --list)")
    parser.add_argument("--fault", type=_faults, metavar="NAME,NAME", help="these faults (see --list)")
    parser.add_argument("--kinds", type=_kinds, metavar="NAME,NAME", help="these kinds of request (see --list)")
    parser.add_argument(
        "--seconds", type=_number(_MOST_SECONDS), metavar="N", help=f"of arrivals, each trial (default: {_SECONDS:g})"
    )
    parser.add_argument(
        "--rate", type=_number(_MOST_RATE), default=_RATE, metavar="N", help=f"requests a second (default: {_RATE:g})"
    )
    parser.add_argument("--seed", type=int, default=_SEED, metavar="N", help=f"of all chance (default: {_SEED})")
    parser.add_argument("--list", action="store_true", help="name all gateways, faults and kinds, and end")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, and nothing else on stdout")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the results to a file, as JSON")
    parser.add_argument(
        "--from",
        dest="sources",
        type=Path,
        action="append",
        metavar="FILE",
        help="measure nothing, take the results of an --output; of several, the last trial of its sort counts",
    )
    parser.add_argument("--write-docs", action="store_true", help="write docs/reliability.md and docs/reliability/")
    parser.add_argument(
        "--peers-folder",
        type=Path,
        default=_ROOT / ".bench" / "peers",
        metavar="FOLDER",
        help="where peers are installed (default: .bench/peers in the repository)",
    )
    return parser.parse_args(arguments)


def plan_of(options: argparse.Namespace) -> Plan:
    """Which gateways, which faults, how long."""
    gateways = options.gateway or (_QUICK_GATEWAYS if options.quick else [each.gateway.name for each in CONTENDERS])
    faults = options.fault or (_QUICK_FAULTS if options.quick else [fault.name for fault in FAULTS])
    kinds = options.kinds or [kind.name for kind in KINDS]
    return Plan(
        contenders=tuple(each for each in CONTENDERS if each.gateway.name in gateways),
        faults=tuple(fault for fault in FAULTS if fault.name in faults),
        kinds=tuple(kind for kind in KINDS if kind.name in kinds),
        seconds=options.seconds or (_QUICK_SECONDS if options.quick else _SECONDS),
        rate=options.rate,
        seed=options.seed,
        peers_folder=options.peers_folder.absolute(),
    )


def _gateways(text: str) -> tuple[str, ...]:
    return _names(text, [contender.gateway.name for contender in CONTENDERS])


def _faults(text: str) -> tuple[str, ...]:
    return _names(text, [fault.name for fault in FAULTS])


def _kinds(text: str) -> tuple[str, ...]:
    return _names(text, [kind.name for kind in KINDS])


def _names(text: str, known: list[str]) -> tuple[str, ...]:
    wanted = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(map(repr, unknown))}. Known: {', '.join(known)}")
    return wanted


def _number(most: float) -> Callable[[str], float]:
    """Read a number above 0, up to a bound."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(f"must be a number above 0, at most {most:g}")
        return value

    return read
