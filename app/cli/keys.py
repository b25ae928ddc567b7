"""``multiverse keys``: how are keys made, listed, changed and ended from the command line?"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from app.cli.connection import GatewayOption, KeyOption, connect
from app.cli.console import confirm, print_json, print_verbatim, stderr_console, stdout_console
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode
from app.cli.key_import import IMPORT_EPILOG, import_keys
from app.cli.key_options import JsonOption, QuietOption, Role, YesOption, given, parse_duration
from app.cli.key_table import KEYS_PATH, fetch_keys, find_key, key_details, key_lines, key_path, key_table
from app.cli.key_terms import KEY_OPTIONS, beside_other_limits, terms_of
from app.cli.option_sets import taking

__all__ = ["keys_app"]

CREATE_EPILOG: Final = f"""\b
Examples:
  multiverse keys create --name ada --expires 90d
  KEY=$(multiverse keys create --name notebook --model llama-3-8b --requests-per-minute 60 --quiet)
  multiverse keys create --name gpu-owner --role owner
  multiverse keys create --name robot --model-limit llama-3-70b:requests_per_minute=10 --background

{EXIT_CODES_HELP}"""
LIST_EPILOG: Final = f"""\b
Examples:
  multiverse keys list
  multiverse keys list --group physics-101 --state active --json
  multiverse keys list --search ada

{EXIT_CODES_HELP}"""
CHANGE_EPILOG: Final = f"""\b
Examples:
  multiverse keys change ada --tokens-per-day 200000 --expires 2027-02-28
  multiverse keys change ada --clear models --clear limits

{EXIT_CODES_HELP}"""
ROTATE_EPILOG: Final = f"""\b
Examples:
  multiverse keys rotate ada
  KEY=$(multiverse keys rotate 7d0f --overlap 1h --quiet)

{EXIT_CODES_HELP}"""


class State(StrEnum):
    """What a key is good for."""

    ACTIVE = "active"
    UNCLAIMED = "unclaimed"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Clearable(StrEnum):
    """What a key can be without."""

    EXPIRES = "expires"
    GROUP = "group"
    LIMITS = "limits"
    MODEL_LIMITS = "model_limits"
    MODELS = "models"
    PERSON = "person"
    ROUTES = "routes"


KeyArgument = Annotated[
    str, typer.Argument(metavar="WHICH", help="The key's id, a unique beginning of it, its name, or mvk_...wxyz.")
]

keys_app = typer.Typer(
    no_args_is_help=True,
    help="Make, list, change and end keys of a running gateway.",
    epilog="The gateway is found by --gateway, GATEWAY_URL or this folder's .env; the key that asks by --key, "
    "GATEWAY_KEY, ADMIN_API_KEY or data/admin.key. " + EXIT_CODES_HELP,
)


@keys_app.command("create", epilog=CREATE_EPILOG)
@taking(KEY_OPTIONS, "terms")
def create_key(
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="What the key is called.")],
    terms: dict[str, Any],
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a key and print it, this once: the key alone on stdout, words about it on stderr."""
    body = {"name": name, **terms_of(terms, datetime.now(UTC))}
    with connect(gateway, key) as client:
        made = client.request("POST", KEYS_PATH, json=body)
    print_made(made, as_json=as_json, quiet=quiet)


@keys_app.command("list", epilog=LIST_EPILOG)
def list_keys(
    *,
    group: Annotated[str | None, typer.Option(metavar="GROUP", help="Only keys of this group.")] = None,
    role: Annotated[Role | None, typer.Option(help="Only keys of this role.")] = None,
    state: Annotated[State | None, typer.Option(help="Only keys that are in this state.")] = None,
    search: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only keys with this in their name, person, id or last characters."),
    ] = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the keys, what they may do, and until when."""
    filters = given(group=group, role=role, state=state, q=search)
    with connect(gateway, key) as client:
        keys = fetch_keys(client, filters)
    if as_json:
        print_json(keys)
    elif keys:
        console = stdout_console()
        console.print(key_table(keys, console.width))
    elif filters:
        print_verbatim("No key matches.")
    else:
        print_verbatim("You see no key beside the one that you use. Make one: multiverse keys create --name NAME")


@keys_app.command("show", epilog=f"Example: multiverse keys show ada\n\n{EXIT_CODES_HELP}")
def show_key(
    which: KeyArgument, *, gateway: GatewayOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Show everything about one key but the key itself."""
    with connect(gateway, key) as client:
        found = find_key(client, which)
    if as_json:
        print_json(found)
    else:
        stdout_console().print(key_details(found))


@keys_app.command("change", epilog=CHANGE_EPILOG)
@taking(KEY_OPTIONS, "terms")
def change_key(
    which: KeyArgument,
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the key is called from now on.")] = None,
    terms: dict[str, Any],
    clear: Annotated[list[Clearable] | None, typer.Option(help="What it is to be without; repeat for more.")] = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what a key may do. What is left out stays, other limits too."""
    cleared = _cleared(clear or [])
    change = given(name=name) | terms_of(terms, datetime.now(UTC))
    if not (change or cleared):
        raise CommandFailed("Nothing is to be changed.", fix="Name an option; see --help.", code=ExitCode.USAGE)
    with connect(gateway, key) as client:
        found = find_key(client, which)
        body = {**cleared, **beside_other_limits(change, found, cleared)}
        changed = client.request("PATCH", key_path(found), json=body)
    if as_json:
        print_json(changed)
    else:
        stdout_console().print(key_details(changed))


@keys_app.command("rotate", epilog=ROTATE_EPILOG)
def rotate_key(
    which: KeyArgument,
    *,
    overlap: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long the old one opens too, 30min or 0s. Left out: 1h.")
    ] = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a new key in place of the old one and print it, this once. Name, scope and use stay."""
    body = {"overlap_seconds": parse_duration(overlap, "--overlap").total_seconds()} if overlap else {}
    with connect(gateway, key) as client:
        path = f"{key_path(find_key(client, which))}/rotate"
        made = client.request("POST", path, json=body)
    print_made(made, as_json=as_json, quiet=quiet)


@keys_app.command("invite", epilog=f"Example: multiverse keys invite ada --days 7\n\n{EXIT_CODES_HELP}")
def invite_to_key(
    which: KeyArgument,
    *,
    days: Annotated[int | None, typer.Option(metavar="DAYS", min=1, max=90, help="How long the link works.")] = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new link to a key that nobody has fetched yet, and print it. The link before works no more."""
    with connect(gateway, key) as client:
        path = f"{key_path(find_key(client, which))}/invite"
        made = client.request("POST", path, json=given(invite_days=days))
    if as_json:
        print_json(made)
    else:
        print_verbatim(str(made["link"]))
        stderr_console().print(f"It works once, until {made['expires_at']}.", markup=False, soft_wrap=True)


@keys_app.command("revoke", epilog=f"Example: multiverse keys revoke ada --yes\n\n{EXIT_CODES_HELP}")
def revoke_key(
    which: KeyArgument,
    *,
    yes: YesOption = False,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a key for good, at once; what it minted ends with it."""
    with connect(gateway, key) as client:
        found = find_key(client, which)
        if not yes:
            confirm(f"Revoke {found['name']} ({found['id']})? It cannot be brought back.")
        client.request("DELETE", key_path(found))
    if as_json:
        print_json({"id": found["id"], "revoked": True})
    else:
        print_verbatim(f"Revoked {found['name']} ({found['id']}).")


keys_app.command("import", epilog=IMPORT_EPILOG, short_help="Make a key or an invite for each person of a list.")(
    import_keys
)


def print_made(made: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    """Print a new key alone on stdout, so that a script can take it, and words about it on stderr."""
    if as_json:
        print_json(made)
        return
    print_verbatim(str(made["key"]))
    console = stderr_console()
    for line in () if quiet else key_lines(made):
        console.print(line, markup=False, soft_wrap=True)


def _cleared(fields: list[Clearable]) -> dict[str, None]:
    """Null for each field that is to be empty."""
    return {"expires_at" if field is Clearable.EXPIRES else field.value: None for field in fields}
