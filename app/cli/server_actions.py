"""``multiverse servers check|pause|resume|drain|block|unblock``: how is a server steered from the command line?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from app.cli.connection import GatewayOption, KeyOption, connect
from app.cli.console import print_json, print_verbatim
from app.cli.exits import EXIT_CODES_HELP
from app.cli.key_options import parse_expiry
from app.cli.server_options import JsonOption, ServerArgument, given
from app.cli.server_reference import find_server, server_path
from app.cli.server_table import changed_in_words

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["add_actions"]

ACTIONS: Final = (
    ("check", "Checked", "Check a server now, without waiting for its turn."),
    ("resume", "Resumed", "Undo a pause or a drain."),
    ("unblock", "Unblocked", "Lift a block, and a quarantine with it. Needs an admin key."),
)
HOLDS: Final = (
    ("pause", "Paused", "Send a server no new requests until it is resumed; running ones finish."),
    ("drain", "Draining", "Let a server finish what it has and send nothing more, such as before an update."),
    ("block", "Blocked", "Send a server no requests, by the operator's word; its owner cannot lift it."),
)
"""What keeps work away from a server, and may say why and for how long."""

ReasonOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; shown with the server.")]
UntilOption = Annotated[
    str | None, typer.Option(metavar="WHEN", help="When it ends by itself: 2027-02-28T18:00 or 12h. Left out: never.")
]


def add_actions(servers_app: typer.Typer) -> None:
    """Add the commands that do something to a server and say in one sentence how it is then."""
    for actions, make in ((ACTIONS, _action), (HOLDS, _hold)):
        for name, done, summary in actions:
            short = summary.partition(",")[0].partition(" until")[0].partition(";")[0].partition(". ")[0].rstrip(".")
            epilog = f"Example: multiverse servers {name} 3f2a\n\n{EXIT_CODES_HELP}"
            servers_app.command(name, help=summary, short_help=f"{short}.", epilog=epilog)(make(name, done))


def _action(name: str, done: str) -> Callable[..., None]:
    """An action that is said by its name alone."""

    def act(
        server: ServerArgument, *, gateway: GatewayOption = None, key: KeyOption = None, as_json: JsonOption = False
    ) -> None:
        with connect(gateway, key) as client:
            changed = client.request("POST", f"{server_path(find_server(client, server))}/{name}")
        _tell(changed, done, as_json=as_json)

    return act


def _hold(name: str, done: str) -> Callable[..., None]:
    """An action that has a reason and an end."""

    def hold(
        server: ServerArgument,
        *,
        reason: ReasonOption = None,
        until: UntilOption = None,
        gateway: GatewayOption = None,
        key: KeyOption = None,
        as_json: JsonOption = False,
    ) -> None:
        ends = None if until is None else parse_expiry(until, datetime.now(UTC), "--until")
        body = given(reason=reason, until=ends) or None
        with connect(gateway, key) as client:
            changed = client.request("POST", f"{server_path(find_server(client, server))}/{name}", json=body)
        _tell(changed, done, as_json=as_json)

    return hold


def _tell(changed: dict[str, Any], done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(changed)
    else:
        print_verbatim(changed_in_words(changed, done))
