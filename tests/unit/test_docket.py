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
        (replace(LAPTOP, loaded=frozenset()), ["a", "b"]),
        (replace(LAPTOP, loaded=frozenset(["another"])), []),
        (replace(LAPTOP, loaded=frozenset(["another"]), models=TWO[:1]), ["a"]),
        (replace(LAPTOP, loaded=frozenset(["another"]), swaps_models=False), ["a", "b"]),
        (replace(LAPTOP, loaded=frozenset("b"), abilities={"b": ABLE}), []),
    ],
)
def test_a_model_is_tried_where_that_puts_no_other_out_of_memory(server: Server, expected: list[str]) -> None:
    docket = Docket(lambda _server: True)
    docket.follow([server], 0.0)
    assert tried(docket, 0.0) == expected


def test_what_is_in_memory_is_waited_for_and_not_for_ever() -> None:
    docket = Docket(lambda _server: True)
    docket.follow([LAPTOP], 0.0)
    assert tried(docket, UNTOLD_SECONDS - 0.1) == []
    assert docket.next_due == UNTOLD_SECONDS
    assert tried(docket, UNTOLD_SECONDS) == ["a", "b"]


def test_a_model_is_tried_once_somebody_has_asked_for_it() -> None:
    docket = Docket(lambda _server: True)
    docket.follow([replace(LAPTOP, loaded=frozenset("a"), abilities={"a": ABLE})], 0.0)
    assert tried(docket, 1.0) == []
    docket.follow([replace(LAPTOP, loaded=frozenset("b"), abilities={"a": ABLE})], 2.0)
    assert tried(docket, 2.0) == ["b"]
