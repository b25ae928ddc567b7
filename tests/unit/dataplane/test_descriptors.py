"""Is it known in time that there are no more file descriptors, and is it told now and then?"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from app.services.dataplane.descriptors import Descriptors

if sys.platform == "win32":
    pytest.skip("Windows has no such limit", allow_module_level=True)
else:
    import resource


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def limited(soft: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def taking(until: int) -> Iterator[list[int]]:
    """Take every descriptor below a number."""
    taken = [os.open(os.devnull, os.O_RDONLY)]
    while taken[-1] < until - 1:
        taken.append(os.open(os.devnull, os.O_RDONLY))
    yield taken
    for descriptor in taken:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("limit", "clients_below", "farewells_below"),
    [(64, 48, 52), (256, 224, 232), (1024, 896, 928), (20_000, 18_976, 19_232), (1_048_576, 1_047_552, 1_047_808)],
)
def test_the_last_part_is_not_for_clients(
    monkeypatch: pytest.MonkeyPatch, limit: int, clients_below: int, farewells_below: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _resource: (limit, limit))
    descriptors = Descriptors()
    assert (descriptors.clients_below, descriptors.farewells_below) == (clients_below, farewells_below)


def test_without_a_limit_there_is_always_room(monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _resource: (unlimited, unlimited))
    descriptors = Descriptors()
    assert descriptors.has_room()
    assert descriptors.clients_below == sys.maxsize


def test_there_is_room_until_the_last_few() -> None:
    with limited(256):
        descriptors = Descriptors()
        with taking(256 - 8):
            assert descriptors.has_room() is False
            assert descriptors.felt_lately
        assert descriptors.has_room()


def test_a_hole_below_counts_as_room_if_it_is_large_enough() -> None:
    """What lies at the very end may be open for long while most of what is below was closed."""
    with limited(256):
        descriptors = Descriptors()
        with taking(256) as taken:
            assert not descriptors.has_room()
            holes, taken[:] = taken[:8], taken[8:]
            for descriptor in holes:
                os.close(descriptor)
            assert not descriptors.has_room()
            os.close(taken.pop(0))
            assert descriptors.has_room()


def test_nothing_stays_open() -> None:
    with limited(256):
        descriptors = Descriptors()
        with taking(200) as taken:
            before = set(os.listdir("/dev/fd"))  # noqa: PTH208 - numbers, not paths
            assert descriptors.has_room()
            with taking(256):
                assert not descriptors.has_room()
            assert set(os.listdir("/dev/fd")) == before  # noqa: PTH208 - as above
            assert taken[-1] == 199


def test_a_limit_that_was_lowered_is_noticed() -> None:
    with limited(512):
        descriptors = Descriptors()
        with limited(256):
            descriptors.look()
            assert descriptors.clients_below == 224


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (OSError(errno.EMFILE, "too many"), True),
        (OSError(errno.ENFILE, "too many"), True),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), False),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), False),
    ],
)
def test_a_shortage_is_remembered_for_some_seconds(error: OSError, *, short: bool) -> None:
    clock = Clock()
    descriptors = Descriptors(clock)
    descriptors.judge(error)
    assert descriptors.felt_lately is short
    clock.now += 60
    assert not descriptors.felt_lately


def test_clients_that_were_turned_away_are_told_of_once_a_minute() -> None:
    clock = Clock()
    descriptors = Descriptors(clock)
    with capture_logs() as logs:
        descriptors.look()
        assert logs == []
        for _second in range(70):
            descriptors.turned_away()
            descriptors.look()
            clock.now += 1
    assert [line["turned_away"] for line in logs] == [1, 60]
    assert all("raise the limit" in line["fix"].lower() for line in logs)


def test_a_shortage_is_told_of_where_nobody_counts_clients() -> None:
    with limited(256), capture_logs() as logs:
        descriptors = Descriptors()
        with taking(256):
            descriptors.look()
            descriptors.look()
    assert [(line["limit"], line["turned_away"]) for line in logs] == [(256, 0)]
