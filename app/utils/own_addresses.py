"""Under which addresses is this machine reached? Needed so that the gateway never dials itself."""

from __future__ import annotations

import socket
from ipaddress import ip_address

__all__ = ["own_listeners"]

_NOWHERE = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))
"""Documentation addresses (RFC 5737, RFC 3849): "connecting" a datagram socket sends nothing and names our own side."""


def own_listeners(host: str, port: int) -> frozenset[tuple[str, int]]:
    """List (IP literal, port) that a gateway on ``host`` and ``port`` can be reached at.

    A wildcard stands for itself and for each address of the machine that can be found without privileges.
    """
    addresses = set(_resolved(host))
    if any(ip_address(address).is_unspecified for address in addresses):
        addresses.update(_resolved(socket.gethostname()))
        addresses.update(_outgoing())
    return frozenset((address, port) for address in addresses)


def _resolved(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []  # a name that does not resolve is nobody's address; the listener will say so itself
    return [str(entry[4][0]).partition("%")[0] for entry in found]


def _outgoing() -> list[str]:
    addresses = []
    for address, family in _NOWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((address, 9))
                addresses.append(str(probe.getsockname()[0]).partition("%")[0])
        except OSError:
            continue  # no route in this family: no address of it either
    return addresses
