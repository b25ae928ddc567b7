"""``multiverse audit``: who changed what, when and from where?"""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from app.cli.connection import GatewayOption, KeyOption, connect
from app.cli.console import print_json, print_verbatim, stdout_console
from app.cli.exits import EXIT_CODES_HELP
from app.cli.usage import CsvOption, span_options
from app.cli.usage_table import audit_table
from app.services.core.reporting.csv_rows import csv_text

__all__ = ["AUDIT_EPILOG", "audit"]

AUDIT_PATH: Final = "/admin/audit"
PAGE_LINES: Final = 1000
COLUMNS: Final = (
    "id",
    "at",
    "actor_id",
    "actor_name",
    "client",
    "request_id",
    "action",
    "kind",
    "object_id",
    "name",
    "before",
    "after",
)
AUDIT_EPILOG: Final = f"""\b
Examples:
  multiverse audit
  multiverse audit --kind key --actor alice --since 7d
  multiverse audit --lines 5000 --csv > audit.csv

{EXIT_CODES_HELP}"""


def audit(
    *,
    kind: Annotated[
        str | None, typer.Option(help="Only changes of this kind of object: key, group, server, alias, settings ...")
    ] = None,
    action: Annotated[str | None, typer.Option(help="Only this kind of change, such as key.created.")] = None,
    actor: Annotated[str | None, typer.Option(metavar="KEY", help="Only what this key did, by its id or name.")] = None,
    changed: Annotated[str | None, typer.Option("--object", metavar="ID", help="Only changes of this one.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="A date, a time (UTC), or how long ago: 7d, 12h, 4w.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Likewise; that moment is left out.")] = None,
    lines: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most, the newest first.")] = 100,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    as_csv: CsvOption = False,
) -> None:
    """Show who changed what: keys, servers, groups, aliases, settings. Needs an admin key."""
    asked = {"kind": kind, "action": action, "actor": actor, "object": changed}
    asked |= span_options(since, until, ("since", "until"))
    params: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    rows: list[dict[str, Any]] = []
    with connect(gateway, key) as client:
        while len(rows) < lines:
            params["limit"] = min(lines - len(rows), PAGE_LINES)
            page = client.request("GET", AUDIT_PATH, params=params)
            rows += page["rows"]
            if page["next_before"] is None:
                break
            params["before"] = page["next_before"]
    if as_json:
        print_json(rows)
    elif as_csv:
        print_verbatim(csv_text(COLUMNS, rows).removesuffix("\n"))
    elif rows:
        stdout_console().print(audit_table(rows))
    else:
        print_verbatim("No change matches." if len(asked.keys() & params.keys()) else "Nothing was changed yet.")
