"""Which addresses may be dialled, and what does a refusal say?"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.network.addresses import AddressPolicy, Allowed, DenialCode, Denied, judge, judge_all
from app.services.core.network.networks import embedded_addresses

NOTHING_ALLOWED = AddressPolicy()
EVERYTHING_ALLOWED = AddressPolicy((ip_network("0.0.0.0/0"), ip_network("::/0")))

PUBLIC = [
    "8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.0", "11.0.0.1", "100.63.255.255", "100.128.0.1",
    "192.167.1.1", "192.169.0.1", "198.17.255.255", "198.20.0.1", "223.255.255.255", "126.255.255.255", "128.0.0.1",
    "2606:4700:4700::1111", "2a00:1450:4001::8a", "2001:200::1", "2620:fe::fe", "2003::1", "64:ff9b::808:808",
    "3ffe::1", "2400::5efe:808:808",
]  # fmt: skip

NEVER = [
    "169.254.169.254", "169.254.0.1", "169.254.170.2", "169.254.170.23", "169.254.42.42", "100.100.100.200",
    "168.63.129.16", "192.0.0.192", "0.0.0.0", "0.0.0.1", "0.255.255.255", "224.0.0.1", "239.255.255.255",
    "255.255.255.255", "::", "fe80::1", "febf::1", "fe80::a9fe:a9fe", "ff02::1", "ff0e::1", "fd00:ec2::254",
    "fd00:ec2::23", "fd00:ec2::253", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "fd00:a9fe:a9fe::1",
    "fd00:100::100:200", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::ffff:0.0.0.0", "::a9fe:a9fe", "::2",
    "::ffff:0:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "64:ff9b::6464:64c8", "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:0:a9:fea9:fe00:0", "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1", "2001:0:808:808:0:0:5601:5601", "2400::5efe:a9fe:a9fe", "2400::200:5efe:a9fe:a9fe",
    "fd12::5efe:a9fe:a9fe",
]  # fmt: skip

NOT_PUBLIC = [
    "127.0.0.1", "127.1.2.3", "127.255.255.255", "10.0.0.5", "10.255.255.255", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.0.9", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.7", "203.0.113.7", "240.0.0.1", "255.255.255.254", "::1", "fc00::1", "fd12:3456::1",
    "fdff:ffff::1", "fec0::1", "feff::1", "2001:db8::1", "3fff::1", "100::1", "100:0:0:1::1", "2001:2::1", "2001:10::1",
    "2001:20::1", "5f00::1", "4000::1", "200::1", "::ffff:127.0.0.1", "::ffff:10.0.0.5", "::ffff:7f00:1", "::7f00:1",
    "::808:808", "::ffff:0:7f00:1", "64:ff9b::7f00:1", "64:ff9b::a00:5", "64:ff9b:1::808:808", "64:ff9b:2::1",
    "2002:7f00:1::", "2002:a00:5::1", "2002:808:808::1", "2001:0:808:808::f7f7:f7f7", "2400::5efe:7f00:1",
    "2400::200:5efe:a00:5", "64:ff9b:0:1::808:808", "64::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed_as_it_stands(address: str) -> None:
    assert judge(address, 8000, NOTHING_ALLOWED) == Allowed((address,))


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("policy", [NOTHING_ALLOWED, EVERYTHING_ALLOWED])
def test_some_addresses_no_setting_opens(address: str, policy: AddressPolicy) -> None:
    verdict = judge(address, 80, policy)
    assert isinstance(verdict, Denied)
    assert verdict.code is DenialCode.FORBIDDEN
    assert "no setting opens" in verdict.reason
    assert "ALLOWED_SERVER_NETWORKS" not in verdict.reason


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_a_denial_names_the_setting_and_a_network_that_opens_the_way(address: str) -> None:
    verdict = judge(address, 8000, NOTHING_ALLOWED)
    assert isinstance(verdict, Denied)
    assert verdict.code is DenialCode.NOT_PUBLIC
    suggestion = re.search(r"ALLOWED_SERVER_NETWORKS=(\S+)", verdict.reason)
    assert suggestion is not None
    policy = AddressPolicy((ip_network(suggestion[1]),))
    assert isinstance(judge(address, 8000, policy), Allowed)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.5", "10.0.0.0/8"),
        ("172.20.1.1", "172.16.0.0/12"),
        ("192.168.7.7", "192.168.0.0/16"),
        ("100.70.1.1", "100.64.0.0/10"),
        ("127.0.0.1", "127.0.0.0/8"),
        ("::1", "::1/128"),
        ("fd12:3456:789a:1::5", "fd12:3456:789a::/48"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("::ffff:10.0.0.5", "10.0.0.0/8"),
        ("64:ff9b::a00:5", "10.0.0.0/8"),
    ],
)
def test_the_suggested_network_is_one_that_an_operator_would_write(address: str, network: str) -> None:
    verdict = judge(address, 8000, NOTHING_ALLOWED)
    assert isinstance(verdict, Denied)
    assert f"ALLOWED_SERVER_NETWORKS={network} " in verdict.reason


def test_the_words_for_a_private_address() -> None:
    assert judge("10.0.0.5", 8000, NOTHING_ALLOWED) == Denied(
        "10.0.0.5 is a private address; the operator can allow it with ALLOWED_SERVER_NETWORKS=10.0.0.0/8 "
        "(any network that contains it)",
        DenialCode.NOT_PUBLIC,
    )


def test_an_allowed_network_opens_its_own_addresses_and_no_others() -> None:
    policy = AddressPolicy((ip_network("10.1.0.0/16"), ip_network("fd12::/32")))
    assert judge("10.1.2.3", 8000, policy) == Allowed(("10.1.2.3",))
    assert judge("fd12::5", 8000, policy) == Allowed(("fd12::5",))
    assert judge("::ffff:10.1.2.3", 8000, policy) == Allowed(("10.1.2.3",))
    assert isinstance(judge("10.2.0.1", 8000, policy), Denied)
    assert isinstance(judge("fd13::5", 8000, policy), Denied)


def test_an_address_that_only_wraps_an_allowed_one_stays_denied() -> None:
    policy = AddressPolicy((ip_network("127.0.0.0/8"),))
    for wrapped in ("::127.0.0.1", "2002:7f00:1::", "::ffff:0:7f00:1"):
        assert isinstance(judge(wrapped, 8000, policy), Denied), wrapped


@pytest.mark.parametrize(
    "text",
    ["", "host", "fe80::1%eth0", "10.0.0.5%1", "::1%", "127.1", "0177.0.0.1", "2130706433", "10.0.0.5 ", " 10.0.0.5",
     "10.0.0.5\n", "[::1]", "10.0.0.5/32", "\uff11\uff10.0.0.5", "10.0.0.05", "1.2.3", "0x7f.0.0.1"],
)  # fmt: skip
def test_what_is_no_plain_literal_is_denied(text: str) -> None:
    verdict = judge(text, 8000, EVERYTHING_ALLOWED)
    assert isinstance(verdict, Denied)
    assert verdict.code is DenialCode.NOT_AN_ADDRESS


class TestOwnListener:
    def test_an_own_listener_is_denied_on_its_port_alone(self) -> None:
        policy = AddressPolicy((ip_network("10.0.0.0/8"),), frozenset({("10.0.0.3", 8000)}))
        verdict = judge("10.0.0.3", 8000, policy)
        assert isinstance(verdict, Denied)
        assert verdict.code is DenialCode.OWN
        assert judge("10.0.0.3", 8001, policy) == Allowed(("10.0.0.3",))
        assert judge("10.0.0.4", 8000, policy) == Allowed(("10.0.0.4",))

    @pytest.mark.parametrize("address", ["203.0.114.1", "::ffff:203.0.114.1", "64:ff9b::cb00:7201", "2002:cb00:7201::"])
    def test_a_public_own_address_is_found_in_every_form(self, address: str) -> None:
        policy = AddressPolicy(EVERYTHING_ALLOWED.allowed_networks, frozenset({("203.0.114.1", 443)}))
        verdict = judge(address, 443, policy)
        assert isinstance(verdict, Denied)
        assert verdict.code is DenialCode.OWN

    @pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
    @pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
    def test_a_wildcard_stands_for_all_of_loopback(self, wildcard: str, address: str) -> None:
        policy = AddressPolicy(EVERYTHING_ALLOWED.allowed_networks, frozenset({(wildcard, 8000)}))
        verdict = judge(address, 8000, policy)
        assert isinstance(verdict, Denied)
        assert verdict.code is DenialCode.OWN
        assert isinstance(judge(address, 8001, policy), Allowed)

    def test_a_listener_in_another_spelling_is_the_same(self) -> None:
        policy = AddressPolicy(
            EVERYTHING_ALLOWED.allowed_networks, frozenset({("::ffff:10.0.0.3", 1), ("FD12:0::1", 2)})
        )
        assert isinstance(judge("10.0.0.3", 1, policy), Denied)
        assert isinstance(judge("fd12::1", 2, policy), Denied)

    def test_a_listener_must_be_a_literal(self) -> None:
        with pytest.raises(ValueError, match="localhost"):
            AddressPolicy((), frozenset({("localhost", 8000)}))


class TestAllAnswers:
    def test_all_public_answers_are_given_back_canonical_and_once(self) -> None:
        answers = ["8.8.8.8", "2606:4700:0::1", "::ffff:8.8.8.8"]
        assert judge_all("box.example", answers, 80, NOTHING_ALLOWED) == Allowed(("8.8.8.8", "2606:4700::1"))

    @pytest.mark.parametrize("bad", ["10.0.0.5", "169.254.169.254", "::1", "nonsense"])
    def test_one_bad_answer_denies_the_whole(self, bad: str) -> None:
        for answers in (["8.8.8.8", bad], [bad, "8.8.8.8"]):
            verdict = judge_all("box.example", answers, 80, NOTHING_ALLOWED)
            assert isinstance(verdict, Denied)
            assert verdict.reason.startswith("box.example resolves to a refused address: ")

    def test_a_literal_is_not_said_to_resolve(self) -> None:
        assert judge_all("10.0.0.5", ["10.0.0.5"], 80, NOTHING_ALLOWED) == judge("10.0.0.5", 80, NOTHING_ALLOWED)

    def test_no_answer_is_a_denial(self) -> None:
        assert isinstance(judge_all("box.example", [], 80, EVERYTHING_ALLOWED), Denied)


CARRIERS = [
    "::ffff:{0}:{1}", "::ffff:0:{0}:{1}", "64:ff9b::{0}:{1}", "64:ff9b:1::{0}:{1}", "2002:{0}:{1}::1",
    "2400::5efe:{0}:{1}",
]  # fmt: skip


@given(st.ip_addresses(v=4).filter(lambda address: int(address) >= 2**24), st.sampled_from(CARRIERS))
def test_whatever_is_denied_plain_is_denied_inside_every_carrier(address: IPv4Address, carrier: str) -> None:
    wrapped = carrier.format(f"{int(address) >> 16:x}", f"{int(address) & 0xFFFF:x}")
    assert address in embedded_addresses(IPv6Address(wrapped))
    if isinstance(judge(str(address), 80, NOTHING_ALLOWED), Denied):
        assert isinstance(judge(wrapped, 80, NOTHING_ALLOWED), Denied)
    if isinstance(judge(str(address), 80, EVERYTHING_ALLOWED), Denied):
        assert isinstance(judge(wrapped, 80, EVERYTHING_ALLOWED), Denied)


@given(st.ip_addresses())
def test_what_the_standard_library_calls_private_is_never_public_here(address: IPv4Address | IPv6Address) -> None:
    if isinstance(judge(str(address), 80, NOTHING_ALLOWED), Allowed):
        assert address.is_global or (isinstance(address, IPv6Address) and embedded_addresses(address))
        assert not any((address.is_multicast, address.is_loopback, address.is_link_local, address.is_unspecified))


@given(st.ip_addresses(), st.integers(min_value=1, max_value=65535))
def test_every_literal_gets_a_verdict_and_an_allowed_one_is_itself(
    address: IPv4Address | IPv6Address, port: int
) -> None:
    verdict = judge(str(address), port, EVERYTHING_ALLOWED)
    if isinstance(verdict, Allowed):
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        assert verdict.addresses == (str(mapped or address),)
