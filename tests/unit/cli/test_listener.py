"""Is a port bound, or is it said in words why not?"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from app.cli.exits import CommandFailed
from app.cli.listener import bind_listeners, bind_next_free, close_all, port_of


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_port_zero_takes_a_free_one() -> None:
    sockets = bind_listeners("127.0.0.1", 0)
    assert port_of(sockets) > 0
    close_all(sockets)


def test_a_taken_port_is_named_with_the_fix(taken: int) -> None:
    with pytest.raises(CommandFailed) as caught:
        bind_listeners("127.0.0.1", taken)
    assert f"Port {taken} on 127.0.0.1 is in use" in caught.value.message
    assert f"--port {taken + 1}" in caught.value.fix


def test_the_next_free_port_is_taken(taken: int) -> None:
    sockets = bind_next_free("127.0.0.1", taken)
    assert taken < port_of(sockets) <= taken + 100
    close_all(sockets)


def test_an_address_of_another_machine_is_refused_in_words() -> None:
    with pytest.raises(CommandFailed, match=r"Can't listen on 192\.0\.2\.1") as caught:
        bind_listeners("192.0.2.1", 0)
    assert "HOST" in caught.value.fix


def test_a_port_is_free_again_after_closing() -> None:
    sockets = bind_listeners("127.0.0.1", 0)
    port = port_of(sockets)
    close_all(sockets)
    close_all(bind_listeners("127.0.0.1", port))


def test_the_protocol_is_named_so_that_asyncio_turns_nagle_off() -> None:
    sockets = bind_listeners("127.0.0.1", 0)
    assert [listener.proto for listener in sockets] == [socket.IPPROTO_TCP]
    close_all(sockets)


def test_what_listens_already_is_used_where_it_is_wanted_and_closed_where_not() -> None:
    kept, unwanted = bind_listeners("127.0.0.1", 0)[0], bind_listeners("127.0.0.1", 0)[0]
    found = bind_listeners("127.0.0.1", port_of([kept]), [kept, unwanted])
    assert found == [kept]
    assert unwanted.fileno() == -1
    close_all(found)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_a_name_with_two_addresses_takes_over_each_and_binds_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [(socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0))]
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_given, **_named: [(family, 1, 6, "", address) for family, address in entries]
    )
    both = bind_listeners("localhost", 0)
    again = bind_listeners("localhost", port_of(both), both)
    assert again == both
    both[1].close()
    one_anew = bind_listeners("localhost", port_of(both), [both[0]])
    assert one_anew[0] is both[0]
    assert [bound.getsockname()[1] for bound in one_anew] == [port_of(both)] * 2
    close_all(one_anew)


def test_nothing_given_stays_open_when_the_rest_can_not_be_bound() -> None:
    taken, given = bind_listeners("127.0.0.1", 0), bind_listeners("127.0.0.1", 0)
    with pytest.raises(CommandFailed):
        bind_listeners("127.0.0.1", port_of(taken), given)
    assert given[0].fileno() == -1
    close_all(taken)
