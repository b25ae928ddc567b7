"""Which options describe a server on the command line, and what do they become in a request?"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from app.cli.exits import CommandFailed, ExitCode

__all__ = [
    "ApiKeyEnvOption",
    "ApiKeyStdinOption",
    "ConcurrencyOption",
    "DescriptionOption",
    "HoursOption",
    "JsonOption",
    "ModelOption",
    "PriorityOption",
    "ServerArgument",
    "Share",
    "ShareOption",
    "WeightOption",
    "given",
    "parse_model",
    "read_api_key",
]


def above_zero(weight: float | None) -> float | None:
    """Refuse what the gateway would refuse; NaN too.

    Raises:
        typer.BadParameter: it is not above 0.
    """
    if weight is not None and not weight > 0:
        raise typer.BadParameter("a weight must be above 0; `multiverse servers pause` sends a server no requests")
    return weight


class Share(StrEnum):
    """Who may use a server."""

    EVERYONE = "everyone"
    GROUP = "group"
    ME = "me"


ServerArgument = Annotated[
    str, typer.Argument(metavar="SERVER", help="The server's id, a beginning of it that is unique, or its URL.")
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME[=UPSTREAM]", help="A model, and its name there if it differs. Left out: all it lists."),
]
ApiKeyStdinOption = Annotated[bool, typer.Option("--api-key-stdin", help="Read the server's key from stdin.")]
ApiKeyEnvOption = Annotated[
    str | None, typer.Option(metavar="VARIABLE", help="Take the server's key from this environment variable.")
]
ConcurrencyOption = Annotated[
    int | None, typer.Option(metavar="COUNT", min=1, max=100_000, help="Most requests at a time. Left out: no cap.")
]
PriorityOption = Annotated[
    int | None,
    typer.Option(metavar="NUMBER", min=-1000, max=1000, help="Among servers of a model the highest priority is used."),
]
WeightOption = Annotated[
    float | None,
    typer.Option(metavar="NUMBER", callback=above_zero, max=1000, help="Share of the traffic among equals, above 0."),
]
ShareOption = Annotated[
    Share | None, typer.Option(help="Who may use it: everyone, the keys of your group, or your key alone (me).")
]
HoursOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="'DAYS FROM-TO ZONE'",
        help="When it is lent, such as 'mon-fri 18:00-08:00 Europe/Berlin'; may be given again. Left out: always.",
    ),
]
DescriptionOption = Annotated[str | None, typer.Option(metavar="TEXT", help="A few words for people.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def given(**fields: Any) -> dict[str, Any]:
    """The fields that were given; the gateway has its own defaults for the others."""
    return {name: value for name, value in fields.items() if value is not None}


def parse_model(text: str) -> dict[str, str]:
    """``name`` or ``name=upstream``; names may hold slashes and colons, the first ``=`` parts them.

    Raises:
        CommandFailed: one of the two is empty.
    """
    name, equals, upstream = text.partition("=")
    if not name.strip() or (equals and not upstream.strip()):
        message = f"--model {text} is incomplete."
        raise CommandFailed(message, fix="Write --model NAME or --model NAME=UPSTREAM.", code=ExitCode.USAGE)
    return {"name": name.strip(), "upstream_name": (upstream or name).strip()}


def read_api_key(*, from_stdin: bool, variable: str | None) -> str | None:
    """The server's own key; never from the command line, where every user of the machine could read it.

    Raises:
        CommandFailed: both ways were named, or the one named holds nothing.
    """
    if from_stdin and variable is not None:
        raise CommandFailed("Use either --api-key-stdin or --api-key-env.", code=ExitCode.USAGE)
    if variable is not None:
        value = os.environ.get(variable, "").strip()
        if not value:
            message = f"The environment variable {variable} is not set."
            raise CommandFailed(message, fix=f"export {variable}=...", code=ExitCode.USAGE)
        return value
    if not from_stdin:
        return None
    value = sys.stdin.readline().strip()
    if not value:
        raise CommandFailed("No key came on stdin.", fix="printf %s KEY | multiverse ...", code=ExitCode.USAGE)
    return value
