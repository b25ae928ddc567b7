"""Which client stands behind a proxy."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from app.services.core.http.proxies import client_address

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", b"1.2.3.4", "192.0.2.1"),  # a stranger may write what he likes
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", b"198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", b"6.6.6.6, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", b"10.0.0.9,10.0.0.2", "10.0.0.9"),
        ("10.0.0.1", b"unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", b"\xff\xfe", "10.0.0.1"),
        ("2001:db8::1", b"2001:0db9::0001", "2001:db9::1"),
        ("", b"1.2.3.4", ""),
    ],
)
def test_forwarded_for_is_believed_from_its_end(peer: str, forwarded: bytes, client: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == client


def test_nobody_is_trusted_by_default() -> None:
    assert client_address("10.0.0.1", b"1.2.3.4", ()) == "10.0.0.1"
