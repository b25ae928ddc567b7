"""Do conversations go where their beginning is cached, and is no server overrun? ``python -m bench.stickiness --help``.

A trace of long conversations, made from a seed, is sent to simulated servers with a bounded cache, once by each policy:
the gateway's own (its real index, bound and plan), its power of two choices alone, round robin, and the cache-aware
policy of SGLang's router as it is documented. --costs measures the index itself. --real asks two real llama.cpp servers
how long a second turn takes on the server that had the first, and on the other.
"""

from __future__ import annotations

import argparse
import json
import sys
from random import Random
from typing import TYPE_CHECKING, Any

import httpx2
from rich.console import Console

from bench.soak_children import ChildFailed, heed_sigterm
from bench.stickiness.costs import deep_size, full_index, measure_costs
from bench.stickiness.policies import PowerOfTwo, Radix, RoundRobin, Sticky
from bench.stickiness.report import (
    MOST_OVER_MEAN,
    print_costs,
    print_outcomes,
    print_real,
    summary,
    summary_of_real,
)
from bench.stickiness.servers import Speed
from bench.stickiness.simulate import simulate
from bench.stickiness.trace import make_trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stickiness.policies import Policy

_NOT_MET, _NOT_RUN, _INTERRUPTED = 1, 2, 130
_UNEVEN = (4.0, 1.0, 1.0, 0.25)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try and report; returns the exit code: 1 where the goal is not met, 2 where it could not be run."""
    options = _options(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)
    if options.real:
        return _real(options, console)
    if options.costs:
        costs, full = measure_costs(), full_index()
        if options.json:
            print(json.dumps({"microseconds": costs, "full_index": full}))
        else:
            print_costs(costs, full, console)
        return 0
    return _simulated(options, console)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.stickiness", description=(__doc__ or "").partition("\n\n")[2]
    )
    parser.add_argument("--seed", type=int, default=1, help="of the trace (default: 1)")
    parser.add_argument("--users", type=_from(1, 1000), default=50, help="conversations (default: 50)")
    parser.add_argument("--turns", type=_from(1, 100), default=20, help="requests in each (default: 20)")
    parser.add_argument("--servers", type=_from(1, 64), default=4, help="simulated servers (default: 4)")
    parser.add_argument("--uneven", action="store_true", help="of each four servers, one is 4 times as fast, one 1/4")
    parser.add_argument("--cache-tokens", type=_from(1, 10**9), default=300_000, help="of each server's cache")
    parser.add_argument("--costs", action="store_true", help="measure the index itself: microseconds, and bytes")
    parser.add_argument("--real", action="store_true", help="ask two real llama.cpp servers (needs the demo extra)")
    parser.add_argument(
        "--through-gateway",
        action="store_true",
        help="with --real: also send conversations through a gateway in front of both, and see whether they stay",
    )
    parser.add_argument("--conversations", type=_from(1, 100), default=6, help="with --real: how many (default: 6)")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else on stdout")
    options = parser.parse_args(arguments)
    if options.through_gateway and not options.real:
        parser.error("--through-gateway needs --real")
    return options


def _from(least: int, most: int) -> Any:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most}")
        return value

    return number


def _simulated(options: argparse.Namespace, console: Console) -> int:
    count, seed = options.servers, options.seed
    trace = make_trace(seed, options.users, options.turns)
    factors = [_UNEVEN[place % len(_UNEVEN)] if options.uneven else 1.0 for place in range(count)]
    speeds = [Speed(cache_tokens=options.cache_tokens).times(factor) for factor in factors]
    ours = Sticky(count, Random(seed).random)
    policies: list[Policy] = [
        ours,
        PowerOfTwo(count, Random(seed).random),
        RoundRobin(),
        Radix(count, 0.3, 64, 1.5),
        Radix(count, 0.5, 32, 1.0001, smallest_tree=True),
    ]
    outcomes = [simulate(trace, policy, speeds) for policy in policies]
    size = deep_size(ours.affinity)
    last_tokens = [conversation[-1].prompt_tokens for conversation in trace]
    mean_tokens = sum(last_tokens) // len(last_tokens)
    if options.json:
        settings = {"seed": seed, "users": options.users, "turns": options.turns, "servers": count}
        told = {**settings, "uneven": options.uneven, "mean_last_prompt_tokens": mean_tokens}
        print(json.dumps({**told, "affinity_bytes": size, "policies": summary(outcomes)}))
    else:
        words = f"{options.users} conversations of {options.turns} turns, up to {mean_tokens:,} tokens"
        print_outcomes(outcomes, f"{words}; {count} servers; seed {seed}", console)
        console.print(f"memory of affinity after it: {size / 1e6:.1f} MB (sys.getsizeof of all that it holds)")
    return 0 if outcomes[0].busiest_by_seconds <= MOST_OVER_MEAN or count == 1 else _NOT_MET


def _real(options: argparse.Namespace, console: Console) -> int:
    from app.demo.bundled import MissingPackages, find_bundled_model  # noqa: PLC0415 - needs the demo extra
    from app.demo.children import ModelServerFailed  # noqa: PLC0415 - likewise
    from bench.stickiness.real import measure_real  # noqa: PLC0415 - likewise

    model_path = find_bundled_model()
    if isinstance(model_path, MissingPackages):
        _say(f"It needs a real model server: {'; '.join(model_path.commands)}")
        return _NOT_RUN
    heed_sigterm()
    try:
        measured = measure_real(
            model_path, options.conversations, options.seed, through_gateway=options.through_gateway
        )
    except (ChildFailed, ModelServerFailed, httpx2.TransportError, OSError) as error:
        _say(f"It could not be run: {error}")
        return _NOT_RUN
    except KeyboardInterrupt:
        _say("Interrupted; every child process has been ended.")
        return _INTERRUPTED
    if options.json:
        print(json.dumps(summary_of_real(measured)))
    else:
        print_real(measured, console)
    return _NOT_MET if any(found.stayed is False for found in measured) else 0


def _say(text: str) -> None:
    print(f"[stickiness] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
