"""What may the gateway's own requests take of a server whose models take turns in its memory?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.services.core.live.board import Board
from app.services.core.live.residence import Residence
from app.services.core.network.addresses import parse_endpoint
from app.services.core.types import HealthStatus, ModelEntry, Server
from app.services.places import BoardPlaces, tells_memory

LAPTOP = Server(
    "laptop",
    parse_endpoint("http://laptop.example"),
    (ModelEntry("a", "a"), ModelEntry("b", "b")),
    health=HealthStatus.HEALTHY,
    engine="ollama",
    swaps_models=True,
    loaded=frozenset("a"),
)
SILENT = replace(LAPTOP, engine="mlx-lm", loaded=None)


class Desk:
    """A board with one laptop on it, in a time of its own."""

    def __init__(self, server: Server = LAPTOP) -> None:
        self.now = 1000.0
        self.freed = 0
        self.server = server
        self.board = Board()
        self.board.keep({server.id: server})
        self.places = BoardPlaces(self.board, lambda: self.now, self._free)

    @property
    def residence(self) -> Residence:
        residence = self.board.lane("laptop").residence
        assert residence is not None
        return residence

    def has_room(self, name: str, *, may_load: bool = False) -> bool:
        return self.places.has_room(self.server, name, may_load=may_load)

    def client_uses(self, name: str) -> None:
        self.residence.take(name, self.now)
        self.residence.began(name, self.now)
        self.residence.give_back(name, self.now)

    def _free(self) -> None:
        self.freed += 1


def test_only_what_is_in_memory_is_asked_whatever_routing_still_believes() -> None:
    desk = Desk()
    assert (desk.has_room("a"), desk.has_room("b")) == (True, False)
    desk.client_uses("b")
    assert (desk.has_room("a"), desk.has_room("b")) == (False, True)


def test_what_is_being_loaded_is_not_asked_yet() -> None:
    desk = Desk(replace(LAPTOP, loaded=frozenset()))
    desk.residence.take("b", desk.now)
    assert not desk.has_room("b")
    desk.residence.began("b", desk.now)
    assert desk.has_room("b")


def test_clients_that_wait_for_another_model_go_first() -> None:
    desk = Desk()
    desk.client_uses("a")
    desk.residence.wish("a", desk.now)
    assert desk.has_room("a")
    desk.residence.wish("b", desk.now)
    assert not desk.has_room("a")
    desk.now += 1.5
    assert desk.has_room("a")


def test_an_engine_that_never_tells_is_asked_when_it_is_the_models_turn() -> None:
    desk = Desk(SILENT)
    assert (desk.has_room("a"), desk.has_room("b")) == (True, True)
    desk.residence.take("a", desk.now)
    assert (desk.has_room("a"), desk.has_room("b")) == (True, False)


def test_one_that_tells_is_not_asked_before_it_told() -> None:
    desk = Desk(replace(LAPTOP, loaded=None))
    assert not desk.has_room("a")
    assert desk.has_room("a", may_load=True)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (LAPTOP, True),
        (replace(LAPTOP, loaded=None), True),
        (SILENT, False),
        (replace(SILENT, loaded=frozenset()), True),
    ],
)
def test_who_tells_what_is_in_memory(server: Server, *, expected: bool) -> None:
    assert tells_memory(server) is expected


def test_what_is_held_counts_as_traffic_does() -> None:
    desk = Desk()
    with desk.places.hold("laptop", "a"):
        assert desk.board.in_flight("laptop") == 1
        assert not desk.residence.is_open("b", desk.now)  # it waits for the end of this request
    assert desk.board.in_flight("laptop") == 0
    assert desk.freed == 1
    desk.now += 60.0
    assert desk.residence.is_open("b", desk.now)


def test_a_load_for_a_request_of_the_gateways_shows_and_ends_with_its_answer() -> None:
    desk = Desk(replace(LAPTOP, loaded=frozenset()))
    with desk.places.hold("laptop", "a") as answered:
        assert desk.residence.loading_since("a") == desk.now
        answered()
        assert desk.residence.is_warm("a")
    assert desk.has_room("a")


def test_an_answer_of_a_model_that_was_put_out_meanwhile_does_not_bring_it_back() -> None:
    desk = Desk()
    with desk.places.hold("laptop", "a") as answered:
        desk.client_uses("b")
        answered()
    assert (desk.has_room("a"), desk.has_room("b")) == (False, True)


def test_the_gateways_own_answer_takes_nothing_from_a_clients_evidence() -> None:
    desk = Desk()
    desk.residence.take("a", desk.now)
    desk.residence.began("a", desk.now)
    with desk.places.hold("laptop", "a") as answered:
        answered()
    desk.now += 100.0
    desk.residence.told(frozenset("b"), desk.now)  # older than the answer that still comes
    assert desk.residence.is_warm("a")


def test_a_request_that_failed_has_loaded_nothing() -> None:
    desk = Desk(replace(LAPTOP, loaded=frozenset()))
    with pytest.raises(ConnectionError), desk.places.hold("laptop", "a"):
        raise ConnectionError
    assert desk.residence.loading_since("a") is None
    assert not desk.residence.is_warm("a")
    assert (desk.board.in_flight("laptop"), desk.freed) == (0, 1)


def test_a_server_that_keeps_its_models_has_no_turns() -> None:
    desk = Desk(replace(LAPTOP, swaps_models=False, loaded=None))
    assert desk.board.lane("laptop").residence is None
    assert desk.has_room("a")
    with desk.places.hold("laptop", "a") as answered:
        answered()
    assert desk.board.in_flight("laptop") == 0
