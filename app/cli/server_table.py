"""How does a registered server read in a terminal: its state in words and colour, its models, its load?

What the gateway does not tell, an older one or one whose server's engine tells nothing, is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from app.cli.ages import describe_age
from app.cli.server_findings import finding_rows
from app.cli.server_hours import hours_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from rich.console import RenderableType

__all__ = [
    "changed_in_words",
    "describe_load",
    "holds_of",
    "model_names",
    "server_details",
    "server_list",
    "server_state",
    "short_id",
]

WIDE_COLUMNS: Final = 100
"""From this width on the engine and the age of the last check have room too."""
SHORT_ID_LENGTH: Final = 8
CHECKS_SHOWN: Final = 10
_HOLDS: Final = ("blocked", "pending", "quarantined", "paused", "draining", "off_hours")
_STYLES: Final = {"healthy": "green", "unhealthy": "bold red", "unknown": "yellow"}
_DETAILS: Final = (
    ("Id", "registration_id"),
    ("Endpoint", "endpoint_url"),
    ("Engine", "engine"),
    ("Reason", "reason"),
    ("In flight", "in_flight"),
    ("Engine's load", "load"),
    ("In memory", "loaded_models"),
    ("Concurrency cap", "max_concurrency"),
    ("Priority", "priority"),
    ("Weight", "weight"),
    ("Share", "share"),
    ("Trust", "trust"),
    ("Hours", "hours"),
    ("Quarantined until", "quarantined_until"),
    ("Owner's key", "owner"),
    ("Failures in a row", "consecutive_failures"),
    ("Last checked", "last_checked_at"),
    ("Last change", "last_transition_at"),
)
_NONE: Final = "-"
_LOADED: Final = "*"
_PARTS: Final = {"chat": "chats", "text": "completions"}


def short_id(server: Mapping[str, Any]) -> str:
    """As much of the id as people need to name a server."""
    return str(server.get("registration_id", ""))[:SHORT_ID_LENGTH]


def server_state(server: Mapping[str, Any]) -> Text:
    """The state in words: what holds it back first, then what the checks found."""
    health = str(server.get("health_status", "unknown"))
    holds = holds_of(server)
    if not holds:
        return Text(health, style=_STYLES.get(health, ""))
    return Text(f"{', '.join(holds)} ({health})", style="magenta")


def holds_of(server: Mapping[str, Any]) -> list[str]:
    """What keeps work away from a server: blocked, pending, quarantined, paused, draining, off hours."""
    return [hold.replace("_", " ") for hold in _HOLDS if server.get(hold)]


def changed_in_words(server: Mapping[str, Any], done: str) -> str:
    """Say how a server is after something was done to it, and what that did beside."""
    reason = f", {server['reason']}".rstrip(".") if server.get("reason") else ""
    note = f" {server['note']}" if server.get("note") else ""
    return f"{done} {server.get('endpoint_url')}: {server_state(server)}{reason}.{note}"


def server_list(servers: Sequence[Mapping[str, Any]], now: datetime, width_columns: int) -> RenderableType:
    """One row a server, and below them a line for each of whom there is something to tell."""
    is_wide = width_columns >= WIDE_COLUMNS
    table = Table(box=None, pad_edge=False, highlight=False)
    for title in ("Id", "Endpoint", "State"):
        table.add_column(title, no_wrap=True)
    table.add_column("Models", overflow="fold")
    table.add_column("In flight", justify="right")
    for title in ("Engine", "Checked") if is_wide else ():
        table.add_column(title, no_wrap=True)
    for server in servers:
        aside = (_shown(server.get("engine")), describe_age(server.get("last_checked_at"), now)) if is_wide else ()
        table.add_row(
            short_id(server),
            Text(_shown(server.get("endpoint_url"))),
            server_state(server),
            Text(", ".join(_marked_names(server)) or _NONE),
            _shown(server.get("in_flight")),
            *aside,
        )
    notes = [Text(f"{short_id(server)}: {note}") for server in servers for note in _notes(server)]
    if any(_marked_names(server) != model_names(server) for server in servers):
        notes.append(Text(f"{_LOADED} in memory now"))
    return Group(table, *([Text(), *notes] if notes else []))


def server_details(server: Mapping[str, Any], now: datetime) -> Table:
    """Everything about one server, one line a field, with its last checks."""
    table = Table.grid(padding=(0, 2))
    table.add_row("State", server_state(server))
    for label, name in _DETAILS:
        if (said := _detail(server, name, now)) is not None:
            table.add_row(label, Text(said))
    for line in _models_in_detail(server):
        table.add_row("Model", Text(line))
    for label, text in finding_rows(server, now):
        table.add_row(label, text)
    for name, value in (server.get("metadata") or {}).items():
        table.add_row(str(name).capitalize(), Text(_shown(value)))
    for check in (server.get("history") or [])[:CHECKS_SHOWN]:
        verdict = Text("ok", style="green") if check.get("ok") else Text(_shown(check.get("reason")), style="red")
        age = describe_age(check.get("checked_at"), now)
        table.add_row("Check", Text.assemble(f"{age}: ", verdict))
    return table


def _detail(server: Mapping[str, Any], name: str, now: datetime) -> str | None:
    """Say one thing of a server; None where there is nothing to tell and no line for that."""
    match name:
        case "load":
            return describe_load(server, now) or None
        case "loaded_models":
            return _in_memory(server) or None
        case "hours":
            return hours_in_words(server.get(name)) or None
        case "trust" | "quarantined_until" | "owner":
            return str(server.get(name) or "") or None
        case _ if name.endswith("_at"):
            return describe_age(server.get(name), now)
        case _:
            return _shown(server.get(name))


def model_names(server: Mapping[str, Any]) -> list[str]:
    """The models of a server as users ask for them."""
    return [str(model) for model in server.get("models") or []]


def describe_load(server: Mapping[str, Any], now: datetime | None = None) -> str:
    """How busy an engine is by its own word: "3/4 busy, 2 waiting"; with more and its age if ``now`` is given."""
    load = server.get("load") or {}
    running, waiting, places, cache = (load.get(name) for name in ("running", "waiting", "places", "cache_used"))
    parts = []
    if running is not None:
        parts.append(f"{running}/{places} busy" if places else f"{running} busy")
    elif places:
        parts.append(f"{places} places")
    parts += [f"{waiting} waiting"] if waiting else []
    if now is not None and parts:
        parts += [f"{cache:.0%} of its cache used"] if cache is not None else []
        parts.append(f"told {describe_age(load.get('told_at'), now)}")
    return ", ".join(parts)


def _notes(server: Mapping[str, Any]) -> list[str]:
    """What is to be told of a server below the list: what is wrong, and how busy its engine is when it is."""
    load = server.get("load") or {}
    is_busy = bool(load.get("running") or load.get("waiting"))
    return [str(note) for note in (server.get("reason"), is_busy and describe_load(server)) if note]


def _marked_names(server: Mapping[str, Any]) -> list[str]:
    """The models of a server as users ask for them; those that are known to be in its memory are marked."""
    loaded = {model.get("name"): model.get("loaded") for model in server.get("model_details") or []}
    return [f"{name}{_LOADED}" if loaded.get(name) else name for name in model_names(server)]


def _in_memory(server: Mapping[str, Any]) -> str:
    """The models in memory as the server calls them; empty if it does not tell."""
    loaded = server.get("loaded_models")
    return "" if loaded is None else ", ".join(map(str, loaded)) or "no model"


def _context(model: Mapping[str, Any]) -> list[str]:
    """How long a model's context is: what is in effect, and what was registered where that is something else."""
    length, in_effect = model.get("context_length"), model.get("context_in_effect")
    if in_effect and length and in_effect != length:
        return [f"{in_effect:,} tokens in effect, {length:,} registered"]
    known = in_effect or length
    return [f"{known:,} tokens"] if known else []


def _models_in_detail(server: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for model in server.get("model_details") or []:
        notes = [f"there: {model['upstream_name']}"] if model["upstream_name"] != model["name"] else []
        notes += _context(model)
        notes += ["in memory"] if model.get("loaded") else []
        notes += ["/".join(model["capabilities"])] if model.get("capabilities") else []
        notes += [] if model.get("listed", True) else ["not listed there now"]
        notes += _continues(model.get("continuation") or {})
        aside = f" ({', '.join(notes)})" if notes else ""
        lines.append(f"{model['name']}{aside}")
    return lines


def _continues(found: Mapping[str, Any]) -> list[str]:
    """Say whether a model takes over broken answers, and where it can't or nobody knows, why."""
    if not found:
        return []
    able = [word for name, word in _PARTS.items() if found.get(name) not in {"none", "unjudged"}]
    if len(able) == len(_PARTS):
        return ["takes over broken answers"]
    lead = f"takes over broken {able[0]}" if able else "takes over no broken answers"
    if not able and "unjudged" in {found.get(name) for name in _PARTS}:
        lead = "not known yet whether it takes over broken answers"
    reason = str(found.get("reason") or "")
    return [f"{lead}: {reason}" if reason else lead]


def _shown(value: object) -> str:
    return _NONE if value is None or value == "" else str(value)
