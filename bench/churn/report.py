"""What does somebody at a terminal see? A table for each fault, one of kinds, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.bar import ShownProgress
from bench.churn.faults import FAULTS
from bench.churn.figures import share_of
from bench.churn.kinds import PROMISED
from bench.churn.tables import HEADINGS, KIND_HEADINGS, faults_of, kind_rows, percent_words, rows_of
from bench.gateways import OURS
from bench.report import CALM_LOAD

if TYPE_CHECKING:
    from rich.console import Console

    from bench.churn.results import ChurnResults, Trial

__all__ = ["Line", "print_report"]


def print_report(results: ChurnResults, console: Console) -> None:
    """Print everything that was found."""
    console.print(f"{results.date}, {results.machine.processor}, {results.machine.core_count} cores. {results.cores}")
    if results.machine.load_before > CALM_LOAD:
        load = f"load average {results.machine.load_before:g}"
        console.print(f"The machine was busy before it began ({load}): times are rough.", style="yellow")
    for gateway, reason in results.missing.items():
        console.print(f"Missing: {results.titles[gateway]}: {reason}", style="yellow", markup=False)
    for name in faults_of(results):
        console.print(_fault_table(results, name))
        for row in rows_of(results, name):
            if row.note:
                console.print(f"{row.cells[0]}: {row.note}", style="yellow", markup=False)
    ours = [trial for trial in results.trials if trial.gateway == OURS]
    if rows := kind_rows(ours):
        table = Table(title="Ours, by kind of request, over all faults", title_justify="left", title_style="bold")
        _fill(table, KIND_HEADINGS, rows)
        console.print(table)


def _fault_table(results: ChurnResults, name: str) -> Table:
    title = next(fault.title for fault in FAULTS if fault.name == name)
    rows = rows_of(results, name)
    ceiling = f"at most {100 * rows[0].trial.ceiling:.1f} % of streams without continuation"
    table = Table(title=f"{name}: {title} ({ceiling})", title_justify="left", title_style="bold")
    _fill(table, HEADINGS, [row.cells for row in rows])
    return table


def _fill(table: Table, headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)


class Line(ShownProgress):
    """Tells on stderr how far a benchmark is: a bar on a terminal, a line a trial elsewhere.

    Args:
        total_seconds: how long all trials will take, about.
    """

    def __init__(self, total_seconds: float) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        super().__init__(*columns, description="Starting ...", total=total_seconds)

    def stage(self, text: str, seconds: float = 0.0) -> None:
        """Say what goes on, and how much more of the time is over."""
        self._progress.update(self._task, advance=seconds, description=text)
        if not self._shows and text.startswith(("Installing", "Starting")):
            self._console.print(f"[churn] {text}", markup=False, highlight=False)

    def tried(self, trial: Trial) -> None:
        """Tell of one trial."""
        once, retried = (share_of([trial], PROMISED, retried=again) for again in (False, True))
        words = trial.note
        if once.asked:
            counts = f"cut {once.cut}, corrupted {once.corrupted}, 5xx {once.failed_5xx}, other {once.other}"
            exact = f"{percent_words(once)} of {once.asked} exact, {percent_words(retried)} with two retries"
            words = f"{exact}; {counts}" + (f"; {trial.note}" if trial.note else "")
        text = f"[churn] {trial.fault}, {trial.gateway}: {words}"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
