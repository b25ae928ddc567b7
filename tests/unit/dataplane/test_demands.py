"""What is read of a request for the choice of its server, and what is remembered of where it went."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest

from app.services.core.answer.usage import Usage
from app.services.core.choice.snapshot import Route, build_snapshot
from app.services.core.http.peek import peek
from app.services.core.keys import Principal, Role
from app.services.core.network.addresses import parse_endpoint
from app.services.core.types import HealthStatus, ModelEntry, Server
from app.services.dataplane.demands import LEAST_BYTES, Demands, Wish
from app.services.dataplane.reception import Call

CHAT = "/v1/chat/completions"
TEXT = "Some words that everybody says. " * 100
CALL = Call(CHAT, Principal("key", "key", Role.USER), b"id", "client", b"", b"")


def server(name: str, context: int | None = None, **fields: object) -> Server:
    entry = ModelEntry("m", "m", context)
    known = Server(name, parse_endpoint(f"http://{name}.example"), (entry,), health=HealthStatus.HEALTHY)
    return replace(known, **fields)


def route_of(*servers: Server) -> Route:
    return build_snapshot(servers).routes["m"]


def body_of(*turns: str, **members: object) -> bytes:
    messages = [{"role": "user", "content": turn} for turn in turns]
    return json.dumps({"model": "m", "messages": messages, **members}).encode()


def read(
    demands: Demands, body: bytes, route: Route, *, session: bytes = b"", path: str = CHAT, key: str = "key"
) -> Wish | None:
    call = Call(path, Principal(key, key, Role.USER), b"id", "client", b"", b"", session=session)
    return demands.read(call, body, peek(body, 64), route, 0.0)


def homes(wish: Wish | None) -> list[tuple[str, str]]:
    assert wish is not None
    return [] if wish.demand is None else [(home.server_id, home.by) for home in wish.demand.homes]


def names(pairs: Iterable[tuple[str, str]], by: str) -> list[str]:
    return [name for name, why in pairs if why == by]


def test_a_short_request_asks_for_nothing() -> None:
    assert read(Demands(), body_of("hi"), route_of(server("a"), server("b"))) is None


def test_a_prompt_goes_back_to_where_it_went() -> None:
    demands, route = Demands(), route_of(server("a"), server("b"), server("c"))
    wish = read(demands, body_of(TEXT), route)
    assert names(homes(wish), "prefix") == []
    assert wish is not None
    demands.ended("b", demands.went(wish, "b", 0.0), 1.0)
    assert homes(read(demands, body_of(TEXT, "well", "and?"), route))[0] == ("b", "prefix")
    demands.keep({"a", "c"})
    assert names(homes(read(demands, body_of(TEXT), route)), "prefix") == []


def test_a_session_stays_with_its_key_and_its_model() -> None:
    demands, route = Demands(), route_of(server("a"), server("b"))
    wish = read(demands, body_of("hi"), route, session=b"alpha")
    assert wish is not None
    assert demands.went(wish, "b", 0.0) == 0
    assert homes(read(demands, body_of("again"), route, session=b"alpha")) == [("b", "session")]
    assert homes(read(demands, body_of("again"), route, session=b"beta")) == []
    assert homes(read(demands, body_of("again"), route, session=b"alpha", key="another")) == []
    assert [home.server_id for home in demands.session_homes("key", "m", "alpha", 0.0)] == ["b"]
    assert demands.session_homes("key", "another", "alpha", 0.0) == ()


@pytest.mark.parametrize(("servers", "follows"), [(1, True), (2, False)])
def test_nobody_is_followed_where_there_is_no_choice_or_it_is_switched_off(servers: int, *, follows: bool) -> None:
    route = route_of(*(server(str(place)) for place in range(servers)))
    assert read(Demands(follows=follows), body_of(TEXT), route, session=b"alpha") is None


def test_embeddings_follow_nobody_but_must_fit() -> None:
    body = json.dumps({"model": "m", "input": TEXT}).encode()
    assert read(Demands(), body, route_of(server("a"), server("b")), path="/v1/embeddings") is None
    wish = read(Demands(), body, route_of(server("a", 256), server("b", 256)), path="/v1/embeddings")
    assert wish is not None
    assert wish.demand is not None
    assert (wish.demand.member, wish.demand.homes) == ("input", ())
    assert wish.demand.prompt_tokens > 256


def test_a_long_answer_is_a_demand_of_a_short_prompt() -> None:
    route = route_of(server("a", 512), server("b", 8192))
    assert read(Demands(), body_of("hi"), route) is None
    wish = read(Demands(), body_of("hi", max_tokens=4000), route)
    assert wish is not None
    assert wish.demand is not None
    assert wish.demand.answer_tokens == 4000


def test_what_servers_count_is_learnt() -> None:
    demands, route = Demands(), route_of(server("a", 256))
    body = body_of(TEXT)
    before = read(demands, body, route)
    for _answer in range(64):
        demands.counted("m", body, Usage(len(body) // 6, 1), route.ready[0])
    after = read(demands, body, route)
    assert before is not None
    assert after is not None
    assert before.demand is not None
    assert after.demand is not None
    assert after.demand.prompt_tokens < before.demand.prompt_tokens
    assert after.demand.prompt_tokens == pytest.approx(len(body) / 6, rel=0.1)


def test_of_very_many_servers_all_are_offered_in_time() -> None:
    demands, route = Demands(), route_of(*(server(f"s{place}") for place in range(100)))
    placed = set()
    for turn in range(400):
        wish = read(demands, body_of(f"{turn} {TEXT}"), route)
        (best,) = names(homes(wish), "placed")
        assert wish is not None
        work = demands.went(wish, best, 0.0)
        demands.ended(best, work, 1.0)
        placed.add(best)
    assert len(placed) > 90


def test_weights_are_respected_when_conversations_begin() -> None:
    demands, route = Demands(), route_of(server("light"), server("heavy", weight=3.0))
    given = []
    for turn in range(80):
        wish = read(demands, body_of(f"{turn} {TEXT}"), route)
        (best,) = names(homes(wish), "placed")
        assert wish is not None
        demands.went(wish, best, 0.0)
        given.append(best)
    assert given.count("heavy") == pytest.approx(60, abs=4)


def test_the_least_that_is_looked_at_is_what_has_a_trail() -> None:
    route = route_of(server("a"), server("b"))
    body = body_of("x" * (LEAST_BYTES - len(body_of("")) - 1))
    assert len(body) == LEAST_BYTES - 1
    assert read(Demands(), body, route) is None
