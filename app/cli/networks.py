"""Which private networks is this machine on, so that servers there can be allowed by one answer?"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["LOOPBACK", "LocalNetwork", "find_private_networks", "parse_proc_routes"]

LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
"""This machine itself, both address families."""

_PRIVATE: Final = tuple(
    ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
_CONTAINER_PREFIXES: Final = ("docker", "br-", "veth", "virbr", "podman", "cni", "lxc", "lxd")
_ROUTES_FILE: Final = Path("/proc/net/route")
_ROUTE_COLUMNS: Final = 8
_GUESSED_PREFIX_BITS: Final = 24
_HOST_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class LocalNetwork:
    """A private network that this machine is on: its CIDR, its interface if known, and whether containers own it."""

    cidr: str
    interface: str = ""

    @property
    def is_container_bridge(self) -> bool:
        """Whether a container runtime or hypervisor made the interface: rarely where others' servers are."""
        return self.interface.startswith(_CONTAINER_PREFIXES)


def find_private_networks() -> list[LocalNetwork]:
    """The private IPv4 networks of this machine, each once; the real masks on Linux, a /24 guessed elsewhere."""
    try:
        routes = parse_proc_routes(_ROUTES_FILE.read_text(encoding="ascii"))
    except OSError:
        routes = []  # Not Linux, or /proc is hidden: the addresses themselves are the next best source.
    return routes or _from_addresses(_own_addresses())


def parse_proc_routes(text: str) -> list[LocalNetwork]:
    """The directly connected private networks in the text of Linux' ``/proc/net/route`` (proc(5))."""
    networks: dict[str, LocalNetwork] = {}
    for line in text.splitlines()[1:]:
        columns = line.split()
        if len(columns) < _ROUTE_COLUMNS or columns[2] != "00000000" or columns[1] == "00000000":
            continue
        network = ipaddress.IPv4Network((_host_order(columns[1]), _host_order(columns[7]).bit_count()), strict=False)
        if _is_private(network) and network.prefixlen < _HOST_BITS:
            networks.setdefault(str(network), LocalNetwork(str(network), columns[0]))
    return list(networks.values())


def _host_order(hexadecimal: str) -> int:
    """The kernel prints addresses as host-endian words of network-ordered bytes."""
    return int.from_bytes(struct.pack("=L", int(hexadecimal, 16)), "big")


def _is_private(network: ipaddress.IPv4Network) -> bool:
    return any(network.subnet_of(block) for block in _PRIVATE)


def _from_addresses(addresses: set[str]) -> list[LocalNetwork]:
    networks = {ipaddress.IPv4Network(f"{address}/{_GUESSED_PREFIX_BITS}", strict=False) for address in addresses}
    return [LocalNetwork(str(network)) for network in sorted(networks, key=str) if _is_private(network)]


def _own_addresses() -> set[str]:
    found: set[str] = set()
    try:
        found.update(str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET))
    except OSError:
        found.clear()  # A host name that doesn't resolve is common on laptops; the route below still tells.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1: a datagram socket only picks a route, it sends nothing.
            found.add(probe.getsockname()[0])
        except OSError:
            return found
    return found
