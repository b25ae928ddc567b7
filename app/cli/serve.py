"""``multiverse serve``: how is the gateway started from the command line?"""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from app import __version__
from app.cli.connection import ADMIN_KEY_FILE, local_url, settings_or_usage_error
from app.cli.console import print_verbatim
from app.cli.exits import EXIT_CODES_HELP, Interrupted
from app.utils.config import Settings

__all__ = ["serve"]

SERVE_EPILOG = f"""Examples:

  multiverse serve

  multiverse serve --port 9000 --log-level DEBUG

  HOST=0.0.0.0 multiverse serve

{EXIT_CODES_HELP}"""


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; wins over HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on; wins over PORT.")] = None,
    log_level: Annotated[
        str | None, typer.Option(help="DEBUG, INFO, WARNING, ERROR or CRITICAL; wins over LOG_LEVEL.")
    ] = None,
) -> None:
    """Run the gateway in this folder: its settings come from the environment and from .env here."""
    given = {"host": host, "port": port, "log_level": log_level}
    settings = settings_or_usage_error(**{name: value for name, value in given.items() if value is not None})
    from app.cli.gateway_process import run_gateway  # noqa: PLC0415 - the data plane is loaded only where it runs

    ended_by = run_gateway(settings, on_started=lambda _server: announce(settings))
    if ended_by == signal.SIGINT:
        raise Interrupted


def announce(settings: Settings) -> None:
    """Say where the gateway listens, where the admin key is, and what to do next. The key itself is never shown."""
    url = local_url(settings)
    key = "the one in ADMIN_API_KEY"
    if settings.admin_api_key is None:
        key = f"in {(settings.gateway_data_dir / ADMIN_KEY_FILE).absolute()}"
    others = "" if settings.host in url else f" (and for other machines: it listens on {settings.host})"
    print_verbatim(f"Multiverse {__version__} listens on {url}{others}")
    print_verbatim(f"Admin key:  {key}")
    print_verbatim(f"Next:       multiverse servers add http://SERVER:PORT    (docs: {url}/docs)")
    print_verbatim("Stop:       Ctrl-C")
