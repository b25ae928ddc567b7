"""Does a gateway leak? Judged by what it holds at rest before and after a soak, and by how its memory grew."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["Held", "Limits", "Sample", "Verdict", "floors", "gauges", "judge_leaks", "slope_per_minute"]

WINDOWS = 24
"""Memory goes up and down with what is held at the moment; a leak raises the least of each window."""

_GAUGE_WORDS = re.compile(r"in_flight|queue|open|task|pool|connection")


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory at one moment."""

    seconds: float
    rss_kilobytes: float


@dataclass(frozen=True, slots=True)
class Held:
    """What a gateway holds at rest. ``gauges``: those of ``/metrics`` that count what is open or under way."""

    rss_kilobytes: float
    descriptors: int
    sockets: dict[str, int]
    in_flight: int
    gauges: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is still no leak. Memory at rest may grow a little: freed blocks lie between others."""

    slope_kilobytes_per_minute: float
    growth_kilobytes: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """``leaks`` says in words what did not return; none: the soak was passed."""

    slope_kilobytes_per_minute: float
    leaks: tuple[str, ...]


def floors(samples: list[Sample], windows: int = WINDOWS) -> list[Sample]:
    """The least sample of each of so many stretches of equal count; all of them where there are fewer than that."""
    size = max(1, len(samples) // windows)
    stretches = (samples[start : start + size] for start in range(0, len(samples), size))
    return [min(stretch, key=lambda sample: sample.rss_kilobytes) for stretch in stretches]


def slope_per_minute(samples: list[Sample]) -> float:
    """By how many KB a minute memory grew: the least-squares line through the samples' second half; 0 for too few."""
    half = samples[len(samples) // 2 :]
    if len(half) < 2:
        return 0.0
    mean_seconds = sum(sample.seconds for sample in half) / len(half)
    mean_rss = sum(sample.rss_kilobytes for sample in half) / len(half)
    spread = sum((sample.seconds - mean_seconds) ** 2 for sample in half)
    together = sum((sample.seconds - mean_seconds) * (sample.rss_kilobytes - mean_rss) for sample in half)
    return 60 * together / spread if spread else 0.0


def gauges(metrics: str) -> dict[str, float]:
    """Those gauges in Prometheus' text format that count what is open or under way, by name and labels."""
    names = {
        words[2]
        for words in (line.split() for line in metrics.splitlines() if line.startswith("# TYPE "))
        if len(words) == 4 and words[3] == "gauge" and _GAUGE_WORDS.search(words[2])
    }
    found = {}
    for line in metrics.splitlines():
        name, _, value = line.rpartition(" ")
        if name.partition("{")[0] in names:
            found[name] = float(value)
    return found


def judge_leaks(before: Held, after: Held, samples: list[Sample], limits: Limits) -> Verdict:
    """Compare what is held at rest, and the slope with its limit."""
    slope = slope_per_minute(floors(samples))
    leaks = []
    if slope > limits.slope_kilobytes_per_minute:
        allowed = limits.slope_kilobytes_per_minute
        leaks.append(f"memory grows by {slope:.0f} KB/min in the second half; {allowed:.0f} are allowed")
    growth = after.rss_kilobytes - before.rss_kilobytes
    if growth > limits.growth_kilobytes:
        leaks.append(f"memory at rest has grown by {growth:.0f} KB; {limits.growth_kilobytes:.0f} are allowed")
    if after.descriptors > before.descriptors:
        leaks.append(f"{after.descriptors} descriptors are open, {before.descriptors} were")
    if after.sockets != before.sockets:
        leaks.append(f"sockets are {after.sockets}, they were {before.sockets}")
    if after.in_flight != before.in_flight:
        leaks.append(f"the admin API shows {after.in_flight} requests in flight, it showed {before.in_flight}")
    for name, value in after.gauges.items():
        if value > before.gauges.get(name, 0.0):
            leaks.append(f"{name} is {value:g}, it was {before.gauges.get(name, 0.0):g}")
    return Verdict(slope, tuple(leaks))
