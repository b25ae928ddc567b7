"""May this address be dialled?

The judgement, in this order, on each address that a name resolved to and on each IPv4 address that an IPv6 address
carries inside it:

1. never: cloud metadata, link-local, unspecified, multicast, broadcast, and the gateway's own listeners;
2. yes, if the operator's ``ALLOWED_SERVER_NETWORKS`` holds it (configuration only; no route can change it);
3. no, unless it is public by the tables in ``networks``.

A name with several addresses is judged by the worst of them. The form of a URL is judged apart, in ``endpoints``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from app.services.core.network.endpoints import parse_endpoint
from app.services.core.network.networks import IPAddress, IPNetwork, embedded_addresses, forbidden_range, special_range

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AddressPolicy", "Allowed", "DenialCode", "Denied", "judge", "judge_all", "parse_endpoint"]


class DenialCode(StrEnum):
    """Which rule denied an address. ``EndpointRefused`` carries it on as its code."""

    FORBIDDEN = "address_forbidden"
    """One that no setting can open."""
    OWN = "address_is_gateway"
    """This gateway itself."""
    NOT_PUBLIC = "address_not_public"
    """One that the operator can open with ``ALLOWED_SERVER_NETWORKS``."""
    NOT_AN_ADDRESS = "address_invalid"
    """Not an IP literal, or one with a zone; or a name without any address."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """``addresses`` may be dialled: canonical IP literals, in the order given. Dial these and nothing else."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Denied:
    """``reason`` says in a sentence what is wrong with the address and what opens the way."""

    reason: str
    code: DenialCode


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """The operator's word on addresses.

    Args:
        allowed_networks: ``ALLOWED_SERVER_NETWORKS``; private networks whose servers may be registered.
        own_listeners: (IP literal, port) that this gateway listens on. For a wildcard bind the caller adds the
            concrete addresses of the machine beside the wildcard itself, which stands for all of loopback.

    Raises:
        ValueError: a listener is not an IP literal.
    """

    allowed_networks: tuple[IPNetwork, ...] = ()
    own_listeners: frozenset[tuple[str, int]] = frozenset()

    def __post_init__(self) -> None:
        """Refuse a listener that no judgement could compare."""
        for literal, _port in self.own_listeners:
            ip_address(literal)

    def allows(self, address: IPAddress) -> bool:
        """Whether an allowed network holds ``address``."""
        return any(address in network for network in self.allowed_networks)

    def is_own(self, address: IPAddress, port: int) -> bool:
        """Whether a connection to ``address`` and ``port`` ends at this gateway."""
        listeners = [_unmapped(ip_address(literal)) for literal, listening in self.own_listeners if listening == port]
        return any(address == listener or (listener.is_unspecified and address.is_loopback) for listener in listeners)


def judge(address: str, port: int, policy: AddressPolicy) -> Allowed | Denied:
    """Judge one IP literal. Says nothing of names: resolve first, and judge each answer."""
    parsed = _parsed(address)
    if parsed is None:
        return Denied(f"{address!a} is not an IP address without a zone", DenialCode.NOT_AN_ADDRESS)
    carried = (parsed, *embedded_addresses(parsed))
    for candidate in carried:
        if policy.is_own(candidate, port):
            reason = f"{_subject(parsed, candidate)} port {port} is this gateway itself"
            return Denied(f"{reason}; register the address of the model server", DenialCode.OWN)
        forbidden = forbidden_range(candidate)
        if forbidden is not None:
            reason = f"{_subject(parsed, candidate)} is {forbidden.meaning}, and no setting opens it"
            return Denied(f"{reason}; use an address that other machines reach the server by", DenialCode.FORBIDDEN)
    return Allowed((str(parsed),)) if policy.allows(parsed) else _judge_public(parsed, carried, policy)


def judge_all(host: str, addresses: Iterable[str], port: int, policy: AddressPolicy) -> Allowed | Denied:
    """Judge all that ``host`` resolved to: one bad answer denies the whole, for any of them might be dialled."""
    allowed: dict[str, None] = {}
    for address in addresses:
        match judge(address, port, policy):
            case Allowed(literals):
                allowed.update(dict.fromkeys(literals))
            case Denied(reason, code):
                return Denied(reason if host == address else f"{host} resolves to a refused address: {reason}", code)
    if not allowed:
        return Denied(f"{host} has no address; check the name and its DNS records", DenialCode.NOT_AN_ADDRESS)
    return Allowed(tuple(allowed))


def _judge_public(parsed: IPAddress, carried: tuple[IPAddress, ...], policy: AddressPolicy) -> Allowed | Denied:
    """The last step: each of ``carried`` must be public or inside an allowed network."""
    for candidate in carried:
        special = special_range(candidate)
        if special is not None and not policy.allows(candidate):
            setting = f"ALLOWED_SERVER_NETWORKS={special.opening_for(candidate)}"
            reason = f"{_subject(parsed, candidate)} is {special.meaning}; the operator can allow it with {setting}"
            return Denied(f"{reason} (any network that contains it)", DenialCode.NOT_PUBLIC)
    return Allowed((str(parsed),))


def _parsed(literal: str) -> IPAddress | None:
    if "%" in literal:
        return None
    try:
        return _unmapped(ip_address(literal))
    except ValueError:
        return None


def _unmapped(address: IPAddress) -> IPAddress:
    """An IPv4-mapped address reaches the IPv4 address itself (RFC 4291, 2.5.5.2), and is judged as that."""
    mapped: IPv4Address | None = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _subject(parsed: IPAddress, candidate: IPAddress) -> str:
    return str(parsed) if candidate == parsed else f"{parsed} carries {candidate}, which"
