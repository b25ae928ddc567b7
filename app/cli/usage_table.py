"""How do use, contributions and the audit read in a terminal?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import RenderableType

__all__ = ["audit_table", "contribution_table", "own_use", "plain", "usage_table"]

_FIGURES: Final = (
    ("Requests", "requests"),
    ("Errors", "errors"),
    ("Prompt", "prompt_tokens"),
    ("Answer", "completion_tokens"),
    ("Tokens", "total_tokens"),
)
_NONE: Final = "-"
_CHANGE_CHARACTERS: Final = 120


def usage_table(answer: Mapping[str, Any]) -> RenderableType:
    """One row for each key, model or whatever was asked by, and their sum below."""
    rows: Sequence[Mapping[str, Any]] = answer["rows"]
    table = _figures_table(str(answer["group_by"]).capitalize())
    names = [plain(row["name"]) for row in rows]
    for row, name in zip(rows, names, strict=True):
        shown = name if names.count(name) == 1 or name == row["id"] else f"{name} ({plain(row['id'])})"
        table.add_row(Text(shown), *_figures(row))
    table.add_section()
    table.add_row(Text("Total", style="bold"), *_figures(answer["totals"]))
    notes = [Text(f"From {answer['from']} to {answer['to']}")]
    if answer["total"] > len(rows):
        notes.append(Text(f"{len(rows):,} of {answer['total']:,} rows"))
    if estimated := answer["totals"]["estimated_tokens"]:
        notes.append(Text(f"{estimated:,} of the tokens are estimated: no server counted them"))
    return Group(table, Text(), *notes)


def own_use(answer: Mapping[str, Any]) -> RenderableType:
    """Today, this month and the models of the month; below them the limits."""
    table = _figures_table("")
    table.add_row(Text("Today"), *_figures(answer["today"]))
    table.add_row(Text("This month"), *_figures(answer["month"]))
    for row in answer["models"]:
        table.add_row(Text(f"  {plain(row['model'])}"), *_figures(row))
    if not answer["limits"]:
        return Group(table, Text(), Text("No limits."))
    return Group(table, Text(), _limit_table(answer["limits"]))


def contribution_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """One row an owner."""
    table = Table(box=None, pad_edge=False, highlight=False)
    table.add_column("Owner", overflow="fold")
    for title in ("Served requests", "Served tokens", "Used tokens", "Balance"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        balance = row["balance_tokens"]
        table.add_row(
            Text(plain(row["name"])),
            f"{row['served']['requests']:,}",
            f"{row['served']['total_tokens']:,}",
            f"{row['used']['total_tokens']:,}",
            Text(f"{balance:+,}", style="green" if balance >= 0 else "yellow"),
        )
    return table


def audit_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """One row a change, the newest first."""
    table = Table(box=None, pad_edge=False, highlight=False)
    for title in ("Id", "When", "Who", "From", "What"):
        table.add_column(title, no_wrap=True)
    table.add_column("Of", overflow="fold")
    table.add_column("Change", overflow="fold")
    for row in rows:
        table.add_row(
            str(row["id"]),
            plain(row["at"])[: len("2030-01-01T00:00:00")],
            Text(plain(row["actor_name"])),
            Text(plain(row["client"]) or _NONE),
            Text(plain(row["action"])),
            Text(plain(row["name"] or row["object_id"])),
            Text(_change(row["before"], row["after"])),
        )
    return table


def plain(value: object) -> str:
    """A text without what steers a terminal: names are chosen by people."""
    return "".join(character if character.isprintable() else "?" for character in str(value))


def _figures_table(title: str) -> Table:
    table = Table(box=None, pad_edge=False, highlight=False)
    table.add_column(title, overflow="fold")
    for name, _member in _FIGURES:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _figures(row: Mapping[str, Any]) -> list[str]:
    return [f"{row[member]:,}" for _name, member in _FIGURES]


def _limit_table(limits: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, highlight=False)
    for title in ("Limit", "Of"):
        table.add_column(title, overflow="fold")
    for title in ("Limit", "Used", "Left"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in limits:
        subject = f"{one['subject']}, {one['model']}" if one["model"] else str(one["subject"])
        table.add_row(
            Text(plain(one["name"]).replace("_", " ")),
            Text(plain(subject)),
            f"{one['limit']:,}",
            f"{one['used']:,}",
            f"{one['remaining']:,}",
        )
    return table


def _change(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """What differs, as ``name: before -> after``, cut where it is long."""
    names = sorted({*(before or {}), *(after or {})})
    parts = []
    for name in names:
        was, now = (before or {}).get(name), (after or {}).get(name)
        if before is None or after is None:
            parts.append(f"{name}: {_value(now if before is None else was)}")
        elif was != now:
            parts.append(f"{name}: {_value(was)} -> {_value(now)}")
    text = plain(", ".join(parts))
    return text if len(text) <= _CHANGE_CHARACTERS else f"{text[:_CHANGE_CHARACTERS]}..."


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
