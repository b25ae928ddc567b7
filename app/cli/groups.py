"""``multiverse groups``: how are groups of keys made, listed, changed and removed from the command line?"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from app.cli.connection import GatewayOption, KeyOption, connect
from app.cli.console import confirm, print_json, print_verbatim, stdout_console
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode
from app.cli.key_options import JsonOption, YesOption, given
from app.cli.key_table import GROUPS_PATH, fetch_groups, fetch_keys, find_group, group_details, group_table
from app.cli.key_terms import GROUP_OPTIONS, beside_other_limits, terms_of
from app.cli.option_sets import taking

__all__ = ["groups_app"]

CREATE_EPILOG: Final = f"""\b
Examples:
  multiverse groups create physics-101 --model llama-3-8b --person-requests-per-minute 20
  multiverse groups create gpu-lab --description "Room 12" --tokens-per-day 5000000
  multiverse groups create course --model-limit llama-3-70b:concurrency=4

{EXIT_CODES_HELP}"""
CHANGE_EPILOG: Final = f"""\b
Examples:
  multiverse groups change physics-101 --person-tokens-per-day 100000
  multiverse groups change physics-101 --name physics-102 --clear models

{EXIT_CODES_HELP}"""


class Clearable(StrEnum):
    """What a group can be without."""

    LIMITS = "limits"
    MODEL_LIMITS = "model_limits"
    MODELS = "models"
    PERSON_LIMITS = "person_limits"


GroupArgument = Annotated[
    str, typer.Argument(metavar="GROUP", help="The group's name, its id, or a unique beginning of that.")
]
DescriptionOption = Annotated[str | None, typer.Option(metavar="TEXT", help="A few words for people.")]

groups_app = typer.Typer(
    no_args_is_help=True,
    help="Make, list, change and remove groups of keys: a class, a lab.",
    epilog="The gateway is found by --gateway, GATEWAY_URL or this folder's .env; the key by --key, GATEWAY_KEY, "
    "ADMIN_API_KEY or data/admin.key. " + EXIT_CODES_HELP,
)


@groups_app.command("create", epilog=CREATE_EPILOG)
@taking(GROUP_OPTIONS, "terms")
def create_group(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the group is called.")],
    *,
    description: DescriptionOption = None,
    terms: dict[str, Any],
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a group. Its limits hold for all of its keys together, its models for each of them."""
    body = given(name=name, description=description) | terms_of(terms, datetime.now(UTC))
    with connect(gateway, key) as client:
        made = client.request("POST", GROUPS_PATH, json=body)
    if as_json:
        print_json(made)
    else:
        print_verbatim(f"Made the group {made['name']} ({made['id']}).")
        print_verbatim(f"Give it keys: multiverse keys import FILE.csv --group {made['name']} --output keys.csv")


@groups_app.command("list", epilog=f"Example: multiverse groups list --json\n\n{EXIT_CODES_HELP}")
def list_groups(*, gateway: GatewayOption = None, key: KeyOption = None, as_json: JsonOption = False) -> None:
    """Show the groups, their models and limits."""
    with connect(gateway, key) as client:
        groups = fetch_groups(client)
    if as_json:
        print_json(groups)
    elif groups:
        stdout_console().print(group_table(groups))
    else:
        print_verbatim("There is no group yet. Make one: multiverse groups create NAME")


@groups_app.command("change", epilog=CHANGE_EPILOG)
@taking(GROUP_OPTIONS, "terms")
def change_group(
    group: GroupArgument,
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the group is called from now on.")] = None,
    description: DescriptionOption = None,
    terms: dict[str, Any],
    clear: Annotated[list[Clearable] | None, typer.Option(help="What it is to be without; repeat for more.")] = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a group; its keys follow at once. What is left out stays, other limits too."""
    cleared: dict[str, None] = dict.fromkeys(field.value for field in clear or [])
    change = given(name=name, description=description) | terms_of(terms, datetime.now(UTC))
    if not (change or cleared):
        raise CommandFailed("Nothing is to be changed.", fix="Name an option; see --help.", code=ExitCode.USAGE)
    with connect(gateway, key) as client:
        found = find_group(client, group)
        body = {**cleared, **beside_other_limits(change, found, cleared)}
        changed = client.request("PATCH", group_path(found), json=body)
    if as_json:
        print_json(changed)
    else:
        stdout_console().print(group_details(changed))


@groups_app.command("remove", epilog=f"Example: multiverse groups remove physics-101 --yes\n\n{EXIT_CODES_HELP}")
def remove_group(
    group: GroupArgument,
    *,
    yes: YesOption = False,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a group in which no key is live any more."""
    with connect(gateway, key) as client:
        found = find_group(client, group)
        if not yes:
            count = len(fetch_keys(client, {"group": str(found["id"])}))
            confirm(f"Remove the group {found['name']} with its {count} keys?")
        client.request("DELETE", group_path(found))
    if as_json:
        print_json({"id": found["id"], "removed": True})
    else:
        print_verbatim(f"Removed the group {found['name']}.")


def group_path(group: dict[str, Any]) -> str:
    """The path under which one group is changed and removed."""
    return f"{GROUPS_PATH}/{quote(str(group['id']), safe='')}"
