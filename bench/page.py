"""How do results become docs/benchmarks.md? A fixed text with generated tables, plots, configurations and raw rounds.

The page follows from docs/benchmarks/results.json alone, so that a test can hold the two together.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.configuration_files import configuration_files
from bench.gateways import DIRECT, OURS
from bench.goals import judge_goals
from bench.page_words import (
    INTRODUCTION,
    REPEATING,
    how_measured,
    left_out,
    missed_words,
    reading,
    roughness,
)
from bench.plots import BarOf, draw
from bench.report import figure_words
from bench.summary import KEY_FIGURES, columns_of, rows_of
from bench.works import WORKS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.results import Results

__all__ = ["DOCS", "pictures_of", "render", "write_docs"]

DOCS = Path(__file__).resolve().parents[1] / "docs"


def write_docs(results: Results, docs: Path = DOCS) -> str:
    """Write the page and all that belongs to it; returns what was written, in words."""
    folder = docs / "benchmarks"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = {**pictures_of(results), **configuration_files(results)}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    raw = msgspec.json.format(msgspec.json.encode(results), indent=1)
    (folder / "results.json").write_bytes(raw + b"\n")
    (docs / "benchmarks.md").write_text(render(results), encoding="utf-8")
    return f"{docs / 'benchmarks.md'} and {len(files) + 1} files in {folder}"


def pictures_of(results: Results) -> dict[str, str]:
    """One picture for each work that was measured, by file name."""
    titles = {work.name: work.title for work in WORKS}
    pictures = {}
    for work in results.works:
        column = next(column for column in columns_of(work) if column.name == KEY_FIGURES[work])
        bars = []
        for row in rows_of(results, work):
            figure = row.figures.get(column.name)
            if figure and row.gateway != DIRECT:
                words = f"{figure.median:,.{column.digits}f}"
                label, is_ours = results.titles[row.gateway], row.gateway.startswith(OURS)
                bars.append(BarOf(_short(label), figure.median, figure.least, figure.most, is_ours, words))
        if bars:
            pictures[f"{work}.svg"] = draw(titles.get(work, work), column.heading, bars)
    return pictures


def render(results: Results) -> str:
    """The whole page."""
    parts = [
        INTRODUCTION,
        _banner(results),
        _where(results),
        left_out(results),
        "## Goals",
        _goals(results),
        missed_words(results),
        "## Results",
        reading(results),
        *[part for work in results.works for part in _work(results, work)],
        "## How it is measured",
        how_measured(results),
        "## What was compared",
        _gateways(results),
        REPEATING,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _banner(results: Results) -> str:
    words = roughness(results)
    return f"> **{words}**" if words else ""


def _where(results: Results) -> str:
    machine = results.machine
    wrong = results.wrong or "none"
    rows = [
        ("date", results.date),
        ("machine", f"{machine.processor}, {machine.core_count} cores, {machine.memory_gigabytes:g} GiB"),
        ("system", f"{machine.system}, Python {machine.python}"),
        ("busy before", f"load average {machine.load_before:g}"),
        ("command", f"`{results.command}`"),
        ("rounds", f"{results.rounds}{', shortened' if results.quick else ''}, {results.seconds:,.0f} s in all"),
        ("wrong answers", str(wrong)),
    ]
    return _table(("what", ""), rows, "--")


def _goals(results: Results) -> str:
    rows = []
    for verdict in judge_goals(results):
        measured = "-" if verdict.measured is None else f"{verdict.measured:.2f}"
        rough = f", rough (rounds: {verdict.rounds})" if verdict.is_rough else ""
        rows.append((verdict.goal.words, f"{verdict.goal.most:g}", measured, f"**{verdict.word}**{rough}"))
    return _table(("goal", "at most", "measured", ""), rows, "-:::")


def _work(results: Results, work: str) -> list[str]:
    columns = columns_of(work)
    rows = []
    for row in rows_of(results, work):
        cells = [figure_words(row, column) for column in columns]
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        rows.append((results.titles[row.gateway], *cells, ratio, row.note))
    headings = ("gateway", *(column.heading for column in columns), "ratio to ours", "note")
    title = results.works[work]
    picture = f"![{title}](benchmarks/{work}.svg)" if f"{work}.svg" in pictures_of(results) else ""
    table = _table(headings, rows, "-" + ":" * (len(columns) + 1) + "-")
    return [f"### {title[0].upper()}{title[1:]}", *([picture] if picture else []), table]


def _gateways(results: Results) -> str:
    files = configuration_files(results)
    rows = []
    for name, version in results.versions.items():
        linked = [file for file in files if file.partition(".")[0] == name]
        links = ", ".join(f"[{file}](benchmarks/{file})" for file in linked)
        rows.append((results.titles[name], version, links, results.missing.get(name, "")))
    return _table(("gateway", "version", "command, variables, files", "missing because"), rows, "----")


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]], alignment: str) -> str:
    """A table in Markdown; ``alignment`` has a ``:`` for each column of figures and a ``-`` for each of words."""
    lines = [list(headings), ["--:" if side == ":" else "---" for side in alignment], *map(list, rows)]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _short(title: str) -> str:
    return title.partition(" (")[0]
