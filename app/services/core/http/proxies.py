"""Which client stands behind a reverse proxy?

``X-Forwarded-For`` is what anybody can write, so it is believed only as far as trusted proxies wrote it: the list is
read from its end, and the first address that is no trusted proxy is the client.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address

__all__ = ["client_address"]


def client_address(peer: str, forwarded_for: bytes, trusted: tuple[IPv4Network | IPv6Network, ...]) -> str:
    """Name the client of a request.

    Args:
        peer: the address that the connection came from.
        forwarded_for: the ``X-Forwarded-For`` header, empty if there is none.
        trusted: networks of the operator's own proxies.
    """
    if not trusted or not forwarded_for or not _holds(trusted, peer):
        return peer
    client = peer
    for hop in reversed(forwarded_for.decode("latin-1").split(",")):
        try:
            client = str(ip_address(hop.strip()))
        except ValueError:
            return client
        if not _holds(trusted, client):
            return client
    return client


def _holds(networks: tuple[IPv4Network | IPv6Network, ...], literal: str) -> bool:
    try:
        address = ip_address(literal)
    except ValueError:
        return False
    return any(address in network for network in networks)
