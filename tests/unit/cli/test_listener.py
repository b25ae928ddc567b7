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
