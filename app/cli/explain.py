"""``multiverse servers explain``: where would the next request for a model go, and why?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from app.cli.connection import GatewayOption, KeyOption, connect
from app.cli.console import print_json, print_verbatim, stdout_console
from app.cli.exits import EXIT_CODES_HELP
from app.cli.server_table import short_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["EXPLAIN_EPILOG", "explain"]

EXPLAIN_EPILOG: Final = f"""\b
Examples:
  multiverse servers explain llama-3-8b
  multiverse servers explain llama-3-8b --prompt-tokens 30000
  multiverse servers explain llama-3-8b --session my-session --json

{EXIT_CODES_HELP}"""
WIDE_COLUMNS: Final = 100
"""From this width on the endpoint has room too."""
MOST_TOKENS: Final = 10**9


def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model, as clients name it.")],
    *,
    prompt_tokens: Annotated[
        int, typer.Option(metavar="COUNT", min=0, max=MOST_TOKENS, help="About how many tokens the prompt has.")
    ] = 0,
    answer_tokens: Annotated[
        int, typer.Option(metavar="COUNT", min=0, max=MOST_TOKENS, help="The max_tokens that it asks for.")
    ] = 0,
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="The X-Session-ID that it is sent with, with this key.")
    ] = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Show where the next request for a model would go, and what speaks against each other server."""
    asked: dict[str, str | int] = {"model": model}
    asked |= {"prompt_tokens": prompt_tokens} if prompt_tokens else {}
    asked |= {"answer_tokens": answer_tokens} if answer_tokens else {}
    asked |= {"session": session} if session is not None else {}
    with connect(gateway, key) as client:
        told = client.request("GET", "/admin/explain", params=asked)
    if as_json:
        print_json(told)
        return
    console = stdout_console()
    console.print(place_table(told["servers"], console.width))
    print_verbatim()
    print_verbatim(str(told["sentence"]))


def place_table(places: Sequence[Mapping[str, Any]], width_columns: int) -> Table:
    """One row a server: whether it would be taken, how loaded it is, and why it is not."""
    is_wide = width_columns >= WIDE_COLUMNS
    table = Table(box=None, pad_edge=False, highlight=False)
    table.add_column("Id", no_wrap=True)
    if is_wide:
        table.add_column("Endpoint", no_wrap=True)
    for title in ("Taken", "Load", "Context"):
        table.add_column(title, no_wrap=True, justify="right")
    table.add_column("Why", overflow="fold")
    for place in places:
        endpoint = (Text(str(place.get("endpoint_url") or "-")),) if is_wide else ()
        context = place.get("context_length")
        table.add_row(
            short_id(place),
            *endpoint,
            _taken(place),
            _load(place),
            f"{context:,}" if context else "-",
            Text(", ".join(_notes(place)) or "-"),
        )
    return table


def _taken(place: Mapping[str, Any]) -> Text:
    """The share of the next requests; in colour whether there is one."""
    if not place.get("takes"):
        return Text("no", style="red")
    return Text(f"{place.get('share', 0.0):.0%}", style="green" if place.get("share") else "yellow")


def _load(place: Mapping[str, Any]) -> str:
    """Requests in flight of those that it computes at once, and the foreign ones."""
    foreign = place.get("foreign") or 0.0
    return f"{place.get('in_flight')}{f'+{foreign:g}' if foreign else ''} of {place.get('places')}"


def _notes(place: Mapping[str, Any]) -> list[str]:
    """What speaks against a server, then what speaks for it."""
    notes = [str(place["why"])] if place.get("why") else []
    if place.get("takes") and place.get("ramp", 1.0) < 1.0:
        notes.append(f"coming back, at {place['ramp']:.0%} of its weight")
    if place.get("home"):
        notes.append(f"knows this {place['home']}")
    return notes
