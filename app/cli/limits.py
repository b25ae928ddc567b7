"""``multiverse limits``: how much may everybody together use of a model?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer
from rich.table import Table
from rich.text import Text

from app.cli.connection import GatewayOption, KeyOption, connect
from app.cli.console import print_json, print_verbatim, stderr_console, stdout_console
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode
from app.cli.key_options import JsonOption
from app.cli.key_table import limits_in_words
from app.cli.key_terms import LIMIT_OPTIONS
from app.cli.option_sets import taking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.cli.gateway_client import GatewayClient

__all__ = ["limits_app"]

LIMITS_PATH: Final = "/admin/model-limits"
MODELS_SHOWN: Final = 10
SET_EPILOG: Final = f"""\b
Examples:
  multiverse limits set llama-3-70b --concurrency 8
  multiverse limits set llama-3-70b --tokens-per-day 5000000 --replace

{EXIT_CODES_HELP}"""

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="The model, as it is listed.")]

limits_app = typer.Typer(
    no_args_is_help=True,
    help="Limit a model for everybody together. Limits of keys and groups: multiverse keys, multiverse groups.",
    epilog="The gateway is found by --gateway, GATEWAY_URL or this folder's .env; the key by --key, GATEWAY_KEY, "
    "ADMIN_API_KEY or data/admin.key. " + EXIT_CODES_HELP,
)


@limits_app.command("list", epilog=f"Example: multiverse limits list --json\n\n{EXIT_CODES_HELP}")
def list_limits(*, gateway: GatewayOption = None, key: KeyOption = None, as_json: JsonOption = False) -> None:
    """Show the models that are limited for everybody together."""
    with connect(gateway, key) as client:
        limited = fetch_limits(client)
    if as_json:
        print_json([{"name": name, "limits": limits} for name, limits in limited.items()])
    elif limited:
        stdout_console().print(limit_table(limited))
    else:
        print_verbatim("No model is limited. Limit one: multiverse limits set MODEL --requests-per-minute COUNT")


@limits_app.command("set", epilog=SET_EPILOG)
@taking(LIMIT_OPTIONS, "limits")
def set_limits(
    model: ModelArgument,
    *,
    limits: dict[str, int],
    replace: Annotated[bool, typer.Option("--replace", help="Drop the other limits that the model has.")] = False,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Limit a model for everybody together. Limits that are left out stay."""
    if not limits:
        message = "No limit was named."
        raise CommandFailed(message, fix=f"multiverse limits set {model} --requests-per-minute 60", code=ExitCode.USAGE)
    with connect(gateway, key) as client:
        stay = {} if replace else fetch_limits(client).get(model, {})
        answer = client.request("PUT", limits_path(model), json={"limits": {**stay, **limits}})
        served = [] if as_json else [str(route["id"]) for route in client.request("GET", "/v1/models")["data"]]
    if as_json:
        print_json(answer)
        return
    print_verbatim(f"Limited {model} to {limits_in_words(answer['limits'])}.")
    if model not in served:
        stderr_console().print(unserved_words(model, served), markup=False, soft_wrap=True)


@limits_app.command("clear", epilog=f"Example: multiverse limits clear llama-3-70b\n\n{EXIT_CODES_HELP}")
def clear_limits(
    model: ModelArgument, *, gateway: GatewayOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Limit a model no more. What keys and groups may use of it stays."""
    with connect(gateway, key) as client:
        limited = fetch_limits(client)
        if model not in limited:
            fix = f"Limited are: {', '.join(list(limited)[:MODELS_SHOWN])}." if limited else "No model is."
            raise CommandFailed(f"{model} is not limited for everybody.", fix=fix)
        client.request("DELETE", limits_path(model))
    if as_json:
        print_json({"name": model, "cleared": True})
    else:
        print_verbatim(f"{model} is limited for everybody no more.")


def fetch_limits(client: GatewayClient) -> dict[str, dict[str, Any]]:
    """The limits of models, by their names."""
    return {str(one["name"]): dict(one["limits"]) for one in client.request("GET", LIMITS_PATH)["model_limits"]}


def limits_path(model: str) -> str:
    """The path under which the limits of one model are set and cleared."""
    return f"{LIMITS_PATH}/{quote(model, safe='')}"


def limit_table(limited: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row a model."""
    table = Table(box=None, pad_edge=False, highlight=False)
    table.add_column("Model", overflow="fold")
    table.add_column("Limits", overflow="fold")
    for name, limits in limited.items():
        table.add_row(Text(name), limits_in_words(limits))
    return table


def unserved_words(model: str, served: Sequence[str]) -> str:
    """Say that a limit counts for nothing yet, as a name that is mistyped would make it."""
    more = f" and {len(served) - MODELS_SHOWN} more" if len(served) > MODELS_SHOWN else ""
    known = f" There are: {', '.join(served[:MODELS_SHOWN])}{more}." if served else ""
    return f"Nothing is served under the name {model} now: the limit waits for it.{known}"
