"""How do models and classes of their names read in a terminal?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["class_lines", "model_table", "with_classes"]

_NONE: Final = "-"


def with_classes(
    routes: Iterable[Mapping[str, Any]], servers: Iterable[Mapping[str, Any]], classes: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Put together what is known of each name that can be asked for.

    Args:
        routes: the gateway's list of models.
        servers: as they are registered, each with the names of its models.
        classes: those that were confirmed.
    """
    class_of: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    for one in classes:
        for name in {one["name"], *one["members"]}:
            class_of[name] = one["name"]
            members[name] = [one["name"], *one["members"]]
    engines: dict[str, set[str]] = {}
    for server in servers:
        for name in server.get("models") or []:
            engines.setdefault(name, set()).add(str(server.get("engine") or "unknown"))
    return [
        {
            "name": route["id"],
            "servers": route.get("servers"),
            "healthy_servers": route.get("healthy_servers"),
            "context_length": route.get("context_length"),
            "engines": sorted(
                {engine for member in members.get(route["id"], [route["id"]]) for engine in engines.get(member, ())}
            ),
            "class": class_of.get(route["id"]),
        }
        for route in routes
    ]


def model_table(models: Sequence[Mapping[str, Any]]) -> Table:
    """One row a name; the class's column is there where a class is."""
    has_classes = any(model["class"] for model in models)
    table = Table(box=None, pad_edge=False, highlight=False)
    table.add_column("Model", overflow="fold")
    table.add_column("Healthy", justify="right", no_wrap=True)
    table.add_column("Context", justify="right", no_wrap=True)
    table.add_column("Engines", overflow="fold")
    if has_classes:
        table.add_column("Class", overflow="fold")
    for model in models:
        context = model["context_length"]
        table.add_row(
            Text(str(model["name"])),
            _healthy(model),
            _NONE if context is None else f"{context:,}",
            Text(", ".join(model["engines"]) or _NONE),
            *([Text(model["class"] or _NONE)] if has_classes else []),
        )
    return table


def class_lines(confirmed: Sequence[Mapping[str, Any]], proposals: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Tell what was confirmed, what is proposed and why, and what can be done about it, with names to be copied."""
    if not confirmed and not proposals:
        yield "No names were confirmed to mean one model, and none look like it."
        yield "Confirm some by hand: multiverse models confirm NAME MEMBER MEMBER"
        return
    for title, classes in (("Confirmed", confirmed), ("Proposed", proposals)):
        if not classes:
            continue
        yield f"{title}:"
        for one in classes:
            yield f"  {one['name']}" + (" (would grow)" if one.get("extends") else "")
            yield from (f"    {member}" for member in one["members"])
            yield from [f"    Why: {one['reason']}"] if one.get("reason") else []
    if proposals:
        name = proposals[0]["name"]
        yield f"Confirm one: multiverse models confirm {name}    Or: multiverse models dismiss {name}"


def _healthy(model: Mapping[str, Any]) -> Text:
    healthy, servers = model["healthy_servers"] or 0, model["servers"] or 0
    style = "green" if healthy and healthy == servers else "yellow" if healthy else "bold red"
    return Text(f"{healthy} of {servers}", style=style)
