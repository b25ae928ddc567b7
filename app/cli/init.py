"""``multiverse init``: how does a folder become a gateway's home, with a few questions at most?"""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from app.cli.connection import ADMIN_KEY_FILE, local_url, settings_or_usage_error
from app.cli.console import Steps, is_interactive, print_json, print_verbatim
from app.cli.env_file import Change, changes, merge, write_private
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode
from app.cli.local_engines import LocalEngine, find_local_engines
from app.cli.networks import LOOPBACK, find_private_networks
from app.services.core.keys import RANDOM_BYTES, mint
from app.services.registry.secrets import EncryptionKeyInvalid, load_or_create_admin_key
from app.utils.config import Settings

__all__ = ["init"]

ENV_FILE: Final = ".env"

INIT_EPILOG = f"""Examples:

  multiverse init

  multiverse init --yes --allow 10.0.0.0/8 --allow 192.168.1.0/24

  multiverse init --yes --host 0.0.0.0 --port 9000 --force

{EXIT_CODES_HELP}"""


@dataclass(frozen=True, slots=True)
class Answers:
    """What was chosen."""

    host: str
    port: int
    networks: tuple[str, ...]

    def as_settings(self) -> dict[str, str]:
        """The lines of ``.env``."""
        return {"HOST": self.host, "PORT": str(self.port), "ALLOWED_SERVER_NETWORKS": ",".join(self.networks)}


def init(
    *,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: take the defaults and the options given.")
    ] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CIDR", help="Network whose servers may be registered; may be repeated. Left out: those found."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Change a .env that exists; lines of other settings stay.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON; needs --yes.")] = False,
) -> None:
    """Write .env for this folder and make the operator's key."""
    if not yes and (as_json or not is_interactive()):
        raise CommandFailed("Nobody can be asked here.", fix="Add --yes to take the defaults.", code=ExitCode.USAGE)
    settings = settings_or_usage_error()
    steps = Steps()
    with steps.step("Looking for model servers and networks of this machine"):
        engines = find_local_engines(skip_ports=frozenset({settings.port}))
        offered = tuple(str(network) for network in settings.allowed_server_networks)
        offered = offered or offered_networks(engines_found=bool(engines))
    allowed = None if allow is None else tuple(parse_network(text) for text in allow)
    default = Answers(host or settings.host, port or settings.port, offered if allowed is None else allowed)
    answers = default if yes else ask(default, engines, may_ask_networks=allowed is None)
    made = write_settings(answers, force=force)
    settings = settings_or_usage_error()
    key_file = make_admin_key(settings)
    if as_json:
        print_json(report(answers, engines, key_file))
    else:
        show_next_steps(settings, engines, made, key_file)


def offered_networks(*, engines_found: bool) -> tuple[str, ...]:
    """The networks to open unless told otherwise: this machine if engines run on it, and its private networks.

    Bridges of container runtimes are left out: few servers of others live there, and much that is nobody's business.
    """
    private = tuple(network.cidr for network in find_private_networks() if not network.is_container_bridge)
    return (*(LOOPBACK if engines_found else ()), *private)


def ask(default: Answers, engines: list[LocalEngine], *, may_ask_networks: bool) -> Answers:
    """Three questions at most, each with a default."""
    for engine in engines:
        typer.echo(f"Found {engine.describe()}", err=True)
    host = typer.prompt("Listen on (0.0.0.0 lets other machines in)", default=default.host, err=True)
    port = typer.prompt("Port", default=default.port, type=int, err=True)
    networks = default.networks
    if may_ask_networks and networks:
        typer.echo(f"Servers may be registered on public addresses, and on: {', '.join(networks)}", err=True)
        if not typer.confirm("Allow servers on these networks?", default=True, err=True):
            networks = ()
    return Answers(host, port, networks)


def parse_network(text: str) -> str:
    """A CIDR in its canonical form.

    Raises:
        CommandFailed: it is none.
    """
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError as error:
        message = f"--allow {text} is not a network."
        raise CommandFailed(message, fix="Write it as 10.0.0.0/8 or fd00::/8.", code=ExitCode.USAGE) from error


def write_settings(answers: Answers, *, force: bool) -> list[Change]:
    """Write ``.env``; returns what changed.

    Raises:
        CommandFailed: it exists, would change, and ``force`` is not given; the message lists the changes.
    """
    path = Path(ENV_FILE)
    try:
        present = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        present = ""
    wanted = answers.as_settings()
    pending = changes(present, wanted)
    if present and pending and not force:
        listed = "\n".join(f"  {change}" for change in pending)
        raise CommandFailed(
            f"{path.absolute()} exists, and would change:\n{listed}",
            fix="Add --force to change these lines and keep all others, or edit the file yourself.",
        )
    if pending:
        write_private(path, merge(present, wanted))
    return pending


def make_admin_key(settings: Settings) -> Path | None:
    """Make the operator's key unless ``ADMIN_API_KEY`` holds it; returns its file.

    Raises:
        CommandFailed: the file there can't be used.
    """
    if settings.admin_api_key is not None:
        return None
    path = settings.gateway_data_dir / ADMIN_KEY_FILE
    try:
        load_or_create_admin_key(path, lambda: mint(secrets.token_bytes(RANDOM_BYTES)))
    except EncryptionKeyInvalid as error:
        raise CommandFailed(str(error)) from error
    return path.absolute()


def report(answers: Answers, engines: list[LocalEngine], key_file: Path | None) -> dict[str, object]:
    """What was done, for scripts. The key itself is not told."""
    return {
        "env_file": str(Path(ENV_FILE).absolute()),
        "settings": answers.as_settings(),
        "admin_key_file": None if key_file is None else str(key_file),
        "engines": [{"url": engine.url, "engine": engine.engine, "models": list(engine.models)} for engine in engines],
    }


def show_next_steps(settings: Settings, engines: list[LocalEngine], made: list[Change], key_file: Path | None) -> None:
    """What was written, and the commands to go on with."""
    path = Path(ENV_FILE).absolute()
    print_verbatim(f"Wrote {path}:" if made else f"{path} says all that already.")
    for change in made:
        print_verbatim(f"  {change}")
    print_verbatim("Admin key: the one in ADMIN_API_KEY" if key_file is None else f"Admin key: in {key_file}")
    print_verbatim("\nNext:")
    print_verbatim("  multiverse serve")
    if engines:
        print_verbatim("then, in a second terminal in this folder:")
    for engine in engines:
        print_verbatim(f"  multiverse servers add {engine.url}")
    if not engines:
        print_verbatim("  multiverse servers add http://HOST:PORT    (a vLLM, Ollama, llama.cpp, ... of yours)")
    print_verbatim(f"Documentation of the API, once it runs: {local_url(settings)}/docs")
