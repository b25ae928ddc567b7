"""Whose turn is it to be tried, where a trial may put another model out of memory?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.services.core.continuation.ability import Ability, Rung
from app.services.core.network.addresses import parse_endpoint
from app.services.core.types import HealthStatus, ModelEntry, Server
from app.services.docket import UNTOLD_SECONDS, Docket

ABLE = Ability(chat=Rung.FLAGS, text=Rung.TEXT)
TWO = (ModelEntry("a", "a"), ModelEntry("b", "b"))
LAPTOP = Server("laptop", parse_endpoint("http://laptop.example"), TWO, health=HealthStatus.HEALTHY, swaps_models=True)


def tried(docket: Docket, now: float) -> list[str]:
    """Try all whose turn it is, one after the other."""
    names = []
    while taken := list(docket.take(now, 1)):
        names += [case.upstream_name for case in taken]
        docket.finish(taken[0], now + 1000.0)
    return sorted(names)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (replace(LAPTOP, loaded=frozenset("a")), ["a"]),
        (replace(LAPTOP, loaded=frozenset("ab")), ["a", "b"]),
        (replace(LAPTOP, loaded=frozenset()), []),
        (replace(LAPTOP, loaded=frozenset(), models=TWO[:1]), ["a"]),
        (replace(LAPTOP, loaded=frozenset(), models=(TWO[0], ModelEntry("other", "a"))), ["a"]),
        (replace(LAPTOP, loaded=frozenset(["another"])), []),
        (replace(LAPTOP, loaded=frozenset(["another"]), models=TWO[:1]), []),
        (replace(LAPTOP, loaded=frozenset(["another"]), swaps_models=False), ["a", "b"]),
        (replace(LAPTOP, loaded=frozenset("b"), abilities={"b": ABLE}), []),
    ],
)
def test_a_model_is_tried_where_that_leaves_the_memory_as_it_is_or_fills_an_empty_one(
    server: Server, expected: list[str]
) -> None:
    docket = Docket(lambda _case: True)
    docket.follow([server], 0.0)
    assert tried(docket, 0.0) == expected


def test_what_is_in_memory_is_waited_for_and_not_for_ever() -> None:
    docket = Docket(lambda _case: True)
    docket.follow([LAPTOP], 0.0)
    assert tried(docket, UNTOLD_SECONDS - 0.1) == []
    assert docket.next_due == UNTOLD_SECONDS
    assert tried(docket, UNTOLD_SECONDS) == ["a", "b"]


def test_a_model_is_tried_once_somebody_has_asked_for_it() -> None:
    docket = Docket(lambda _case: True)
    docket.follow([replace(LAPTOP, loaded=frozenset("a"), abilities={"a": ABLE})], 0.0)
    assert tried(docket, 1.0) == []
    docket.follow([replace(LAPTOP, loaded=frozenset("b"), abilities={"a": ABLE})], 2.0)
    assert tried(docket, 2.0) == ["b"]


def test_the_only_model_is_loaded_for_its_first_try_alone() -> None:
    docket = Docket(lambda _case: True)
    alone = replace(LAPTOP, loaded=frozenset(), models=TWO[:1])
    docket.follow([alone], 0.0)
    (case,) = docket.take(0.0, 1)
    assert case.may_load
    case.faults = 1
    docket.finish(case, 5.0)
    assert tried(docket, 5.0) == []
    docket.follow([replace(alone, loaded=frozenset("a"))], 10.0)
    assert tried(docket, 10.0) == ["a"]


def test_a_doubt_loads_nothing() -> None:
    docket = Docket(lambda _case: True)
    docket.follow([replace(LAPTOP, loaded=frozenset(), models=TWO[:1], abilities={"a": ABLE})], 0.0)
    assert docket.doubt("laptop", "a", 0.0)
    assert tried(docket, 0.0) == []


@pytest.mark.parametrize(("engine", "ready_at"), [("ollama", UNTOLD_SECONDS), ("mlx-lm", 0.0)])
def test_the_only_model_waits_for_what_its_engine_will_tell(engine: str, ready_at: float) -> None:
    docket = Docket(lambda _case: True)
    docket.follow([replace(LAPTOP, models=TWO[:1], engine=engine)], 0.0)
    assert docket.next_due == ready_at
    docket.follow([replace(LAPTOP, models=TWO[:1], engine=engine, loaded=frozenset())], 1.0)
    assert docket.next_due == 0.0


def test_a_router_is_known_by_what_it_tells() -> None:
    docket = Docket(lambda _case: True)
    router = replace(LAPTOP, engine="llama.cpp", swaps_models=False)
    docket.follow([router], 0.0)
    assert tried(docket, 0.0) == []
    docket.follow([replace(router, swaps_models=True, loaded=frozenset("b"))], 1.0)
    assert tried(docket, 1.0) == ["b"]


def test_one_that_keeps_its_models_is_tried_once_it_told_of_them() -> None:
    docket = Docket(lambda _case: True)
    server = replace(LAPTOP, engine="vllm", swaps_models=False)
    docket.follow([server], 0.0)
    docket.follow([replace(server, contexts={"a": 4096})], 1.0)
    assert tried(docket, 1.0) == ["a", "b"]


def test_what_was_told_before_an_illness_is_waited_for_again() -> None:
    docket = Docket(lambda _case: True)
    docket.follow([replace(LAPTOP, loaded=frozenset("a"))], 0.0)
    docket.follow([replace(LAPTOP, health=HealthStatus.UNHEALTHY)], 50.0)
    docket.follow([LAPTOP], 100.0)
    assert tried(docket, 100.0) == []
    assert docket.next_due == 100.0 + UNTOLD_SECONDS
    docket.follow([replace(LAPTOP, loaded=frozenset("b"))], 101.0)
    assert tried(docket, 101.0) == ["b"]


def test_it_is_asked_of_each_model_whether_there_is_room() -> None:
    docket = Docket(lambda case: case.upstream_name == "b")
    docket.follow([replace(LAPTOP, loaded=frozenset("ab"))], 0.0)
    assert tried(docket, 0.0) == ["b"]
