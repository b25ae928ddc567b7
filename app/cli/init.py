"""``multiverse init``: how does a folder become a gateway's home, with a few questions at most?"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from app.cli.connection import ADMIN_KEY_FILE, local_url, settings_or_usage_error
from app.cli.console import Steps, is_interactive, print_json, print_verbatim
from app.cli.env_file import Change, changes, merge, write_private
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode
from app.cli.init_answers import Answers, ask, check_option, parse_network, present_settings
from app.cli.listener import bind_next_free, close_all, port_of
from app.cli.local_engines import LocalEngine, find_local_engines
from app.cli.networks import LOOPBACK, find_private_networks
from app.services.core.keys import RANDOM_BYTES, mint
from app.services.registry.secrets import EncryptionKeyInvalid, load_or_create_admin_key

if TYPE_CHECKING:
    from app.utils.config import Settings

__all__ = ["init"]

ENV_FILE: Final = ".env"
LOOPBACK_HOST: Final = "127.0.0.1"

INIT_EPILOG = f"""\b
Examples:
  multiverse init
  multiverse init --yes --allow 10.0.0.0/8 --allow 192.168.1.0/24
  multiverse init --yes --host 0.0.0.0 --port 9000 --force

{EXIT_CODES_HELP}"""

AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CIDR",
        help="Network whose servers may be registered, beside those in .env; may be repeated. "
        "Left out: those in .env, or those found.",
    ),
]


def init(
    *,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: take the defaults and the options given.")
    ] = False,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", min=1, max=65535, help="Port to listen on.")] = None,
    allow: AllowOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Change a .env that exists; lines of other settings stay.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON; needs --yes.")] = False,
) -> None:
    """Write .env for this folder and make the operator's key."""
    if not yes and (as_json or not is_interactive()):
        raise CommandFailed("Nobody can be asked here.", fix="Add --yes to take the defaults.", code=ExitCode.USAGE)
    settings = present_settings(replacing=force or not yes)
    if host is not None:
        check_option("host", host)
    added = tuple(parse_network(text) for text in allow or ())
    steps = Steps()
    with steps.step("Looking for model servers and networks of this machine"):
        engines = find_local_engines()
        networks = tuple(dict.fromkeys([*map(str, settings.allowed_server_networks), *added]))
        networks = networks or offered_networks(engines_found=bool(engines))
    free = port or port_beside(engines, settings.port, steps)
    default = Answers(host or settings.host, free, networks)
    answers = default if yes else ask(default, engines, may_ask_networks=not added)
    made = write_settings(answers, force=force, may_ask=not yes)
    settings = settings_or_usage_error()
    key_file = make_admin_key(settings)
    if as_json:
        print_json(report(answers, engines, key_file))
    else:
        show_next_steps(settings, engines, made, key_file)


def port_beside(engines: list[LocalEngine], wanted: int, steps: Steps) -> int:
    """The port to offer: ``wanted``, or the next free one where a model server has that already, which is told."""
    taken_by = next((engine for engine in engines if engine.port == wanted), None)
    if taken_by is None:
        return wanted
    sockets = bind_next_free(LOOPBACK_HOST, wanted + 1)
    free = port_of(sockets)
    close_all(sockets)
    steps.say(f"{taken_by.engine} listens on port {wanted} already, so the gateway gets {free}; --port names another.")
    return free


def offered_networks(*, engines_found: bool) -> tuple[str, ...]:
    """The networks to open unless told otherwise: this machine if engines run on it, and its private networks.

    Bridges of container runtimes are left out: few servers of others live there, and much that is nobody's business.
    """
    private = tuple(network.cidr for network in find_private_networks() if not network.is_container_bridge)
    return (*(LOOPBACK if engines_found else ()), *private)


def write_settings(answers: Answers, *, force: bool, may_ask: bool) -> list[Change]:
    """Write ``.env``; returns what changed. One that exists is changed by ``force``, or when a person agrees.

    Raises:
        CommandFailed: it would change and may not, and the message lists the changes; or it can't be read or written.
    """
    path = Path(ENV_FILE)
    try:
        present = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        present = ""
    except OSError as error:
        raise _unusable("read", path, error) from error
    wanted = answers.as_settings()
    pending = changes(present, wanted)
    if present and pending and not force:
        _agree_to_change(path, pending, may_ask=may_ask)
    if pending:
        try:
            write_private(path, merge(present, wanted))
        except OSError as error:
            raise _unusable("written", path, error) from error
    return pending


def _agree_to_change(path: Path, pending: list[Change], *, may_ask: bool) -> None:
    listed = "\n".join(f"  {change}" for change in pending)
    if not may_ask:
        raise CommandFailed(
            f"{path.absolute()} exists, and would change:\n{listed}",
            fix="Add --force to change these lines and keep all others, or edit the file yourself.",
        )
    typer.echo(f"{path.absolute()} exists. These lines would change, all others stay:\n{listed}", err=True)
    if not typer.confirm("Write them?", default=False, err=True):
        raise CommandFailed("Nothing was changed.")


def _unusable(done: str, path: Path, error: OSError) -> CommandFailed:
    """The words for a file that the system does not let us read or write."""
    if path.is_dir():
        return CommandFailed(f"{path.absolute()} is a folder.", fix="Remove or rename it; a file belongs there.")
    return CommandFailed(
        f"{path.absolute()} can't be {done}: {error.strerror or error}.",
        fix=f"Give this user access to {path.absolute().parent}, or run `multiverse init` in a folder of your own.",
    )


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
    except OSError as error:
        raise _unusable("written", path, error) from error
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
