"""Whose turn is it? Of servers that exist only as values, in a time that is handed in."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from app.services.core.continuation.ability import Ability, Rung
from app.services.core.network.addresses import parse_endpoint
from app.services.core.types import HealthStatus, ModelEntry, Server
from app.services.core.verification.rota import LEAST_GAP_SECONDS, PATIENCE_SECONDS, Key, Rota

ABLE = Ability(Rung.FLAGS, Rung.TEXT)


class Pool:
    """A rota and what surrounds it."""

    def __init__(self, *, after_trials: bool = False) -> None:
        self.busy: set[str] = set()
        self.full: set[str] = set()
        self.known_due: dict[Key, float] = {}
        self.declared: dict[str, int] = {}
        self.servers: dict[str, Server] = {}
        self.rota = Rota(
            lambda server_id: server_id not in self.busy,
            lambda server, name: not self.full & {server.id, name},
            after_trials=after_trials,
            declared=self.declared.get,
        )

    def set(self, name: str, now: float = 0.0, **fields: Any) -> set[str]:
        known = self.servers.get(name) or Server(
            name,
            parse_endpoint(f"http://{name}.example:8000"),
            (ModelEntry("public", "m"),),
            health=HealthStatus.HEALTHY,
        )
        self.servers[name] = replace(known, **fields)
        return self.follow(now)

    def follow(self, now: float) -> set[str]:
        return self.rota.follow(self.servers.values(), now, lambda key: self.known_due.get(key, now))

    def next(self, now: float = 0.0) -> Key | None:
        duty = self.rota.next(now)
        return None if duty is None else duty.key


def test_a_new_model_is_due_at_once_and_a_known_one_when_its_time_comes():
    pool = Pool()
    pool.known_due["b", "m"] = 50.0
    pool.set("b")
    assert (pool.next(49), pool.rota.next_due(0)) == (None, 50)
    pool.set("a", 49)
    assert pool.next(49) == ("a", "m")
    assert pool.next(60) == ("a", "m")


@pytest.mark.parametrize(
    "fields",
    [
        {"health": HealthStatus.UNHEALTHY},
        {"paused": True},
        {"blocked": True},
        {"quarantined": True},
        {"draining": True},
        {"misconfigured": True},
        {"missing_models": frozenset({"m"})},
        {"swaps_models": True, "models": (ModelEntry("x", "m"), ModelEntry("y", "n"))},
        {"swaps_models": True, "loaded": frozenset()},
        {"swaps_models": True, "loaded": frozenset({"other"})},
    ],
)
def test_who_may_not_be_asked_is_not_even_waited_for(fields):
    pool = Pool()
    pool.set("a", **fields)
    assert pool.next(10_000) is None
    assert pool.rota.next_due(10_000) == math.inf


@pytest.mark.parametrize(
    "fields",
    [
        {"swaps_models": True, "loaded": frozenset({"m"})},
        {"swaps_models": True, "loaded": frozenset({"m:latest", "other"})},
        {"swaps_models": False, "loaded": frozenset()},
    ],
)
def test_a_model_in_memory_may_be_asked(fields):
    pool = Pool()
    pool.set("a", **fields)
    assert pool.next() == ("a", "m")


def test_a_busy_server_is_waited_for_but_not_for_ever():
    pool = Pool()
    pool.set("a")
    pool.busy.add("a")
    assert pool.next(PATIENCE_SECONDS - 1) is None
    assert pool.rota.next_due(PATIENCE_SECONDS - 1) == PATIENCE_SECONDS - 1
    assert pool.next(PATIENCE_SECONDS) == ("a", "m")


def test_a_full_server_is_never_asked():
    pool = Pool()
    pool.set("a")
    pool.full.add("a")
    assert pool.next(10 * PATIENCE_SECONDS) is None


@pytest.mark.parametrize("ability", [Ability(), Ability(chat=Rung.NONE), Ability(text=Rung.TEXT)])
def test_a_model_waits_for_its_trial_but_not_for_ever(ability):
    pool = Pool(after_trials=True)
    pool.set("a", abilities={"m": ability})
    assert pool.next(PATIENCE_SECONDS - 1) is None
    assert pool.next(PATIENCE_SECONDS) == ("a", "m")
    pool.set("a", abilities={"m": ABLE})
    assert pool.next() == ("a", "m")


@pytest.mark.parametrize("fields", [{"endpoint": parse_endpoint("http://elsewhere.example:8000")}, {"engine": "vllm"}])
def test_a_server_that_is_another_is_due_at_once(fields):
    pool = Pool()
    pool.set("a")
    old = pool.rota.next(0)
    assert old is not None
    old.due = math.inf
    assert pool.set("a", 7, **fields) == {"a"}
    new = pool.rota.next(7)
    assert new is not None
    assert new is not old
    assert not pool.rota.is_current(old)
    assert pool.set("a", 8, priority=3) == set()
    assert pool.rota.is_current(new)


def test_a_claim_that_changes_is_looked_at_soon_but_not_all_the_time():
    pool = Pool()
    pool.set("a")
    duty = pool.rota.next(0)
    assert duty is not None
    duty.begun_at, duty.due = 100.0, math.inf
    pool.set("a", 110, models=(ModelEntry("public", "m", 4096),))
    assert duty.due == 100 + LEAST_GAP_SECONDS
    pool.set("a", 120, models=(ModelEntry("public", "m", 4096),))
    assert duty.due == 100 + LEAST_GAP_SECONDS
    assert duty.claimed == 4096


def test_one_upstream_name_is_one_duty_and_its_claim_is_the_first_told():
    pool = Pool()
    pool.set("a", models=(ModelEntry("x", "m"), ModelEntry("y", "m", 512)))
    assert [(duty.key, duty.claimed) for duty in pool.rota] == [(("a", "m"), 512)]


def test_what_is_gone_is_not_asked():
    pool = Pool()
    pool.set("a", models=(ModelEntry("x", "m"), ModelEntry("y", "n")))
    pool.set("a", models=(ModelEntry("y", "n"),))
    assert [duty.key for duty in pool.rota] == [("a", "n")]
    pool.servers.clear()
    pool.follow(0)
    assert pool.next() is None


def test_another_version_makes_all_models_of_a_server_due():
    pool = Pool()
    pool.set("a", models=(ModelEntry("x", "m"), ModelEntry("y", "n")))
    pool.set("b")
    for duty in pool.rota:
        duty.due = math.inf
    pool.rota.begin_anew("a", 5)
    assert sorted(duty.key for duty in pool.rota if duty.due == 5) == [("a", "m"), ("a", "n")]


def test_what_the_owner_declared_counts_for_a_server_of_one_model():
    pool = Pool()
    pool.declared["a"] = 8192
    pool.set("a", models=(ModelEntry("x", "m", 4096),))
    assert [duty.claimed for duty in pool.rota] == [8192]
    pool.set("a", models=(ModelEntry("x", "m", 4096), ModelEntry("y", "n", 512)))
    assert sorted(duty.claimed or 0 for duty in pool.rota) == [512, 4096]


def test_another_declaration_is_looked_at_soon():
    pool = Pool()
    pool.set("a")
    (duty,) = pool.rota
    duty.due = math.inf
    pool.declared["a"] = 8192
    pool.follow(5)
    assert (duty.claimed, duty.due) == (8192, 5)


def test_an_engine_that_never_tells_what_is_in_memory_had_time_to_tell():
    pool = Pool()
    pool.set("a", swaps_models=True)
    assert pool.next(PATIENCE_SECONDS - 1) is None
    assert pool.rota.next_due(0) == PATIENCE_SECONDS
    assert pool.next(PATIENCE_SECONDS) == ("a", "m")


def test_it_is_asked_of_each_model_whether_there_is_room():
    pool = Pool()
    pool.set("a", models=(ModelEntry("x", "m"), ModelEntry("y", "n")))
    pool.full.add("m")
    assert pool.next() == ("a", "n")
