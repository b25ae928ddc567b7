"""``multiverse servers set|approve|trust``: how is a registered server changed from the command line?"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from app.cli.connection import GatewayOption, KeyOption, connect
from app.cli.console import print_json, print_verbatim
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode
from app.cli.server_hours import parse_hours
from app.cli.server_options import (
    ApiKeyEnvOption,
    ApiKeyStdinOption,
    ConcurrencyOption,
    DescriptionOption,
    HoursOption,
    JsonOption,
    ModelOption,
    PriorityOption,
    ServerArgument,
    ShareOption,
    WeightOption,
    given,
    parse_model,
    read_api_key,
)
from app.cli.server_reference import find_server, registration_path, server_path
from app.cli.server_table import changed_in_words

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

__all__ = ["APPROVE_EPILOG", "SET_EPILOG", "TRUST_EPILOG", "approve_server", "set_server", "trust_server"]

SET_EPILOG: Final = f"""\b
Examples:
  multiverse servers set 3f2a --share group --max-concurrency 4
  multiverse servers set 3f2a --hours 'mon-fri 18:00-08:00 Europe/Berlin' --hours 'sat,sun 00:00-24:00'
  multiverse servers set 3f2a --clear hours --clear api-key

{EXIT_CODES_HELP}"""
APPROVE_EPILOG: Final = f"""\b
Examples:
  multiverse servers approve 3f2a
  multiverse servers approve 3f2a --trust trusted

{EXIT_CODES_HELP}"""
TRUST_EPILOG: Final = f"""\b
Examples:
  multiverse servers trust 3f2a trusted
  multiverse servers trust 3f2a implied

{EXIT_CODES_HELP}"""


class Clearable(StrEnum):
    """What a server can be without."""

    API_KEY = "api-key"
    HOURS = "hours"
    MAX_CONCURRENCY = "max-concurrency"
    MODELS = "models"


class Trust(StrEnum):
    """How far a server may be trusted."""

    TRUSTED = "trusted"
    GROUP = "group"
    PUBLIC = "public"


class TrustWord(StrEnum):
    """The same, or what its owner and who may use it imply."""

    TRUSTED = "trusted"
    GROUP = "group"
    PUBLIC = "public"
    IMPLIED = "implied"


ClearOption = Annotated[
    list[Clearable] | None,
    typer.Option(help="What it is to be without; for models: all that it lists. May be given again."),
]


def set_server(
    server: ServerArgument,
    *,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Where it listens from now on.")] = None,
    model: ModelOption = None,
    api_key_stdin: ApiKeyStdinOption = False,
    api_key_env: ApiKeyEnvOption = None,
    share: ShareOption = None,
    hours: HoursOption = None,
    max_concurrency: ConcurrencyOption = None,
    priority: PriorityOption = None,
    weight: WeightOption = None,
    description: DescriptionOption = None,
    clear: ClearOption = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a server. What is not named stays; a new URL, key or list of models is checked first."""
    body = given(
        endpoint_url=url,
        models=[parse_model(entry) for entry in model] if model else None,
        api_key=read_api_key(from_stdin=api_key_stdin, variable=api_key_env),
        share=share,
        hours=parse_hours(hours),
        max_concurrency=max_concurrency,
        priority=priority,
        weight=weight,
    )
    body |= cleared(clear or [], body)
    if not body and description is None:
        message = "Nothing was named that is to change."
        raise CommandFailed(message, fix="multiverse servers set --help", code=ExitCode.USAGE)
    with connect(gateway, key) as client:
        found = find_server(client, server)
        if description is not None:
            body["metadata"] = {**(found.get("metadata") or {}), "description": description}
        changed = client.request("PATCH", registration_path(found), json=body)
    _print(changed, "Changed", as_json=as_json)


def cleared(clear: Iterable[Clearable], named: Container[str]) -> dict[str, None]:
    """The fields that a server is to be without.

    Args:
        clear: what was said of them.
        named: the fields that the same command sets.

    Raises:
        CommandFailed: one of them is set by the same command.
    """
    names = {one: one.value.replace("-", "_") for one in clear}
    for one, name in names.items():
        if name in named:
            message = f"--clear {one.value} contradicts the option that sets it."
            raise CommandFailed(message, fix="Leave one of the two out.", code=ExitCode.USAGE)
    return dict.fromkeys(names.values())


def approve_server(
    server: ServerArgument,
    *,
    trust: Annotated[Trust | None, typer.Option(help="How far it is trusted. Left out: as it is.")] = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a server that an owner registered take requests. To reject it: `multiverse servers remove`."""
    with connect(gateway, key) as client:
        path = f"{server_path(find_server(client, server))}/approve"
        changed = client.request("POST", path, json=given(trust=trust))
    _print(changed, "Approved", as_json=as_json)


def trust_server(
    server: ServerArgument,
    trust: Annotated[
        TrustWord,
        typer.Argument(
            metavar="TRUST",
            help="trusted, group, public; or implied: as its owner and who may use it imply.",
        ),
    ],
    *,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how far requests may trust a server: trusted ones get those with tools too."""
    word = None if trust is TrustWord.IMPLIED else trust.value
    with connect(gateway, key) as client:
        path = f"{server_path(find_server(client, server))}/trust"
        changed = client.request("POST", path, json={"trust": word})
    _print(changed, f"Trust is {changed.get('trust')} for", as_json=as_json)


def _print(changed: dict[str, Any], done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(changed)
    else:
        print_verbatim(changed_in_words(changed, done))
