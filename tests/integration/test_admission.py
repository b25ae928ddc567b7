"""Does a key reach what its scope and its limits let it, and nothing else, on both ways in?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import httpx2
import pytest

from app.services.core.choice.aliases import Alias, Target
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.keys import KeyRing, digest
from app.services.core.people.principal import LimitRule, Limits, Principal, Role, Trust
from app.services.core.types import ModelEntry
from tests.fakes.house import ADMIN_KEY, House, server
from tests.fakes.model_server import FakeModelServer, serving

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
ONE = "one-key-0123456789"
OTHER = "other-key-0123456789"


def letting_in(house: House, **principals: Principal) -> None:
    """Swap the ring for one with these keys, each called after its name, beside the operator's."""
    known = {digest(f"{name}-key-0123456789"): principal for name, principal in principals.items()}
    admin = KeyRing.with_admin(ADMIN_KEY).principals
    house.plane.reception.key_ring = KeyRing(MappingProxyType({**admin, **known}))


def user(key_id: str = "one", **fields: Any) -> Principal:
    return Principal(key_id, key_id, Role.USER, **fields)


def limited(key_id: str = "one", **limits: int) -> Principal:
    return user(key_id, rules=(LimitRule(f"key:{key_id}", Limits(**limits), "your key"),))


def bearer(key: str, **more: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {key}", **more}


def code_of(answer: httpx2.Response) -> str:
    return str(answer.json()["error"]["code"])


# -- scope


async def test_a_key_asks_for_its_models_alone(house: House) -> None:
    letting_in(house, one=user(models=frozenset({"m"})))
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url, "m", "secret"))
        assert (await house.chat("m", headers=bearer(ONE))).status_code == 200
        refused = await house.chat("secret", headers=bearer(ONE))
        assert (refused.status_code, code_of(refused)) == (403, "model_not_in_scope")
        assert "It may use: m." in refused.json()["error"]["message"]
        listed = await house.client.get("/v1/models", headers=bearer(ONE))
        assert [model["id"] for model in listed.json()["data"]] == ["m"]
        assert (await house.client.get("/v1/models/secret", headers=bearer(ONE))).status_code == 403
        assert len(fake.inference) == 1


async def test_a_key_calls_its_routes_alone(house: House) -> None:
    letting_in(house, one=user(routes=frozenset({"/v1/embeddings"})))
    refused = await house.chat(headers=bearer(ONE))
    assert (refused.status_code, code_of(refused)) == (403, "route_not_in_scope")
    listed = await house.client.get("/v1/models", headers=bearer(ONE))
    assert listed.status_code == 200  # clients ask for it first


async def test_the_inside_of_an_alias_is_nothing_to_ask_for(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        servers = [server("s1", fake.url, "m")]
        house.plane.install(build_snapshot(servers, (), [Alias("fast", (Target("m"),))]))
        assert (await house.chat("fast")).status_code == 200
        assert (await house.chat("fast\nm")).status_code == 404


async def test_a_ring_without_a_key_shuts_it_out_on_an_open_connection(house: House) -> None:
    letting_in(house, one=user())
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        for _request in range(3):
            assert (await house.chat(headers=bearer(ONE))).status_code == 200
        letting_in(house)
        assert (await house.chat(headers=bearer(ONE))).status_code == 401
        assert len(fake.inference) == 3


# -- limits


@pytest.mark.parametrize("stream", [False, True])
async def test_of_two_hundred_at_once_exactly_sixty_get_through(house: House, stream: bool) -> None:
    letting_in(house, one=limited(requests_per_minute=60), other=limited("other", requests_per_minute=60))
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        headers = [bearer(ONE) if place % 2 else {"x-api-key": ONE, "authorization": ""} for place in range(200)]
        answers = await asyncio.gather(*(house.chat(headers=each, stream=stream) for each in headers))
        served = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert (len(served), len(refused)) == (60, 140)
        assert len(fake.inference) == 60
        assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {"60"}
        assert sorted(int(answer.headers["x-ratelimit-remaining-requests"]) for answer in served) == list(range(60))
        assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)
        assert "60" in refused[0].json()["error"]["message"]
        assert (await house.chat(headers=bearer(OTHER))).status_code == 200
        assert (await house.client.get("/v1/models", headers=bearer(ONE))).status_code == 200


async def test_tokens_count_as_the_server_says(house: House) -> None:
    letting_in(house, one=limited(tokens_per_day=1000))
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        answer = await house.chat(headers=bearer(ONE), max_tokens=3)
        assert answer.json()["usage"]["total_tokens"] == 10
        principal = house.plane.reception.key_ring.principals[digest(ONE)]
        plane = house.plane
        (left,) = plane.admission.gate.left(principal.rules, plane.clock(), plane.wall_clock())
        assert (left.used, left.remaining) == (10, 990)


async def test_a_stream_that_its_client_leaves_is_counted_and_gives_its_place_back(house: House) -> None:
    letting_in(house, one=limited(concurrency=1, tokens_per_day=1000))
    async with serving(FakeModelServer(gate=asyncio.Event())) as (fake,):
        house.install(server("s1", fake.url))
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        async with house.client.stream("POST", "/v1/chat/completions", json=body, headers=bearer(ONE)) as answer:
            assert answer.status_code == 200
            pieces = answer.aiter_bytes()
            await anext(pieces)
            second = await house.chat(headers=bearer(ONE))
            assert second.status_code == 429
            assert int(second.headers["retry-after"]) >= 1
            await pieces.aclose()
        outcomes = [await house.told.outcome(count) for count in (1, 2)]
        left_early = next(outcome for outcome in outcomes if outcome.status == 499)
        assert left_early.usage.estimated
        fake.gate = None
        assert (await house.chat(headers=bearer(ONE))).status_code == 200


async def test_limits_of_a_model_hold_for_all_and_for_aliases_of_it(house: House) -> None:
    letting_in(house, one=user(), other=user("other"))
    house.plane.admission.gate.model_rules = {"m": LimitRule("model:m", Limits(requests_per_minute=2), "model m", "m")}
    async with serving(FakeModelServer()) as (fake,):
        servers = [server("s1", fake.url, "m", "n")]
        house.plane.install(build_snapshot(servers, (), [Alias("fast", (Target("m"),))]))
        assert (await house.chat("fast", headers=bearer(ONE))).status_code == 200
        assert (await house.chat("m", headers=bearer(OTHER))).status_code == 200
        for name in ("m", "fast"):
            assert (await house.chat(name, headers=bearer(ONE))).status_code == 429
        assert (await house.chat("n", headers=bearer(ONE))).status_code == 200


async def test_a_front_ends_limits_are_those_of_each_person(house: House) -> None:
    front = user("one", names_people=True, person_limits=Limits(requests_per_minute=1))
    letting_in(house, one=front)
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        for person in ("ann", "bob"):
            assert (await house.chat(headers=bearer(ONE, **{"x-user-id": person}))).status_code == 200
        again = await house.chat(headers=bearer(ONE, **{"x-user-id": "ANN"}))
        assert again.status_code == 429
        assert "this user" in again.json()["error"]["message"].lower()
        assert (await house.chat(headers=bearer(ONE))).status_code == 200
        assert not any("x-user-id" in seen.headers for seen in fake.inference)
        persons = [outcome.person for outcome in house.told.outcomes]
        assert persons == ["one/ann", "one/bob", "one/ann", "key:one"]


async def test_who_may_not_name_people_names_nobody(house: House) -> None:
    letting_in(house, one=limited(requests_per_minute=1))
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        assert (await house.chat(headers=bearer(ONE, **{"x-user-id": "ann"}))).status_code == 200
        assert (await house.chat(headers=bearer(ONE, **{"x-user-id": "bob"}))).status_code == 429


# -- trust


@pytest.mark.parametrize("offer", [{"tools": TOOLS}, {"functions": [{"name": "look"}]}])
async def test_tools_go_to_trusted_servers_only(house: House, offer: dict[str, Any]) -> None:
    letting_in(house, one=user(), other=user("other", tools_anywhere=True))
    async with serving(FakeModelServer(), FakeModelServer()) as (mine, theirs):
        lent = server("lent", theirs.url, trust=Trust.PUBLIC, owner="somebody")
        house.install(lent)
        refused = await house.chat(headers=bearer(ONE), **offer)
        assert (refused.status_code, code_of(refused)) == (403, "tools_need_trusted_server")
        assert "multiverse servers trust" in refused.json()["error"]["message"]
        assert (await house.chat(headers=bearer(OTHER), **offer)).status_code == 200
        assert (await house.chat(headers=bearer(ONE))).status_code == 200
        assert (await house.chat(headers=bearer(ONE), tools=[])).status_code == 200
        house.install(lent, server("own", mine.url))
        for _request in range(16):
            assert (await house.chat(headers=bearer(ONE), **offer)).headers["x-gateway-server-id"] == "own"
        assert len(theirs.inference) == 3


async def test_a_request_says_how_far_it_goes(house: House) -> None:
    letting_in(house, one=user(), other=user("other", reach=Trust.TRUSTED))
    async with serving(FakeModelServer()) as (theirs,):
        house.install(server("lent", theirs.url, trust=Trust.PUBLIC, owner="somebody"))
        refused = await house.chat(headers=bearer(ONE, **{"x-gateway-trust": "trusted"}))
        assert (refused.status_code, code_of(refused)) == (403, "no_trusted_server")
        assert (await house.chat(headers=bearer(ONE, **{"x-gateway-trust": "public"}))).status_code == 200
        assert (await house.chat(headers=bearer(OTHER, **{"x-gateway-trust": "public"}))).status_code == 403
        assert (await house.chat(headers=bearer(ONE, **{"x-gateway-trust": "anybody"}))).status_code == 400


async def test_a_server_that_is_lent_to_a_group_is_not_there_for_others(house: House) -> None:
    letting_in(house, one=user(group="lab"), other=user("other"))
    async with serving(FakeModelServer()) as (theirs,):
        entry = ModelEntry("m", "m")
        house.install(server("lent", theirs.url, entry, trust=Trust.GROUP, owner="o", group="lab", share="group"))
        assert (await house.chat(headers=bearer(ONE), tools=TOOLS)).status_code == 403
        assert (await house.chat(headers=bearer(ONE))).status_code == 200
        unknown = await house.chat(headers=bearer(OTHER))
        assert (unknown.status_code, code_of(unknown)) == (404, "model_not_found")
        assert (await house.client.get("/v1/models", headers=bearer(OTHER))).json()["data"] == []


async def test_a_retry_stays_within_reach(house: House) -> None:
    letting_in(house, one=user())

    async def fail(_server: FakeModelServer, _seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n")

    own = FakeModelServer(behaviours={"*": fail})
    async with serving(own, FakeModelServer()) as (broken, theirs):
        house.install(server("own", broken.url), server("lent", theirs.url, trust=Trust.PUBLIC, owner="o"))
        answer = await house.chat(headers=bearer(ONE), tools=TOOLS)
        assert answer.status_code == 502
        assert theirs.inference == []
