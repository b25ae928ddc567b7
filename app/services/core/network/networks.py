"""Which network does an address belong to: public, special, or one that must never be dialled?

``ipaddress.is_global`` is not used: it calls NAT64, 6to4, IPv4-compatible, site-local and multicast addresses global,
and two cloud metadata addresses with them. The tables below are ours and change only by a commit. Sources:

* IANA IPv4 Special-Purpose Address Registry and IANA IPv6 Special-Purpose Address Registry (RFC 6890, RFC 8190): all
  that they do not mark "Globally Reachable: True". Two anycast addresses inside 192.0.0.0/24 and a few blocks inside
  2001::/23 are marked so; no model server can stand there, and the whole block stays special.
* IANA IPv6 Address Space: only 2000::/3 is assigned to global unicast. All else is special, listed or not.
* The clouds' own documents for their metadata services, named beside each address.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

__all__ = ["IPAddress", "IPNetwork", "Range", "embedded_addresses", "forbidden_range", "special_range"]

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Range:
    """A network and what it is, in words that complete "10.0.0.5 is ...".

    ``opening_prefix`` is the length of the prefix worth suggesting to an operator who wants to open it: None stands for
    the one address, which is all that should be opened of a network that nobody is meant to use.
    """

    network: IPNetwork
    meaning: str
    opening_prefix: int | None = None

    def opening_for(self, address: IPAddress) -> IPNetwork:
        """The network to name in ``ALLOWED_SERVER_NETWORKS`` so that ``address`` may be dialled."""
        prefix = address.max_prefixlen if self.opening_prefix is None else self.opening_prefix
        return ip_network((address, prefix), strict=False)


def _range(network: str, meaning: str, opening_prefix: int | None = None) -> Range:
    return Range(ip_network(network), meaning, opening_prefix)


_METADATA = "a cloud's metadata service"

_FORBIDDEN = (
    # Metadata outside the link-local networks, which hold 169.254.169.254 (AWS, Azure, GCP and most others),
    # 169.254.170.2 and .23 (AWS ECS and EKS), 169.254.0.23 (Tencent), 169.254.42.42 (Scaleway), fe80::a9fe:a9fe.
    _range("100.100.100.200/32", _METADATA),  # Alibaba Cloud, "View instance metadata"
    _range("168.63.129.16/32", _METADATA),  # Azure, "What is IP address 168.63.129.16?"
    _range("192.0.0.192/32", _METADATA),  # Oracle Cloud Infrastructure Classic
    _range("fd00:ec2::/32", _METADATA),  # AWS: ::254 metadata, ::23 EKS pod identity, ::253 DNS, ::123 time
    _range("fd20:ce::254/128", _METADATA),  # Google Cloud, IPv6-only instances
    _range("fd00:c1::a9fe:a9fe/128", _METADATA),  # Oracle Cloud Infrastructure (oci-python-sdk)
    _range("fd00:42::42/128", _METADATA),  # Scaleway (cloud-init, DataSourceScaleway)
    _range("fd00:a9fe:a9fe::1/128", _METADATA),  # Akamai (Linode)
    _range("fd00:100::100:200/128", _METADATA),  # Alibaba Cloud over IPv6
    _range("169.254.169.254/32", _METADATA),
    _range("169.254.0.0/16", "a link-local address"),  # RFC 3927
    _range("fe80::/10", "a link-local address"),  # RFC 4291, 2.5.6
    _range("0.0.0.0/8", "an unspecified address"),  # RFC 1122, 3.2.1.3; 0.0.0.0 reaches the machine itself on Linux
    _range("::/128", "the unspecified address"),  # RFC 4291, 2.5.2
    _range("255.255.255.255/32", "the broadcast address"),  # RFC 919
    _range("224.0.0.0/4", "a multicast address"),  # RFC 5771
    _range("ff00::/8", "a multicast address"),  # RFC 4291, 2.7
)

_SPECIAL = (
    _range("10.0.0.0/8", "a private address", 8),  # RFC 1918
    _range("172.16.0.0/12", "a private address", 12),  # RFC 1918
    _range("192.168.0.0/16", "a private address", 16),  # RFC 1918
    _range("127.0.0.0/8", "a loopback address (the gateway's own machine)", 8),  # RFC 1122, 3.2.1.3
    _range("100.64.0.0/10", "an address of shared space (carrier NAT, VPNs such as Tailscale)", 10),  # RFC 6598
    _range("192.0.0.0/24", "an address reserved for IETF protocols"),  # RFC 6890
    _range("192.0.2.0/24", "a documentation address"),  # RFC 5737, TEST-NET-1
    _range("192.88.99.0/24", "an address of a 6to4 relay"),  # RFC 7526, deprecated
    _range("198.18.0.0/15", "an address reserved for benchmarks"),  # RFC 2544
    _range("198.51.100.0/24", "a documentation address"),  # RFC 5737, TEST-NET-2
    _range("203.0.113.0/24", "a documentation address"),  # RFC 5737, TEST-NET-3
    _range("240.0.0.0/4", "a reserved address"),  # RFC 1112, 4
    _range("::1/128", "the loopback address (the gateway's own machine)"),  # RFC 4291, 2.5.3
    _range("::/96", "an IPv4-compatible address (deprecated)"),  # RFC 4291, 2.5.5.1
    _range("::ffff:0:0:0/96", "an IPv4-translated address"),  # RFC 7915
    _range("64:ff9b:1::/48", "an address of local NAT64 translation"),  # RFC 8215
    _range("2001::/32", "a Teredo address"),  # RFC 4380
    _range("2001::/23", "an address reserved for IETF protocols"),  # RFC 2928: benchmarks, ORCHID, AMT and more
    _range("2001:db8::/32", "a documentation address"),  # RFC 3849
    _range("2002::/16", "a 6to4 address (deprecated)"),  # RFC 3056, RFC 7526
    _range("3fff::/20", "a documentation address"),  # RFC 9637
    _range("fc00::/7", "a private address (unique local)", 48),  # RFC 4193, 3.1: a site has a /48
    _range("fec0::/10", "a private address (site-local, deprecated)"),  # RFC 3879
)

_WELL_KNOWN_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052, 2.1; globally reachable, judged by what it carries
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215; its operator may use any of the prefix lengths below
_LOCAL_NAT64_PREFIXES = (48, 56, 64, 96)
_LAST_32_BITS = tuple(IPv6Network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
_ISATAP_MARKS = (0x00005EFE, 0x02005EFE)  # RFC 5214, 6.1: the first half of the interface identifier
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_UNASSIGNED = "an address outside the space that is assigned to the internet"


def forbidden_range(address: IPAddress) -> Range | None:
    """The range that forbids ``address`` whatever the operator allows, if one does. Carried IPv4 is not looked at."""
    return next((entry for entry in _FORBIDDEN if address in entry.network), None)


def special_range(address: IPAddress) -> Range | None:
    """The range that keeps ``address`` from being public, if one does. Carried IPv4 is not looked at."""
    listed = next((entry for entry in _SPECIAL if address in entry.network), None)
    if listed is not None or address in _GLOBAL_UNICAST or address in _WELL_KNOWN_NAT64:
        return listed
    return None if isinstance(address, IPv4Address) else Range(IPv6Network((address, 128)), _UNASSIGNED)


def embedded_addresses(address: IPAddress) -> tuple[IPv4Address, ...]:
    """Every IPv4 address that an IPv6 address may carry to a translator or tunnel on the way.

    Known forms: mapped, compatible, translated, NAT64 (RFC 6052, 2.2), 6to4 (RFC 3056), Teredo (RFC 4380, 4: the
    server and the client) and ISATAP (RFC 5214). Where a form is ambiguous all its readings are given.
    """
    if isinstance(address, IPv4Address) or int(address) <= 1:
        return ()
    found: list[IPv4Address] = []
    if any(address in network for network in _LAST_32_BITS) or (int(address) >> 32 & 0xFFFFFFFF) in _ISATAP_MARKS:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    if address in _LOCAL_NAT64:
        found.extend(_local_nat64(address))
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    return tuple(found)


def _local_nat64(address: IPv6Address) -> list[IPv4Address]:
    """Read ``address`` by each prefix length that fits: the four octets skip octet 8, and what follows them is zero."""
    found = []
    for prefix in _LOCAL_NAT64_PREFIXES:
        octets = [octet for index, octet in enumerate(address.packed) if index >= prefix // 8 and index != 8]
        if any(octets[:4]) and not any(octets[4:]):
            found.append(IPv4Address(bytes(octets[:4])))
    return found
