"""``multiverse serve``: how is the gateway started from the command line?"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from app import __version__
from app.cli.connection import ADMIN_KEY_FILE, local_url, settings_or_usage_error
from app.cli.console import print_verbatim
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, Interrupted
from app.cli.handover_claim import claim_running, inherited_claim
from app.cli.replace_hangup import Hangup

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.cli.gateway_process import GatewayServer
    from app.cli.handover_claim import Claim
    from app.services.core.choice.snapshot import Snapshot
    from app.utils.config import Settings

__all__ = ["serve"]

SERVE_EPILOG = f"""\b
Examples:
  multiverse serve
  multiverse serve --port 9000 --log-level DEBUG
  multiverse serve --replace
  HOST=0.0.0.0 multiverse serve

{EXIT_CODES_HELP}"""


def serve(
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen on; wins over HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=1, max=65535, help="Port to listen on; wins over PORT.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="DEBUG, INFO, WARNING, ERROR or CRITICAL; wins over LOG_LEVEL.")
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Take over from the gateway that runs in this folder; no request is lost."),
    ] = False,
) -> None:
    """Run the gateway in this folder: its settings come from the environment and from .env here."""
    given = {"host": host, "port": port, "log_level": log_level}
    hangup = Hangup()
    claim = inherited_claim()
    try:
        settings = settings_or_usage_error(**{name: value for name, value in given.items() if value is not None})
        if claim is None and replace:
            claim = claim_running(settings.gateway_data_dir)
            if claim is None:
                print_verbatim("No gateway runs in this folder yet: this is the first.")
        ended_by = _run(settings, hangup, claim)
    except CommandFailed as failure:
        if claim is not None:
            claim.fail(failure)
        raise
    if ended_by == signal.SIGINT:
        raise Interrupted


def _run(settings: Settings, hangup: Hangup, claim: Claim | None) -> int | None:
    """Serve, in the place of another process where there is a claim to it; returns the signal that ended it."""
    from app.cli.gateway_process import run_gateway  # noqa: PLC0415 - the data plane is loaded only where it runs
    from app.cli.replace import Replacement  # noqa: PLC0415 - as above

    replacement = Replacement(settings.gateway_data_dir, hangup, claim)
    apps: list[FastAPI] = []

    def begin(server: GatewayServer) -> None:
        state = apps[0].state
        replacement.begin(server, state.duty, lambda: announce(settings, state.plane.snapshot, claim))

    ended_by = run_gateway(
        settings,
        sockets=None if claim is None else claim.listeners(settings.host, settings.port),
        on_created=apps.append,
        before_start=None if claim is None else claim.take_database,
        on_started=begin,
    )
    if replacement.failure is not None:
        raise replacement.failure
    return ended_by


def announce(settings: Settings, snapshot: Snapshot, claim: Claim | None = None) -> None:
    """Say where the gateway listens, where the admin key is, and what to do next. The key itself is never shown.

    A pipe that nobody reads costs these words and not the gateway.
    """
    try:
        if claim is not None:
            print_verbatim(f"Process {claim.pid} was replaced: it finishes its answers, and ends by itself.")
        _announce(settings, snapshot)
    except BrokenPipeError:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, no path
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # or the interpreter's own flush fails at the end


def _announce(settings: Settings, snapshot: Snapshot) -> None:
    url = local_url(settings)
    key = "the one in ADMIN_API_KEY"
    if settings.admin_api_key is None:
        key = f"in {(settings.gateway_data_dir / ADMIN_KEY_FILE).absolute()}"
    others = "" if settings.host in url else f" (and for other machines: it listens on {settings.host})"
    print_verbatim(f"Multiverse {__version__} listens on {url}{others}")
    print_verbatim(f"Admin key:  {key}")
    if snapshot.servers:
        tally = f"{len(snapshot.servers)} registered, {snapshot.healthy_servers} healthy"
        print_verbatim(f"Servers:    {tally}    (docs: {url}/docs)")
    else:
        print_verbatim(f"Pages:      {url}/ui    (sign in with the admin key)")
        print_verbatim(f"Next:       multiverse servers add http://SERVER:PORT    (docs: {url}/docs)")
    print_verbatim("Stop:       Ctrl-C")
