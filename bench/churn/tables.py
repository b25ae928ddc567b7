"""Which rows and columns do results make? The same for the page and for the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.churn.ceiling import ceiling_of_all
from bench.churn.faults import FAULTS
from bench.churn.figures import Share, share_of
from bench.churn.kinds import KINDS, PROMISED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.churn.results import ChurnResults, Spread, Trial

__all__ = [
    "HEADINGS",
    "KIND_HEADINGS",
    "Row",
    "faults_of",
    "kind_rows",
    "overview_rows",
    "percent_words",
    "rows_of",
    "share_words",
]

HEADINGS = (
    "gateway", "exact", "bounds at 95 %", "with two retries", "cut (told)", "corrupted", "5xx", "other",
    "seam p50 / p99, ms", "felt p50 / most, s", "back p50 / most, s",
)  # fmt: skip
KIND_HEADINGS = (
    "kind of request",
    "exact",
    "bounds at 95 %",
    "with two retries",
    "cut (told)",
    "corrupted",
    "5xx",
    "other",
)

_CEILING = "*the most without continuation*"


@dataclass(frozen=True, slots=True)
class Row:
    """One gateway under one fault: the cells of `HEADINGS`, and what is to be known."""

    trial: Trial
    cells: tuple[str, ...]
    note: str


def faults_of(results: ChurnResults) -> list[str]:
    """The faults that were tried, in the order of the table of faults."""
    tried = {trial.fault for trial in results.trials}
    return [fault.name for fault in FAULTS if fault.name in tried]


def rows_of(results: ChurnResults, fault: str, kinds: Sequence[str] = PROMISED) -> list[Row]:
    """A fault's table, all gateways in the order of the titles."""
    rows = []
    for name, title in results.titles.items():
        for trial in results.trials:
            if (trial.gateway, trial.fault) == (name, fault):
                once, retried = (share_of([trial], kinds, retried=again) for again in (False, True))
                label = title if trial.rate == _usual_rate(results) else f"{title} (at {trial.rate:g} requests/s)"
                cells = (label, *share_words(once, retried), *_times(trial))
                rows.append(Row(trial, cells, trial.note))
    return rows


def overview_rows(results: ChurnResults) -> list[tuple[str, ...]]:
    """Percent exact of each gateway under each fault, and the most that could be without continuation."""
    rows, faults = [], faults_of(results)
    for name, title in results.titles.items():
        cells = []
        for fault in faults:
            own = [trial for trial in results.trials if (trial.gateway, trial.fault) == (name, fault)]
            share = share_of(own, PROMISED, retried=False)
            cells.append(percent_words(share) if share.asked else "-")
        rows.append((title, *cells))
    ceilings = [max(ceiling_of_all(trial) for trial in results.trials if trial.fault == fault) for fault in faults]
    return [*rows, (_CEILING, *(f"{100 * ceiling:.1f} %" for ceiling in ceilings))]


def kind_rows(trials: Sequence[Trial]) -> list[tuple[str, ...]]:
    """A table of kinds of request, added up over trials."""
    rows = []
    for kind in KINDS:
        once, retried = (share_of(trials, [kind.name], retried=again) for again in (False, True))
        if once.asked:
            why = "" if kind.promised else f" (not promised: {kind.why})"
            rows.append((f"{kind.title}{why}", *share_words(once, retried)))
    return rows


def share_words(once: Share, retried: Share) -> tuple[str, ...]:
    """The cells from "exact" to "other"."""
    if not once.asked:
        return ("-",) * 7
    low, high = once.bounds_percent
    exact = f"{percent_words(once)} ({once.exact:,} of {once.asked:,})"
    counts = (f"{once.cut:,} ({once.told:,})", f"{once.corrupted:,}", f"{once.failed_5xx:,}", f"{once.other:,}")
    return exact, f"{_floor(low)}-{_floor(high)}", percent_words(retried), *counts


def percent_words(share: Share) -> str:
    """A share in percent: 100 is said of all, and never reached by rounding."""
    digits = 1 if share.exact == share.asked else 2
    return f"{_cut_off(share.percent, digits):.{digits}f} %"


def _floor(percent: float) -> str:
    return f"{_cut_off(percent, 2):.2f}".removesuffix("0").removesuffix(".0")


def _cut_off(value: float, digits: int) -> float:
    scale = 10.0**digits
    return int(value * scale + 1e-9) / scale


def _times(trial: Trial) -> tuple[str, ...]:
    seams = (
        "-" if trial.seams is None else f"{trial.seams.p50_ms:,.0f} / {trial.seams.p99_ms:,.0f} ({trial.seams.count:,})"
    )
    return seams, _in_seconds(trial.felt), _in_seconds(trial.back)


def _in_seconds(times: Spread | None) -> str:
    return "-" if times is None else f"{times.p50_ms / 1000:.1f} / {times.most_ms / 1000:.1f}"


def _usual_rate(results: ChurnResults) -> float:
    return max(trial.rate for trial in results.trials)
