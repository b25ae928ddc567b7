"""How do results become part of docs/reliability.md? What stands between two markers there is generated, no more.

It follows from docs/reliability/results.json alone, so that a test can hold the two together.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.churn.ceiling import ceiling_of_all
from bench.churn.faults import FAULTS
from bench.churn.figures import share_of
from bench.churn.kinds import STREAMED
from bench.churn.page_words import JUDGED, how_to_read, roughness, setting
from bench.churn.peers import CONTENDERS
from bench.churn.pictures import ShareBar, draw_shares
from bench.churn.starts import start_files
from bench.churn.tables import HEADINGS, KIND_HEADINGS, faults_of, kind_rows, overview_rows, percent_words, rows_of
from bench.gateways import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.churn.results import ChurnResults

__all__ = ["BEGIN", "DOCS", "END", "between", "pictures_of", "render", "write_docs"]

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN = "<!-- churn: from here on written by `python -m bench.churn --write-docs` -->"
END = "<!-- churn: up to here -->"


def write_docs(results: ChurnResults, docs: Path = DOCS) -> str:
    """Write what is generated, and all that belongs to it; returns what was written, in words.

    Raises:
        OSError: the page is not there, or lacks its markers.
    """
    page = docs / "reliability.md"
    before, _generated, behind = between(page.read_text(encoding="utf-8"))
    folder = docs / "reliability"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = {**pictures_of(results), **start_files(results)}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    raw = msgspec.json.format(msgspec.json.encode(results), indent=1)
    (folder / "results.json").write_bytes(raw + b"\n")
    page.write_text(before + render(results) + behind, encoding="utf-8")
    return f"{page} and {len(files) + 1} files in {folder}"


def between(text: str) -> tuple[str, str, str]:
    """What stands before the generated part, that part, and what stands behind it; the markers stay outside.

    Raises:
        OSError: a marker is missing.
    """
    before, begin, rest = text.partition(BEGIN + "\n")
    generated, end, behind = rest.partition(END)
    if not begin or not end:
        raise OSError(f"docs/reliability.md needs the lines {BEGIN} and {END}")
    return before + begin, generated, end + behind


def pictures_of(results: ChurnResults) -> dict[str, str]:
    """One picture for each fault that was tried, by file name."""
    pictures = {}
    for name in faults_of(results):
        bars, ceilings = [], []
        for row in rows_of(results, name, STREAMED):
            once, retried = (share_of([row.trial], STREAMED, retried=again) for again in (False, True))
            if once.asked:
                low, high = once.bounds_percent
                label, is_ours = _short(row.cells[0]), row.trial.gateway == OURS
                words = percent_words(once)
                bars.append(ShareBar(label, once.percent, low, high, retried.percent, words, is_ours))
                ceilings.append(100 * row.trial.ceiling)
        if bars:
            pictures[f"{name}.svg"] = draw_shares(_title(name), max(ceilings), bars)
    return pictures


def render(results: ChurnResults) -> str:
    """What stands between the markers."""
    words = roughness(results)
    ours = [trial for trial in results.trials if trial.gateway == OURS]
    parts = [
        f"> **{words}**" if words else "",
        _where(results),
        _missing(results),
        "### At a glance",
        how_to_read(results),
        _table(("gateway", *faults_of(results)), overview_rows(results)),
        *[part for name in faults_of(results) for part in _fault(results, name)],
        "### By kind of request",
        _kinds(results),
        _table(KIND_HEADINGS, kind_rows(ours)) if ours else "",
        "### How it is counted",
        JUDGED,
        setting(results),
        "### What was compared",
        _gateways(results),
    ]
    return "\n" + "\n\n".join(part for part in parts if part) + "\n\n"


def _where(results: ChurnResults) -> str:
    machine = results.machine
    rows = [
        ("date", results.date),
        ("machine", f"{machine.processor}, {machine.core_count} cores, {machine.memory_gigabytes:g} GiB"),
        ("system", f"{machine.system}, Python {machine.python}"),
        ("busy before", f"load average {machine.load_before:g}"),
        *[("command", f"`{command}`") for command in results.command.splitlines()],
        ("time", f"{results.seconds:,.0f} s in all"),
    ]
    return _table(("what", ""), rows)


def _missing(results: ChurnResults) -> str:
    lines = [f"* {results.titles[name]}: {reason}" for name, reason in results.missing.items()]
    return "\n".join(["Missing:\n", *lines]) if lines else ""


def _fault(results: ChurnResults, name: str) -> list[str]:
    rows = rows_of(results, name)
    title = _title(name)
    notes = [f"* {row.cells[0]}: {_cell(row.note)}" for row in rows if row.note]
    ceiling = max(row.trial.ceiling for row in rows)
    hits = max(row.trial.hits for row in rows)
    words = f"{hits} engines were hit." if hits else "The control: whatever is not exact here is not due to faults."
    if ceiling < 1:
        words += f" Without continuation at most {100 * ceiling:.1f} % of streams can be exact"
        words += f" ({100 * max(ceiling_of_all(row.trial) for row in rows):.1f} % of all that the table counts)."
    picture = f"![{title}](reliability/{name}.svg)" if f"{name}.svg" in pictures_of(results) else ""
    parts = [f"### `{name}`: {title}", words, picture, _table(HEADINGS, [row.cells for row in rows]), "\n".join(notes)]
    return [part for part in parts if part]


def _kinds(results: ChurnResults) -> str:
    faults = ", ".join(f"`{name}`" for name in faults_of(results))
    return (
        f"Ours, added up over {faults}. A kind that is not promised can't be gone on with once a part of it went out:\n"
        "it ends in an error event that says so, or is exact because nothing of it had gone out yet."
    )


def _gateways(results: ChurnResults) -> str:
    files = start_files(results)
    rows = []
    for name, version in results.versions.items():
        linked = [file for file in files if file.rpartition(".")[0] == name]
        links = ", ".join(f"[{file}](reliability/{file})" for file in linked)
        words = next(contender.words for contender in CONTENDERS if contender.gateway.name == name)
        rows.append((results.titles[name], version, words, links))
    return _table(("gateway", "version", "set up", "command, variables, files, in full"), rows)


def _title(name: str) -> str:
    return next(fault.title for fault in FAULTS if fault.name == name)


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = [list(headings), *map(list, rows)]
    cells.insert(1, ["---"] * len(cells[0]))
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in cells)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _short(title: str) -> str:
    return title.replace("ours, multiverse serve", "ours").replace(" requests/s)", "/s)")
