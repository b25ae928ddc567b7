"""Loops of gateways are found by Via."""

from __future__ import annotations

import pytest

from app.services.core.errors import RequestInvalid
from app.services.core.http.via import passed_on, pseudonym

OWN = pseudonym(7)
OTHER = pseudonym(2**64 + 8)


def test_a_pseudonym_has_a_form_of_its_own() -> None:
    assert (OWN, OTHER) == (b"1.1 mvg-0000000000000007", b"1.1 mvg-0000000000000008")


@pytest.mark.parametrize("received", [b"", b"1.1 squid.internal (squid/6)", b"2 cache, 1.1 mvg-xyz"])
def test_a_clients_proxies_are_nobodys_business(received: bytes) -> None:
    assert passed_on(received, OWN) == OWN


def test_other_gateways_are_remembered() -> None:
    assert passed_on(b"1.1 front, " + OTHER, OWN) == OTHER + b", " + OWN


@pytest.mark.parametrize("received", [OWN, b"1.1 front, " + OWN + b", " + OTHER, b", ".join([OTHER] * 8)])
def test_a_request_that_comes_back_is_refused(received: bytes) -> None:
    with pytest.raises(RequestInvalid, match="registered with itself") as caught:
        passed_on(received, OWN)
    assert caught.value.code == "loop_detected"
