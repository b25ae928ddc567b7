"""``multiverse servers``: how are model servers listed, added, removed and steered from the command line?"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from app.cli.connection import GatewayOption, KeyOption, connect
from app.cli.console import Steps, confirm, print_json, print_verbatim, stdout_console
from app.cli.exits import EXIT_CODES_HELP
from app.cli.explain import EXPLAIN_EPILOG, explain
from app.cli.server_actions import add_actions
from app.cli.server_changes import (
    APPROVE_EPILOG,
    SET_EPILOG,
    TRUST_EPILOG,
    approve_server,
    set_server,
    trust_server,
)
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
from app.cli.server_reference import fetch_servers, find_server, registration_path, server_path
from app.cli.server_table import model_names, server_details, server_list

__all__ = ["servers_app"]

ADD_EPILOG: Final = f"""\b
Examples:
  multiverse servers add http://10.0.0.5:8000
  multiverse servers add http://10.0.0.5:8000 --model llama-3-8b=meta-llama/Llama-3.1-8B-Instruct
  multiverse servers add https://gpu.example.org/v1 --api-key-env VLLM_KEY --max-concurrency 8
  multiverse servers add http://10.0.0.5:8000 --share group --hours 'mon-fri 18:00-08:00 Europe/Berlin'

{EXIT_CODES_HELP}"""
LIST_EPILOG: Final = f"""\b
Examples:
  multiverse servers list
  multiverse servers list --model llama-3-8b --status healthy --json

{EXIT_CODES_HELP}"""


servers_app = typer.Typer(
    no_args_is_help=True,
    help="List, add, remove and steer model servers of a running gateway.",
    epilog="The gateway is found by --gateway, GATEWAY_URL or this folder's .env; the key by --key, GATEWAY_KEY, "
    "ADMIN_API_KEY or data/admin.key. " + EXIT_CODES_HELP,
)


@servers_app.command("list", epilog=LIST_EPILOG)
def list_servers(
    *,
    model: Annotated[str | None, typer.Option(help="Only servers that have this model.")] = None,
    status: Annotated[str | None, typer.Option(help="Only servers that are healthy, unhealthy or unknown.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only servers of this owner.")] = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the registered servers and how they are."""
    filters = given(model=model, status=status, owner=owner)
    with connect(gateway, key) as client:
        servers = fetch_servers(client, filters)
    if as_json:
        print_json(servers)
    elif servers:
        console = stdout_console()
        console.print(server_list(servers, datetime.now(UTC), console.width))
    elif filters:
        print_verbatim("No server matches.")
    else:
        print_verbatim("No server is registered yet. Add one: multiverse servers add http://HOST:PORT")


@servers_app.command("show", epilog=f"Example: multiverse servers show 3f2a\n\n{EXIT_CODES_HELP}")
def show_server(
    server: ServerArgument, *, gateway: GatewayOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Show everything about one server, its last checks too."""
    with connect(gateway, key) as client:
        found = client.request("GET", server_path(find_server(client, server)))
    if as_json:
        print_json(found)
    else:
        stdout_console().print(server_details(found, datetime.now(UTC)))


@servers_app.command("add", epilog=ADD_EPILOG)
def add_server(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the server listens, with or without /v1.")],
    *,
    model: ModelOption = None,
    api_key_stdin: ApiKeyStdinOption = False,
    api_key_env: ApiKeyEnvOption = None,
    max_concurrency: ConcurrencyOption = None,
    priority: PriorityOption = None,
    weight: WeightOption = None,
    share: ShareOption = None,
    hours: HoursOption = None,
    description: DescriptionOption = None,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a model server. The gateway checks it first, and says what is wrong if anything is."""
    body = given(
        endpoint_url=url,
        models=[parse_model(entry) for entry in model] if model else None,
        api_key=read_api_key(from_stdin=api_key_stdin, variable=api_key_env),
        max_concurrency=max_concurrency,
        priority=priority,
        weight=weight,
        share=share,
        hours=parse_hours(hours),
        metadata=None if description is None else {"description": description},
    )
    # The gateway waits for the server's answer, which can take seconds; a script has no use for being told so.
    is_watched = sys.stderr.isatty() and not as_json
    with connect(gateway, key) as client, Steps().step(f"Checking {url}") if is_watched else nullcontext():
        answer = client.request("POST", "/admin/register", json=body)
    if as_json:
        print_json(answer)
    else:
        print_registered(answer)


def print_registered(answer: dict[str, Any]) -> None:
    """Say what was registered, and what was found there."""
    print_verbatim(f"Registered {answer['registration_id']}: {answer.get('health_status')}, {answer.get('engine')}")
    print_verbatim(f"Models: {', '.join(model_names(answer))}")
    if answer.get("note"):
        print_verbatim(str(answer["note"]))


@servers_app.command("remove", epilog=f"Example: multiverse servers remove 3f2a --yes\n\n{EXIT_CODES_HELP}")
def remove_server(
    server: ServerArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a server out. New requests go elsewhere at once, running ones finish, its URL may be added again."""
    with connect(gateway, key) as client:
        found = find_server(client, server)
        if not yes:
            confirm(f"Remove {found.get('endpoint_url')} ({', '.join(model_names(found))})?")
        client.request("DELETE", registration_path(found))
    if as_json:
        print_json({"registration_id": found["registration_id"], "removed": True})
    else:
        print_verbatim(f"Removed {found.get('endpoint_url')}.")


servers_app.command("set", epilog=SET_EPILOG, short_help="Change a server.")(set_server)
servers_app.command("approve", epilog=APPROVE_EPILOG, short_help="Let a server that waits for approval take requests.")(
    approve_server
)
servers_app.command("trust", epilog=TRUST_EPILOG, short_help="Say how far requests may trust a server.")(trust_server)
add_actions(servers_app)
servers_app.command(
    "explain", epilog=EXPLAIN_EPILOG, short_help="Show where the next request for a model would go, and why."
)(explain)
