"""Which gateway is meant, and with which key? From the command line, the environment, or this folder's settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer

from app.cli.exits import CommandFailed, ExitCode
from app.cli.gateway_client import GatewayAddress, GatewayClient, is_loopback_url
from app.utils.config import Settings, SettingsInvalid, load_settings

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ADMIN_KEY_FILE",
    "GatewayOption",
    "KeyOption",
    "connect",
    "find_address",
    "local_admin_key",
    "local_url",
    "settings_or_usage_error",
]

ADMIN_KEY_FILE: Final = "admin.key"
KEY_VARIABLE: Final = "GATEWAY_KEY"
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to

GatewayOption = Annotated[
    str | None,
    typer.Option(
        "--gateway",
        envvar="GATEWAY_URL",
        metavar="URL",
        help="The gateway's base URL; left out, the one that this folder's settings start.",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar=KEY_VARIABLE,
        metavar="KEY",
        show_default=False,
        help="A key of the gateway; better in GATEWAY_KEY, for other users of the machine see a command line.",
    ),
]


def settings_or_usage_error(**overrides: object) -> Settings:
    """The settings of this folder and environment; a bad one ends the command with 2 and says which and why."""
    try:
        return load_settings(**overrides)
    except SettingsInvalid as error:
        raise CommandFailed(str(error), code=ExitCode.USAGE) from error


def local_url(settings: Settings) -> str:
    """Where the gateway of these settings is reached from this machine."""
    host = _WILDCARDS.get(settings.host, settings.host)
    literal = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls_cert_file else 'http'}://{literal}:{settings.port}"


def local_admin_key(settings: Settings) -> str | None:
    """The operator's key of this folder's gateway: ``ADMIN_API_KEY``, else the file that the gateway made."""
    if settings.admin_api_key is not None:
        return settings.admin_api_key.get_secret_value()
    return _read_key_file(settings.gateway_data_dir / ADMIN_KEY_FILE)


def find_address(gateway: str | None, key: str | None) -> GatewayAddress:
    """Put URL and key together.

    This folder's own admin key is only ever sent to this machine or to the host that the settings name: a command
    that speaks to someone else's gateway must not hand it over.
    """
    variable = KEY_VARIABLE if key is not None and key == os.environ.get(KEY_VARIABLE) else ""
    if gateway is not None and key is not None:
        return GatewayAddress(_clean(gateway), key, variable)
    settings = settings_or_usage_error()
    own_url = local_url(settings)
    url = own_url if gateway is None else _clean(gateway)
    is_ours = is_loopback_url(url) or urlsplit(url).hostname == urlsplit(own_url).hostname
    return GatewayAddress(url, key or (local_admin_key(settings) if is_ours else None), variable)


def connect(gateway: str | None, key: str | None) -> GatewayClient:
    """A client for the gateway that is meant."""
    return GatewayClient(find_address(gateway, key))


def _clean(url: str) -> str:
    return url.strip().rstrip("/").removesuffix("/v1")


def _read_key_file(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(
            f"The admin key in {path} can't be read: {error}.",
            fix="Run the command as the user who runs the gateway, or give the key in GATEWAY_KEY.",
            code=ExitCode.UNAUTHORISED,
        ) from error
