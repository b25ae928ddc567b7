"""``multiverse usage``: who used how much, and who gave how much?"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from app.cli.connection import GatewayOption, KeyOption, connect
from app.cli.console import print_json, print_verbatim, stdout_console
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode
from app.cli.usage_filters import with_ids
from app.cli.usage_table import contribution_table, own_use, usage_table
from app.services.core.reporting.csv_rows import csv_text

if TYPE_CHECKING:
    from app.cli.gateway_client import GatewayClient

__all__ = ["CsvOption", "span_options", "usage_app"]

USAGE_PATH: Final = "/admin/usage"
OWN_PATH: Final = "/v1/usage"
MOST_ROWS: Final = 10_000
USAGE_EPILOG: Final = f"""\b
Examples:
  multiverse usage                       who used how much, in the last 30 days
  multiverse usage --by model --from 7d
  multiverse usage --by day --person alice --from 2030-01-01 --to 2030-02-01 --csv
  multiverse usage --by model --group physics-101 --of-key ada
  multiverse usage contributions         what each owner gave and took

{EXIT_CODES_HELP}"""
_AGO: Final = re.compile(r"([0-9]{1,4})([hdw])")
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class By(StrEnum):
    """What a row stands for."""

    KEY = "key"
    MODEL = "model"
    SERVER = "server"
    OWNER = "owner"
    GROUP = "group"
    PERSON = "person"
    HOUR = "hour"
    DAY = "day"


class Side(StrEnum):
    """What an owner asks about."""

    SERVED = "served"
    USED = "used"


FromOption = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="A date, a time (UTC), or how long ago: 7d, 12h, 4w.")
]
ToOption = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Likewise; that moment is left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV and nothing else.")]

usage_app = typer.Typer(
    invoke_without_command=True,
    help="Show who used how much: a key its own use, owners and admins more.",
    epilog=USAGE_EPILOG,
)


def only(name: str, metavar: str, by: str) -> Any:
    """An option that keeps to one; it may be given again for more."""
    declared = [f"--{'of-key' if name == 'key' else name}"]
    return typer.Option(*declared, metavar=metavar, help=f"Only this {name}, by {by}; may be given again.")


BY_NAME: Final = "its name, its id or a beginning of that"


@usage_app.callback(epilog=USAGE_EPILOG)
def show_usage(
    context: typer.Context,
    *,
    by: Annotated[By | None, typer.Option(help="What a row stands for.")] = None,
    since: FromOption = None,
    until: ToOption = None,
    only_key: Annotated[list[str] | None, only("key", "KEY", BY_NAME)] = None,
    model: Annotated[list[str] | None, only("model", "NAME", "its name")] = None,
    server: Annotated[list[str] | None, only("server", "SERVER", "its id, a beginning of that or its URL")] = None,
    owner: Annotated[list[str] | None, only("owner", "KEY", BY_NAME)] = None,
    group: Annotated[list[str] | None, only("group", "GROUP", BY_NAME)] = None,
    person: Annotated[list[str] | None, only("person", "PERSON", "what it is called")] = None,
    side: Annotated[Side | None, typer.Option(help="For owners: what your servers served, or your keys used.")] = None,
    own: Annotated[bool, typer.Option("--own", help="Show what this key itself used, and what is left.")] = False,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show who used how much."""
    if context.invoked_subcommand is not None:
        return
    filters = {"key": only_key, "model": model, "server": server, "owner": owner, "group": group, "person": person}
    asked = {"group_by": by, "side": side, **span_options(since, until)}
    params: dict[str, Any] = {name: value for name, value in asked.items() if value}
    with connect(gateway, key) as client:
        params |= with_ids(client, {name: wanted for name, wanted in filters.items() if wanted})
        answer = _answer(client, params, own=own)
    if as_json:
        print_json(answer)
    elif "rows" not in answer:
        _show_own(answer, as_csv=as_csv)
    elif as_csv:
        _print_csv(answer["rows"])
    else:
        stdout_console().print(usage_table(answer))


@usage_app.command(
    "contributions", epilog=f"Example: multiverse usage contributions --from 2030-01-01\n\n{EXIT_CODES_HELP}"
)
def show_contributions(
    *,
    since: FromOption = None,
    until: ToOption = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show what each owner's servers served, and what its people used."""
    with connect(gateway, key) as client:
        answer = client.request("GET", f"{USAGE_PATH}/contributions", params=span_options(since, until))
    if as_json:
        print_json(answer)
    elif as_csv:
        _print_csv([_flat(row) for row in answer["rows"]])
    elif answer["rows"]:
        stdout_console().print(contribution_table(answer["rows"]))
    else:
        print_verbatim("Nobody served or used anything in that time.")


def span_options(since: str | None, until: str | None, names: tuple[str, str] = ("from", "to")) -> dict[str, str]:
    """The parameters of a span of time: what is given, with "7d" turned into the moment that it means."""
    given = zip(names, (since, until), strict=True)
    return {name: _moment(text) for name, text in given if text is not None}


def _moment(text: str) -> str:
    ago = _AGO.fullmatch(text.strip())
    if ago is None:
        return text.strip()
    moment = datetime.now(UTC) - int(ago[1]) * _UNITS[ago[2]]
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _answer(client: GatewayClient, params: dict[str, Any], *, own: bool) -> dict[str, Any]:
    """What the gateway says: to a key that may not see others' use, its own."""
    if own:
        return dict(client.request("GET", OWN_PATH))
    try:
        return dict(client.request("GET", USAGE_PATH, params={**params, "limit": MOST_ROWS}))
    except CommandFailed as failure:
        if failure.code is not ExitCode.UNAUTHORISED or params:
            raise
        return dict(client.request("GET", OWN_PATH))


def _show_own(answer: dict[str, Any], *, as_csv: bool) -> None:
    if not as_csv:
        stdout_console().print(own_use(answer))
        return
    whole = [{"model": "(today)"} | answer["today"], {"model": "(this month)"} | answer["month"]]
    _print_csv([*whole, *answer["models"]])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Give each figure of a part a column of its own."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        flat |= {f"{name}_{part}": each for part, each in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _print_csv(rows: list[dict[str, Any]]) -> None:
    """Write rows with their own names for columns."""
    columns = dict.fromkeys(name for row in rows for name in row)
    print_verbatim(csv_text(columns, rows).removesuffix("\n"))
