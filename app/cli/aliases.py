"""``multiverse aliases``: which names stand for models, and for which?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from app.cli.alias_table import (
    alias_sentence,
    alias_table,
    alias_warnings,
    bounded,
    parsed_fallbacks,
    parsed_targets,
)
from app.cli.connection import GatewayOption, KeyOption, connect
from app.cli.console import print_json, print_verbatim, stdout_console
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["aliases_app"]

ALIASES_PATH: Final = "/admin/aliases"
CREATE_EPILOG: Final = f"""\b
Examples:
  multiverse aliases create fast llama-3-8b=3 qwen=1 --fallback mistral
  multiverse aliases create chat small large --max-context small=8000
  multiverse aliases create gpt-4o-mini llama-3-8b --json

{EXIT_CODES_HELP}"""
CHANGE_EPILOG: Final = f"""\b
Examples:
  multiverse aliases change fast llama-3-8b=1 qwen=9
  multiverse aliases change fast --fallback mistral --fallback phi
  multiverse aliases change fast --rename quick --no-fallbacks

{EXIT_CODES_HELP}"""

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What clients ask for.")]
FallbackOption = Annotated[
    list[str] | None,
    typer.Option("--fallback", metavar="MODEL", help="Tried when no target can serve; in this order if several."),
]
LeastOption = Annotated[
    list[str] | None,
    typer.Option("--min-context", metavar="MODEL=TOKENS", help="A model takes only requests that need so many."),
]
MostOption = Annotated[
    list[str] | None,
    typer.Option("--max-context", metavar="MODEL=TOKENS", help="A model takes only requests that need no more."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]

aliases_app = typer.Typer(
    no_args_is_help=True,
    help="Names that stand for models: with weights, bounds and fallbacks.",
    epilog="The gateway is found by --gateway, GATEWAY_URL or this folder's .env; the key by --key, GATEWAY_KEY, "
    "ADMIN_API_KEY or data/admin.key. " + EXIT_CODES_HELP,
)


@aliases_app.command("list", epilog=f"Example: multiverse aliases list --json\n\n{EXIT_CODES_HELP}")
def list_aliases(*, gateway: GatewayOption = None, key: KeyOption = None, as_json: JsonOption = False) -> None:
    """Show each alias: the models that it leads to, with their shares, and its fallbacks."""
    with connect(gateway, key) as client:
        aliases = list(client.request("GET", ALIASES_PATH)["aliases"])
    if as_json:
        print_json(aliases)
    elif aliases:
        stdout_console().print(alias_table(aliases))
    else:
        print_verbatim("There is no alias yet. Create one: multiverse aliases create NAME MODEL MODEL")


@aliases_app.command("create", epilog=CREATE_EPILOG)
def create_alias(
    name: NameArgument,
    targets: Annotated[
        list[str],
        typer.Argument(metavar="MODEL[=WEIGHT]...", help="What it stands for; drawn by weight if several."),
    ],
    *,
    fallback: FallbackOption = None,
    min_context: LeastOption = None,
    max_context: MostOption = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a name stand for models, at once."""
    body = {"name": name, "targets": parsed_targets(targets), "fallbacks": parsed_fallbacks(fallback or [])}
    body = bounded(body, min_context or [], max_context or [])
    with connect(gateway, key) as client:
        made = client.request("POST", ALIASES_PATH, json=body)
    _tell(made, "Created", as_json=as_json)


@aliases_app.command("change", epilog=CHANGE_EPILOG)
def change_alias(
    name: NameArgument,
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL[=WEIGHT]]...", help="In place of all its targets; left out, these stay."),
    ] = None,
    *,
    fallback: FallbackOption = None,
    no_fallbacks: Annotated[bool, typer.Option("--no-fallbacks", help="Take all its fallbacks away.")] = False,
    min_context: LeastOption = None,
    max_context: MostOption = None,
    rename: Annotated[str | None, typer.Option("--rename", metavar="NAME", help="Call it something else.")] = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is named of an alias; the rest stays as it is."""
    if fallback and no_fallbacks:
        message = "--fallback and --no-fallbacks exclude each other."
        raise CommandFailed(message, fix="Leave one of them out.", code=ExitCode.USAGE)
    with connect(gateway, key) as client:
        known = client.request("GET", path_of(name))
        body = {
            "name": known["name"] if rename is None else rename,
            "targets": parsed_targets(targets) if targets else known["targets"],
            "fallbacks": [] if no_fallbacks else parsed_fallbacks(fallback) if fallback else known["fallbacks"],
        }
        body = bounded(body, min_context or [], max_context or [])
        changed = client.request("PUT", path_of(name), json=body)
    _tell(changed, "Changed", as_json=as_json)


@aliases_app.command("remove", epilog=f"Example: multiverse aliases remove fast\n\n{EXIT_CODES_HELP}")
def remove_alias(
    name: NameArgument, *, gateway: GatewayOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Let a name stand for nothing any more, at once."""
    with connect(gateway, key) as client:
        client.request("DELETE", path_of(name))
    if as_json:
        print_json({"name": name, "removed": True})
    else:
        print_verbatim(f"Removed {name}. Requests that ask for it are told what else there is.")


def path_of(name: str) -> str:
    """The path under which one alias is shown, changed and removed."""
    return f"{ALIASES_PATH}/{quote(name, safe='')}"


def _tell(alias: Mapping[str, Any], done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(alias)
        return
    print_verbatim(f"{done} {alias_sentence(alias)}.")
    for warning in alias_warnings(alias):
        print_verbatim(f"Warning: {warning}")
