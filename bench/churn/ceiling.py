"""How many streams could be exact without a continuation? Those that are not under way on an engine as it fails. Pure.

This is what the best gateway reaches that can only choose servers: it knows at once which engines are down, spreads
requests evenly over those that stand, and asks again elsewhere as long as nothing of an answer went out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.churn.kinds import PROMISED, STREAMED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.churn.faults import Fault, Hit
    from bench.churn.results import Trial

__all__ = ["ceiling", "ceiling_of_all"]


def ceiling(fault: Fault, hits: Sequence[Hit], streams: Sequence[tuple[float, float]], slots: int) -> float:
    """The share of streams, from 0 to 1, that stay whole on average.

    Args:
        fault: what goes wrong.
        hits: when and where.
        streams: when each comes, in seconds as the hits' are, and how long it takes.
        slots: how many engines there are.
    """
    if not fault.breaks or not streams:
        return 1.0
    if fault.same:
        hits = hits[:1]  # whoever chooses well shuns that engine from then on
    lost = sum([_lost(fault, hits, arrival, length_seconds, slots) for arrival, length_seconds in streams])
    return 1 - lost / len(streams)


def _lost(fault: Fault, hits: Sequence[Hit], arrival: float, length_seconds: float, slots: int) -> float:
    """How likely one stream is lost: it is equally likely on each engine that stands when it comes."""
    down = {hit.slot for hit in hits if hit.begins_seconds <= arrival < hit.ends_seconds}
    standing = slots - len(down)
    lost = 0.0
    for hit in hits:
        if arrival < hit.begins_seconds < arrival + length_seconds and hit.slot not in down:
            progress = min(1.0, (hit.ends_seconds - arrival) / length_seconds)
            lost += progress if fault.is_gradual else 1.0
    return lost / standing if standing else 1.0


def ceiling_of_all(trial: Trial) -> float:
    """The same share of all kinds that are promised: what does not stream can be asked for again as a whole."""
    asked = {tally.kind: tally.asked for tally in trial.tallies}
    streams = sum([asked.get(kind, 0) for kind in STREAMED])
    total = sum([asked.get(kind, 0) for kind in PROMISED])
    return 1 - streams / total * (1 - trial.ceiling) if total else trial.ceiling
