"""``multiverse models``: which models are there, and which names mean one model?"""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from app.cli.connection import GatewayOption, KeyOption, connect
from app.cli.console import print_json, print_verbatim, stdout_console
from app.cli.exits import EXIT_CODES_HELP, CommandFailed
from app.cli.gateway_client import GatewayClient
from app.cli.model_table import class_lines, model_table, with_classes
from app.cli.server_reference import fetch_servers

__all__ = ["models_app"]

CLASSES_PATH: Final = "/admin/model-classes"
CONFIRM_EPILOG: Final = f"""\b
Examples:
  multiverse models confirm llama-3.1-8b-instruct
  multiverse models confirm my-llama llama3.1:8b meta-llama/Llama-3.1-8B-Instruct

{EXIT_CODES_HELP}"""

ClassArgument = Annotated[str, typer.Argument(metavar="NAME", help="What the class is called.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]

models_app = typer.Typer(
    no_args_is_help=True,
    help="List models, and say which names mean one model.",
    epilog="The gateway is found by --gateway, GATEWAY_URL or this folder's .env; the key by --key, GATEWAY_KEY, "
    "ADMIN_API_KEY or data/admin.key. " + EXIT_CODES_HELP,
)


@models_app.command("list", epilog=f"Example: multiverse models list --json\n\n{EXIT_CODES_HELP}")
def list_models(*, gateway: GatewayOption = None, key: KeyOption = None, as_json: JsonOption = False) -> None:
    """Show each model: its servers, its context, and the class that its name belongs to."""
    with connect(gateway, key) as client:
        routes = list(client.request("GET", "/v1/models")["data"])
        models = with_classes(routes, fetch_servers(client), fetch_classes(client)["confirmed"])
    if as_json:
        print_json(models)
    elif models:
        stdout_console().print(model_table(models))
    else:
        print_verbatim("There is no model yet. Add a server: multiverse servers add http://HOST:PORT")


@models_app.command("classes", epilog=f"Example: multiverse models classes\n\n{EXIT_CODES_HELP}")
def list_classes(*, gateway: GatewayOption = None, key: KeyOption = None, as_json: JsonOption = False) -> None:
    """Show names that were confirmed to mean one model, and names that probably do, with the reasons."""
    with connect(gateway, key) as client:
        found = fetch_classes(client)
    if as_json:
        print_json(found)
        return
    for line in class_lines(found["confirmed"], found["proposals"]):
        print_verbatim(line)


@models_app.command("confirm", epilog=CONFIRM_EPILOG)
def confirm_class(
    name: ClassArgument,
    members: Annotated[
        list[str] | None, typer.Argument(metavar="[MEMBER]...", help="Left out: the members that are proposed.")
    ] = None,
    *,
    gateway: GatewayOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Confirm that names mean one model: each of them then leads to all of their servers."""
    with connect(gateway, key) as client:
        found = fetch_classes(client)
        body = {"name": name, "members": members or proposal_named(found, name)["members"]}
        exists = any(one["name"] == name for one in found["confirmed"])
        confirmed = client.request("PUT" if exists else "POST", path_of(name) if exists else CLASSES_PATH, json=body)
    if as_json:
        print_json(confirmed)
    else:
        print_verbatim(f"Confirmed {confirmed['name']}: {', '.join(confirmed['members'])}.")


@models_app.command("dismiss", epilog=f"Example: multiverse models dismiss llama-3.1-8b-instruct\n\n{EXIT_CODES_HELP}")
def dismiss_proposal(
    name: ClassArgument, *, gateway: GatewayOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Don't propose these names again."""
    with connect(gateway, key) as client:
        proposal = proposal_named(fetch_classes(client), name)
        client.request("POST", f"{CLASSES_PATH}/dismiss", json={"members": proposal["members"]})
    if as_json:
        print_json({"name": name, "members": proposal["members"], "dismissed": True})
    else:
        print_verbatim(f"Dismissed {name}. It is proposed again if another name joins these.")


@models_app.command("dissolve", epilog=f"Example: multiverse models dissolve my-llama\n\n{EXIT_CODES_HELP}")
def dissolve_class(
    name: ClassArgument, *, gateway: GatewayOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Undo a confirmation: each name means its own servers again."""
    with connect(gateway, key) as client:
        client.request("DELETE", path_of(name))
    if as_json:
        print_json({"name": name, "dissolved": True})
    else:
        print_verbatim(f"Dissolved {name}. Each of its names means its own servers again.")


def fetch_classes(client: GatewayClient) -> dict[str, Any]:
    """The confirmed classes, and what is proposed."""
    answer = client.request("GET", CLASSES_PATH)
    return {"confirmed": list(answer["confirmed"]), "proposals": list(answer["proposals"])}


def proposal_named(found: dict[str, Any], name: str) -> dict[str, Any]:
    """The proposal of this name.

    Raises:
        CommandFailed: there is none; the message names those that exist.
    """
    for proposal in found["proposals"]:
        if proposal["name"] == name:
            return dict(proposal)
    known = ", ".join(proposal["name"] for proposal in found["proposals"])
    fix = f"Proposed are: {known}." if known else "Name the members too: multiverse models confirm NAME MEMBER MEMBER"
    raise CommandFailed(f"Nothing is proposed under the name '{name}'.", fix=fix)


def path_of(name: str) -> str:
    """The path under which one class is changed and dissolved."""
    return f"{CLASSES_PATH}/{quote(name, safe='')}"
