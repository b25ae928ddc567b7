"""Which registered server is meant by an id, the beginning of one, or a URL?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from app.cli.exits import CommandFailed
from app.cli.server_table import short_id
from app.services.core.errors import EndpointRefused
from app.services.core.network.endpoints import parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.cli.gateway_client import GatewayClient

__all__ = ["fetch_servers", "find_server", "registration_path", "server_named", "server_path"]


def fetch_servers(client: GatewayClient, filters: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """All servers that the key may see."""
    answer = client.request("GET", "/admin/servers", params=filters or {})
    return list(answer["servers"])


def find_server(client: GatewayClient, wanted: str) -> dict[str, Any]:
    """The one server that an id, the beginning of an id, or a URL means.

    Raises:
        CommandFailed: none or several fit; the message names those that exist.
    """
    return server_named(fetch_servers(client), wanted)


def server_named(servers: Sequence[Mapping[str, Any]], wanted: str) -> dict[str, Any]:
    """The one of these servers that is meant, as ``find_server`` says.

    Raises:
        CommandFailed: none or several fit; the message names those that exist.
    """
    fitting = [server for server in servers if fits(server, wanted)]
    if len(fitting) == 1:
        return dict(fitting[0])
    if fitting:
        ids = ", ".join(str(server["registration_id"]) for server in fitting)
        raise CommandFailed(f"'{wanted}' fits {len(fitting)} servers: {ids}.", fix="Write more of the id.")
    known = ", ".join(f"{short_id(server)} ({server.get('endpoint_url') or 'of another key'})" for server in servers)
    raise CommandFailed(
        f"No server '{wanted}' is registered.",
        fix=f"Registered are: {known}." if known else "Add one first: multiverse servers add http://HOST:PORT",
    )


def fits(server: Mapping[str, Any], wanted: str) -> bool:
    """Whether an id, its beginning or a URL means this server."""
    if "://" in wanted:
        return canonical_url(wanted) == server.get("endpoint_url")
    return bool(wanted) and str(server["registration_id"]).startswith(wanted.lower())


def canonical_url(url: str) -> str:
    """A URL as the gateway writes it; as it is where the gateway would refuse it."""
    try:
        return parse_endpoint(url).url
    except EndpointRefused:
        return url


def server_path(server: Mapping[str, Any]) -> str:
    """The path under which one server is looked at and steered."""
    return f"/admin/servers/{quote(str(server['registration_id']), safe='')}"


def registration_path(server: Mapping[str, Any]) -> str:
    """The path under which one server is changed and removed."""
    return f"/admin/register/{quote(str(server['registration_id']), safe='')}"
