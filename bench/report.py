"""What does somebody at a terminal see? Tables for each work, the goals, and a bar that tells how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.bar import ShownProgress
from bench.goals import judge_goals
from bench.summary import Column, Figure, Row, columns_of, rows_of

if TYPE_CHECKING:
    from rich.console import Console

    from bench.results import Results
    from bench.samples import Sample

__all__ = ["CALM_LOAD", "Bar", "figure_words", "print_report"]

CALM_LOAD = 0.5
"""A load average above this means that others were using the machine."""


def print_report(results: Results, console: Console) -> None:
    """Print everything that was found, medians with what the rounds lie between."""
    console.print(f"{results.date}, {results.machine.processor}, {results.machine.core_count} cores. {results.cores}")
    if results.machine.load_before > CALM_LOAD:
        words = f"The machine was busy before it began (load average {results.machine.load_before:g}): "
        console.print(f"{words}processor times are rough, requests/s and latencies worthless.", style="yellow")
    for gateway, reason in results.missing.items():
        console.print(f"Missing: {results.titles[gateway]}: {reason}", style="yellow", markup=False)
    for work in results.works:
        console.print(_table(results, work))
    console.print(_goals(results))
    if results.wrong:
        console.print(f"{results.wrong} answers were wrong: the rounds that had them count for nothing.", style="red")


def _table(results: Results, work: str) -> Table:
    columns = columns_of(work)
    table = Table(title=results.works[work], title_justify="left", title_style="bold")
    table.add_column("gateway")
    for column in columns:
        table.add_column(column.heading, justify="right")
    table.add_column("ratio to ours", justify="right")
    table.add_column("note")
    for row in rows_of(results, work):
        cells = [figure_words(row, column) for column in columns]
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(results.titles[row.gateway], *cells, ratio, row.note, style="red" if row.wrong else None)
    return table


def figure_words(row: Row, column: Column) -> str:
    """A median and what the rounds lie between."""
    figure: Figure | None = row.figures.get(column.name)
    if figure is None:
        return "-"
    median, least, most = (f"{value:,.{column.digits}f}" for value in (figure.median, figure.least, figure.most))
    return f"{median} ({least}-{most})" if least != most else median


def _goals(results: Results) -> Table:
    table = Table(title="Goals", title_justify="left", title_style="bold")
    table.add_column("goal")
    for heading in ("at most", "measured", ""):
        table.add_column(heading, justify="right")
    styles = {"met": "green", "missed": "red"}
    for verdict in judge_goals(results):
        measured = "-" if verdict.measured is None else f"{verdict.measured:.2f}"
        word = f"{verdict.word}, rough" if verdict.is_rough else verdict.word
        table.add_row(verdict.goal.words, f"{verdict.goal.most:g}", measured, word, style=styles.get(verdict.word))
    return table


class Bar(ShownProgress):
    """Tells on stderr how far a benchmark is: a bar on a terminal, a line a round elsewhere.

    Args:
        total_seconds: how long all rounds will take, about.
    """

    def __init__(self, total_seconds: float) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        super().__init__(*columns, description="Starting ...", total=total_seconds)

    def stage(self, text: str, seconds: float = 0.0) -> None:
        """Say what begins, and how much of the time is over."""
        self._progress.update(self._task, advance=seconds)
        if text and self._shows:
            self._progress.update(self._task, description=text)
        elif text.startswith(("Installing", "Starting")):
            self._console.print(f"[bench] {text}", markup=False, highlight=False)

    def measured(self, sample: Sample) -> None:
        """Tell of one round, where there is no bar."""
        if not self._shows:
            told = ", ".join(f"{name} {value:.5g}" for name, value in sample.figures.items())
            what = sample.first_wrong or told or sample.note
            words = f"[bench] {sample.work}, round {sample.round}, {sample.gateway}: {what}"
            self._console.print(words, markup=False, highlight=False, soft_wrap=True)
