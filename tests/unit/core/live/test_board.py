"""The board: which lanes there are, and what it learns of servers from the snapshot."""

from __future__ import annotations

from app.services.core.live.board import Board
from app.services.core.signals import Signals
from app.services.core.types import Endpoint, ModelEntry, Server

NOW = 1000.0


def server(name: str, *models: str, **members: object) -> Server:
    entries = tuple(ModelEntry(model, model) for model in models)
    return Server(name, Endpoint("http", name, 80), entries, **members)  # type: ignore[arg-type]


def test_a_lane_is_made_once() -> None:
    board = Board()
    assert board.in_flight("one") == 0
    assert board.lanes == {}
    board.lane("one").in_flight = 3
    assert board.lane("one").in_flight == board.in_flight("one") == 3


def test_servers_that_are_gone_are_forgotten_once_nothing_runs_on_them() -> None:
    board = Board()
    for name in ("stays", "idle", "busy"):
        board.lane(name)
    board.lane("busy").in_flight = 1
    servers = {"stays": server("stays")}
    board.keep(servers)
    assert set(board.lanes) == {"stays", "busy"}
    board.lane("busy").in_flight = 0
    board.keep(servers)
    assert set(board.lanes) == {"stays"}


def test_a_server_that_swaps_models_has_a_residence() -> None:
    board = Board()
    swapping = server("s", "a", "b", swaps_models=True, loaded=frozenset({"a"}))
    board.keep({"s": swapping, "t": server("t", "a", "b"), "u": server("u", "a", swaps_models=True)})
    lane = board.lane("s")
    residence = lane.residence
    assert residence is not None
    assert (residence.is_warm("a"), residence.is_warm("b")) == (True, False)
    assert lane.closer_look_until > NOW + 10**9
    assert board.lane("t").residence is None
    assert board.lane("u").residence is not None
    board.keep({"s": swapping})
    assert board.lane("s").residence is residence
    board.keep({"s": server("s", "a")})
    assert lane.residence is None
    assert lane.closer_look_until <= NOW


def test_what_an_engine_has_in_memory_is_passed_on() -> None:
    board = Board()
    board.keep({"s": server("s", "a", "b", swaps_models=True)})
    lane = board.lane("s")
    assert lane.residence is not None
    lane.told(Signals(loaded=frozenset({"b"})), NOW)
    assert lane.residence.is_warm("b")
    lane.told(Signals(), NOW + 100)
    assert lane.residence.is_warm("b"), "silence says nothing"
    lane.told(Signals(loaded=frozenset()), NOW + 200)
    assert not lane.residence.is_warm("b")


def test_where_models_are_loaded_is_remembered_within_bounds() -> None:
    board = Board()
    for place in range(10_000):
        board.gather(f"model-{place}", "s")
    assert len(board.gathered) <= 4096
    assert board.gathered["model-9999"] == "s"
