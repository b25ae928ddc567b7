"""What was found, as tables and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from bench.identical.report import percentile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from bench.stickiness.real import Measured
    from bench.stickiness.simulate import Outcome

__all__ = ["MOST_OVER_MEAN", "print_costs", "print_outcomes", "print_real", "summary", "summary_of_real"]

MOST_OVER_MEAN: Final = 1.25
"""What the busiest server may have over the mean."""


def summary(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Each policy's figures, in plain values."""
    return [
        {
            "policy": outcome.policy,
            "warm_share": round(outcome.warm_share, 4),
            "busiest_by_requests": round(outcome.busiest_by_requests, 3),
            "busiest_by_seconds": round(outcome.busiest_by_seconds, 3),
            "in_flight_ratio": round(outcome.in_flight_ratio, 3),
            "first_token_p50_seconds": _rounded(percentile(outcome.first_token_seconds, 0.5)),
            "first_token_p95_seconds": _rounded(percentile(outcome.first_token_seconds, 0.95)),
            "moves_per_conversation": round(outcome.moves, 2),
            "requests": outcome.requests,
            "busy_seconds": [round(seconds, 1) for seconds in outcome.busy_seconds],
        }
        for outcome in outcomes
    ]


def print_outcomes(outcomes: Sequence[Outcome], title: str, console: Console) -> None:
    """Print a line for each policy."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("policy")
    headings = (
        "warm tokens",
        "busiest, requests",
        "busiest, seconds",
        "busiest, in flight",
        "first token p50 s",
        "p95 s",
        "moves a conversation",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for found in summary(outcomes):
        table.add_row(
            found["policy"],
            f"{found['warm_share']:.1%}",
            *(f"{found[name]:.2f}" for name in ("busiest_by_requests", "busiest_by_seconds", "in_flight_ratio")),
            *(f"{found[name]:.2f}" for name in ("first_token_p50_seconds", "first_token_p95_seconds")),
            f"{found['moves_per_conversation']:.2f}",
        )
    console.print(table)
    console.print("busiest: over the mean of all servers; in flight: on average over time", style="dim")


def print_costs(costs: Mapping[str, float], full: Mapping[str, float], console: Console) -> None:
    """Print what each call takes, and the memory of a full index."""
    table = Table(title="What affinity costs", title_justify="left", title_style="bold")
    table.add_column("call")
    table.add_column("us", justify="right")
    for name, microseconds in costs.items():
        table.add_row(name, f"{microseconds:.1f}")
    console.print(table)
    console.print(
        f"a full index: {full['blocks']:,.0f} blocks in {full['bytes'] / 1e6:.0f} MB; "
        f"of 2,000 recordings of 300 new blocks the median took {full['record p50 us']:.0f} us, "
        f"the longest {full['record longest us']:.0f} us"
    )


def summary_of_real(measured: Sequence[Measured]) -> dict[str, Any]:
    """What two real servers showed, in plain values."""
    return {
        "conversations": len(measured),
        "prompt_tokens": [found.prompt_tokens for found in measured],
        "first_turn_p50_seconds": _rounded(percentile([found.first_turn_seconds for found in measured], 0.5)),
        "same_server_p50_seconds": _rounded(percentile([found.same_server_seconds for found in measured], 0.5)),
        "other_server_p50_seconds": _rounded(percentile([found.other_server_seconds for found in measured], 0.5)),
        "gateway_p50_seconds": _rounded(
            percentile([found.gateway_seconds for found in measured if found.gateway_seconds is not None], 0.5)
        ),
        "stayed": sum(found.stayed for found in measured if found.stayed is not None),
        "asked_gateway": any(found.stayed is not None for found in measured),
    }


def print_real(measured: Sequence[Measured], console: Console) -> None:
    """Print what two real servers showed."""
    table = Table(
        title="Second turns on two real llama.cpp servers: seconds to the first token",
        title_justify="left",
        title_style="bold",
    )
    headings = (
        "conversation",
        "prompt tokens",
        "first turn",
        "same server",
        "other server",
        "times",
        "through gateway",
    )
    for heading in (*headings, "stayed"):
        table.add_column(heading, justify="right")
    for number, found in enumerate(measured):
        table.add_row(
            str(number),
            str(found.prompt_tokens),
            f"{found.first_turn_seconds:.2f}",
            f"{found.same_server_seconds:.2f}",
            f"{found.other_server_seconds:.2f}",
            f"{found.other_server_seconds / found.same_server_seconds:.1f}",
            "-" if found.gateway_seconds is None else f"{found.gateway_seconds:.2f}",
            {None: "-", True: "yes", False: "no"}[found.stayed],
        )
    console.print(table)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
