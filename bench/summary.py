"""What do the rounds amount to? Medians, what they lie between, and how others compare with ours."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.gateways import OURS
from bench.works import WORKS, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.results import Results
    from bench.samples import Sample

__all__ = ["KEY_FIGURES", "Column", "Figure", "Row", "columns_of", "rows_of", "summarise"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure over so many rounds."""

    median: float
    least: float
    most: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a table: its name in the samples, its heading, and how many digits after the point are worth it."""

    name: str
    heading: str
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One gateway on one work.

    Attributes:
        figures: by name; empty when it could not be measured.
        ratio: its key figure over ours; None when there is nothing to compare.
        wrong: how many of its answers were wrong.
        note: what is to be known of it: why figures are missing, which answer was wrong.
    """

    gateway: str
    figures: dict[str, Figure]
    ratio: float | None
    wrong: int
    note: str


_FULL = 0.95
"""A core in use for less of the time is not what requests/s end at."""
KEY_FIGURES = {work.name: work.kind.value for work in WORKS}
_KINDS = {work.name: work.kind for work in WORKS}
_COLUMNS = {
    Kind.SATURATION: (
        Column("cpu_us_per_request", "CPU µs/request", 1),
        Column("requests_per_second", "requests/s"),
        Column("gateway_busy", "gateway's core in use", 2),
        Column("load_busy", "load's core in use", 2),
    ),
    Kind.STREAMS: (
        Column("cpu_us_per_event", "CPU µs/event", 1),
        Column("events_per_second", "events/s"),
        Column("gateway_busy", "gateway's core in use", 2),
        Column("load_busy", "load's core in use", 2),
    ),
    Kind.RATE: (
        Column("added_p50_ms", "added p50, ms", 3),
        Column("added_p99_ms", "added p99, ms", 3),
        Column("p99_ms", "p99, ms", 3),
        Column("cpu_us_per_request", "CPU µs/request", 1),
    ),
    Kind.MEMORY: (
        Column("kilobytes_per_stream", "KB/stream", 1),
        Column("idle_megabytes", "idle, MB", 1),
    ),
}


def columns_of(work: str) -> tuple[Column, ...]:
    """The figures of a work's table, the key figure among them."""
    return _COLUMNS[_KINDS[work]]


def rows_of(results: Results, work: str) -> list[Row]:
    """A work's table: all gateways that it was measured on, and those that are missing."""
    samples = [sample for sample in results.samples if sample.work == work]
    ours = summarise([sample for sample in samples if sample.gateway == OURS]).get(KEY_FIGURES[work])
    rows = []
    for gateway in results.titles:
        own = [sample for sample in samples if sample.gateway == gateway]
        if own:
            rows.append(_row(gateway, own, KEY_FIGURES[work], ours))
        elif gateway in results.missing:
            rows.append(Row(gateway, {}, None, 0, "missing, see above"))
    return rows


def summarise(samples: Sequence[Sample]) -> dict[str, Figure]:
    """Every figure of these rounds; a round with a wrong answer counts for nothing."""
    right = [sample.figures for sample in samples if not sample.wrong]
    names = dict.fromkeys(name for figures in right for name in figures)
    found = {}
    for name in names:
        values = [figures[name] for figures in right if name in figures]
        found[name] = Figure(median(values), min(values), max(values), len(values))
    return found


def _row(gateway: str, samples: Sequence[Sample], key: str, ours: Figure | None) -> Row:
    figures = summarise(samples)
    own = figures.get(key)
    ratio = own.median / ours.median if own and ours and ours.median > 0 else None
    wrong = sum([sample.wrong for sample in samples])
    first_wrong = next((sample.first_wrong for sample in samples if sample.first_wrong), "")
    note = next((sample.note for sample in samples if sample.note), "") or _slack(samples[0].work, figures)
    return Row(gateway, figures, ratio, wrong, f"WRONG: {first_wrong}" if wrong else note)


def _slack(work: str, figures: dict[str, Figure]) -> str:
    """Say it where a gateway was asked for all that it can do, and no core was full."""
    busy = [figures[name].median for name in ("gateway_busy", "load_busy") if name in figures]
    if _KINDS[work] is not Kind.SATURATION or len(busy) < 2 or max(busy) >= _FULL:
        return ""
    return "neither core was full: requests/s are no limit of either"
