"""How often may an address be wrong before it has to wait? Pure: addresses and monotonic seconds in, a wait out.

An exact sliding window for each address: at most N failures in any window. Who has failed so often is not heard at
all, be the next key right or wrong: otherwise trying would go on. A house has an IPv4 address or an IPv6 network of 64
bits, in which it chooses addresses as it likes: so that network counts as one.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from ipaddress import IPv6Address, ip_address
from typing import Final

__all__ = ["MOST_ADDRESSES", "MOST_FAILURES", "WINDOW_SECONDS", "Attempts", "house_of"]

MOST_FAILURES: Final = 10
WINDOW_SECONDS: Final = 60.0
MOST_ADDRESSES: Final = 10_000
"""So many addresses are remembered; the one that failed longest ago is forgotten for a new one."""
_HOUSE_BITS: Final = 64


class Attempts:
    """The failures of the last window, by address.

    Args:
        most_failures: in one window, for one address.
        window_seconds: how long a failure counts.
        most_addresses: how many are remembered.
    """

    __slots__ = ("_failures", "_most_addresses", "_most_failures", "_window")

    def __init__(
        self,
        most_failures: int = MOST_FAILURES,
        window_seconds: float = WINDOW_SECONDS,
        most_addresses: int = MOST_ADDRESSES,
    ) -> None:
        self._most_failures = most_failures
        self._window = window_seconds
        self._most_addresses = most_addresses
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        """The one that failed longest ago first."""

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._failures)

    def wait_seconds(self, address: str, now: float) -> int:
        """How long this address has to wait before it is heard again, in whole seconds; 0: it is heard now."""
        failures = self._failures.get(house_of(address))
        if failures is None or len(failures) < self._most_failures:
            return 0
        return max(0, math.ceil(failures[0] + self._window - now))

    def failed(self, address: str, now: float) -> None:
        """Count a failure of this address."""
        house = house_of(address)
        failures = self._failures.pop(house, None)
        if failures is None:
            failures = deque(maxlen=self._most_failures)
        failures.append(now)
        self._failures[house] = failures
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Drop addresses whose last failure counts no more, and those that are too many."""
        while self._failures:
            last = next(iter(self._failures.values()))[-1]
            if last + self._window > now and len(self._failures) <= self._most_addresses:
                return
            self._failures.popitem(last=False)


def house_of(address: str) -> str:
    """Name who is counted as one: an IPv4 address, an IPv6 network of 64 bits, or else the text as it is."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    network = int(parsed) >> (128 - _HOUSE_BITS) << (128 - _HOUSE_BITS)
    return f"{IPv6Address(network)}/{_HOUSE_BITS}"
