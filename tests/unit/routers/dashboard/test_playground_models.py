"""Does the list of models offer what somebody may ask for and will be answered by, and nothing else?"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest

from app.routers.dashboard.playground_models import Choice, choices_of
from app.services.core.choice.aliases import Alias, Target
from app.services.core.choice.sight import Views
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.people.principal import Principal, Role
from app.services.core.signals import Signals
from app.services.core.types import HealthStatus, Server
from tests.fakes.house import server

URL = "http://10.0.0.1:8000"
USER = Principal("u", "user", Role.USER)


class Said:
    """What engines said of their models."""

    def __init__(self, **capabilities: dict[str, frozenset[str]]) -> None:
        self._capabilities = capabilities

    def signals(self, server_id: str) -> Signals:
        return Signals(capabilities=MappingProxyType(self._capabilities.get(server_id, {})))


def choices(*servers: Server, said: Said | None = None, principal: Principal = USER, aliases: Any = ()) -> list[Choice]:
    plane = SimpleNamespace(views=Views(), snapshot=build_snapshot(servers, (), list(aliases)))
    return choices_of(cast("Any", plane), cast("Any", said or Said()), principal)


def down(name: str, *models: str) -> Server:
    return replace(server(name, URL, *models), health=HealthStatus.UNHEALTHY)


def test_those_that_are_ready_come_first() -> None:
    found = choices(down("s1", "a", "b"), server("s2", URL, "b", "c"))
    assert [(choice.name, choice.ready, choice.servers) for choice in found] == [("b", 1, 2), ("c", 1, 1), ("a", 0, 1)]
    assert [choice.hint for choice in found] == [
        "1 of 2 servers ready",
        "1 of 1 server ready",
        "no server is ready now",
    ]


def test_an_alias_is_offered_with_what_it_stands_for() -> None:
    found = choices(server("s1", URL, "a"), aliases=[Alias("fast", (Target("a"),)), Alias("lost", (Target("gone"),))])
    assert [(choice.name, choice.alias_for) for choice in found] == [("a", ()), ("fast", ("a",))]


def test_what_the_key_may_not_ask_for_is_not_offered() -> None:
    found = choices(server("s1", URL, "a", "b"), principal=replace(USER, models=frozenset({"b"})))
    assert [choice.name for choice in found] == ["b"]


def test_a_server_of_others_is_no_matter_of_this_key() -> None:
    assert choices(server("s1", URL, "a", share="me", owner="somebody")) == []


@pytest.mark.parametrize(
    ("able", "offered"),
    [
        ((), True),
        (("chat",), True),
        (("embeddings", "chat"), True),
        (("vision",), True),
        (("embeddings",), False),
        (("rerank", "embeddings"), False),
    ],
)
def test_a_model_that_does_not_talk_is_left_out(able: tuple[str, ...], *, offered: bool) -> None:
    said = Said(s1={"a": frozenset(able)})
    assert bool(choices(server("s1", URL, "a"), said=said)) is offered
    alias = choices(server("s1", URL, "a"), said=said, aliases=[Alias("fast", (Target("a"),))])
    assert ("fast" in {choice.name for choice in alias}) is offered
