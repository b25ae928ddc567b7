"""What was found, in a table and as JSON; and how far it is, meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.bar import ShownProgress
from bench.identical.cases import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from bench.identical.run import Trial

__all__ = ["Bar", "percentile", "print_report", "summary"]


def percentile(values: Sequence[float], share: float) -> float | None:
    """The least value that so large a share of all does not exceed; None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """What was found, in plain values."""
    gaps = [trial.gap_seconds * 1000 for trial in trials if trial.continuations]
    return {
        "prompts": len(trials),
        "identical": sum(not trial.differences for trial in trials),
        "cut": sum(trial.was_cut for trial in trials),
        "continued": sum(trial.continuations > 0 for trial in trials),
        "gap_p50_ms": percentile(gaps, 0.5),
        "gap_p99_ms": percentile(gaps, 0.99),
        "gap_max_ms": max(gaps, default=None),
        "trials": [_told(trial) for trial in trials],
    }


def _told(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.case.number,
        "kind": trial.case.kind,
        "cut_after_event": trial.cut.events,
        "events": trial.events,
        "was_cut": trial.was_cut,
        "continuations": trial.continuations,
        "gap_ms": round(trial.gap_seconds * 1000, 1),
        "differences": trial.differences,
        "unsteady": bool(trial.again),
        "text": trial.expected.text,
        "request": trial.case.body,
    }


def print_report(trials: Sequence[Trial], console: Console) -> None:
    """Print a table, and all that differs."""
    table = Table(title="Answers that were cut, beside the same in peace", title_justify="left", title_style="bold")
    table.add_column("kind")
    for heading in ("identical", "went on elsewhere", "cut after event", "gap p50 ms", "gap p99 ms"):
        table.add_column(heading, justify="right")
    for kind in KINDS:
        if some := [trial for trial in trials if trial.case.kind == kind]:
            table.add_row(kind, *_cells(some))
    table.add_section()
    table.add_row("all", *_cells(trials))
    console.print(table)
    for trial in trials:
        for words in trial.differences:
            case = trial.case
            told = f"request {case.number} ({case.kind}), cut after event {trial.cut.events} of {trial.events}: {words}"
            console.print(told, style="red", markup=False, highlight=False, soft_wrap=True)
        if trial.again:
            words = (
                f"request {trial.case.number}: uncut, but asked again, the model server differs too: {trial.again[0]}"
            )
            console.print(words, style="yellow", markup=False, highlight=False, soft_wrap=True)
    uncut = [str(trial.case.number) for trial in trials if not trial.was_cut]
    if uncut:
        console.print(f"Over before the server was killed: {', '.join(uncut)}", style="yellow")


def _cells(trials: Sequence[Trial]) -> tuple[str, ...]:
    found = summary(trials)
    after = [trial.cut.events for trial in trials]
    gaps = ("-" if gap is None else f"{gap:.0f}" for gap in (found["gap_p50_ms"], found["gap_p99_ms"]))
    count = len(trials)
    return (f"{found['identical']} of {count}", f"{found['continued']} of {count}", f"{min(after)}-{max(after)}", *gaps)


class Bar(ShownProgress):
    """Tells on stderr how far it is: a bar on a terminal, a line for each stage elsewhere."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        super().__init__(*columns, description="Starting the model servers", total=None, refresh_per_second=2)

    def stage(self, text: str, count: int) -> None:
        """Something begins that has so many steps."""
        self._progress.reset(self._task, description=text, total=count)
        if not self._shows:
            self._say(f"{text}: {count}")

    def step(self, words: str = "") -> None:
        """One of them is done; ``words`` are worth a line of their own."""
        self._progress.advance(self._task)
        if words:
            self._say(words)

    def _say(self, words: str) -> None:
        self._console.print(f"[identical] {words}", markup=False, highlight=False, soft_wrap=True)
