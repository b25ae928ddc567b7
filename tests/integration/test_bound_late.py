"""Do terms hold for requests that began before they were needed, and for all that a name can lead to?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.services.core.choice.aliases import Alias, Target
from app.services.core.choice.classes import ModelClass
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.keys import digest
from app.services.core.people.principal import LimitRule, Limits, Principal, Role, Trust
from tests.fakes.house import House, server, until
from tests.fakes.model_server import FakeModelServer, Seen, json_answer, serving, until_gone
from tests.integration.test_admission import ONE, TOOLS, bearer, code_of, letting_in, limited, user


def answering(usage: dict[str, int]) -> Any:
    async def behave(_server: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
        answer = {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
        writer.write(json_answer(answer))

    return behave


async def broken(_server: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n")


async def silent(fake: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
    await until_gone(fake, writer)


def tokens_used(house: House, key: str = ONE) -> int:
    plane = house.plane
    rules = plane.reception.key_ring.principals[digest(key)].rules
    return plane.admission.gate.left(rules, plane.clock(), plane.wall_clock())[0].used


# -- what began when all servers were alike


@pytest.mark.parametrize("private", [{"share": "me"}, {"share": "everyone"}])
async def test_who_waits_does_not_go_to_a_server_that_is_not_for_it(house: House, private: dict[str, str]) -> None:
    letting_in(house, one=user())
    async with serving(FakeModelServer(gate=asyncio.Event()), FakeModelServer()) as (mine, theirs):
        own = server("own", mine.url, max_concurrency=1)
        house.install(own)
        first = asyncio.create_task(house.chat(headers=bearer(ONE), stream=True))
        await until(lambda: mine.inference)
        second = asyncio.create_task(house.chat(headers=bearer(ONE, **{"x-gateway-trust": "trusted"}), tools=TOOLS))
        await until(lambda: house.plane.queued == 1)
        house.install(own, server("lent", theirs.url, owner="somebody", trust=Trust.PUBLIC, **private))
        house.tick(3)
        assert house.plane.queued == 1
        assert mine.gate is not None
        mine.gate.set()
        assert (await first).status_code == 200
        assert (await second).headers["x-gateway-server-id"] == "own"
        assert theirs.inference == []


async def test_who_waits_is_turned_away_when_its_key_is_revoked(house: House) -> None:
    letting_in(house, one=user())
    async with serving(FakeModelServer(gate=asyncio.Event())) as (mine,):
        house.install(server("own", mine.url, max_concurrency=1))
        first = asyncio.create_task(house.chat(stream=True))
        await until(lambda: mine.inference)
        second = asyncio.create_task(house.chat(headers=bearer(ONE)))
        await until(lambda: house.plane.queued == 1)
        letting_in(house)
        ring = house.plane.reception.key_ring
        house.plane.shut_out({principal.key_id for principal in ring.principals.values()})
        assert (await second).status_code == 401
        assert mine.gate is not None
        mine.gate.set()
        assert (await first).status_code == 200


# -- all that a name can lead to


@pytest.mark.parametrize("stream", [False, True])
async def test_a_fallback_takes_over_within_a_request(house: House, stream: bool) -> None:
    alias = Alias("fast", (Target("a"),), (Target("b"),))
    async with serving(FakeModelServer(behaviours={"*": broken}), FakeModelServer()) as (bad, good):
        house.plane.install(build_snapshot([server("s1", bad.url, "a"), server("s2", good.url, "b")], (), [alias]))
        answer = await house.chat("fast", stream=stream)
        assert (answer.status_code, answer.headers["x-gateway-server-id"]) == (200, "s2")
        assert answer.headers["x-gateway-attempts"] == "2"
        outcome = await house.told.outcome()
        assert (outcome.model, outcome.alias) == ("b", "fast")


async def test_a_fallback_takes_over_from_a_server_that_refuses_connections(house: House) -> None:
    alias = Alias("fast", (Target("a"),), (Target("b"),))
    async with serving(FakeModelServer()) as (good,):
        servers = [server("s1", "http://127.0.0.1:9", "a"), server("s2", good.url, "b")]
        house.plane.install(build_snapshot(servers, (), [alias]))
        assert (await house.chat("fast")).headers["x-gateway-server-id"] == "s2"


@pytest.mark.parametrize("name", ["a", "b", "both"])
async def test_limits_of_a_model_hold_for_every_name_of_its_class(house: House, name: str) -> None:
    house.plane.admission.gate.model_rules = {"a": LimitRule("model:a", Limits(requests_per_minute=1), "model a", "a")}
    async with serving(FakeModelServer()) as (fake,):
        both = ModelClass("both", frozenset(("a", "b")))
        house.plane.install(build_snapshot([server("s1", fake.url, "a", "b")], [both]))
        assert (await house.chat("a")).status_code == 200
        assert (await house.chat(name)).status_code == 429


async def test_limits_of_a_model_hold_where_an_alias_leads_to_it_by_and_by(house: House) -> None:
    house.plane.admission.gate.model_rules = {"b": LimitRule("model:b", Limits(requests_per_minute=1), "model b", "b")}
    alias = Alias("fast", (Target("a"),), (Target("b"),))
    async with serving(FakeModelServer(behaviours={"*": broken}), FakeModelServer()) as (bad, good):
        house.plane.install(build_snapshot([server("s1", bad.url, "a"), server("s2", good.url, "b")], (), [alias]))
        assert (await house.chat("fast")).status_code == 200
        assert (await house.chat("fast")).status_code == 502
        assert len(good.inference) == 1


@pytest.mark.parametrize("member", ["Model", "MODEL", "Tools", "tool\u017f", "FUNCTIONS"])
async def test_members_that_some_servers_read_as_others_are_refused_where_they_matter(
    house: House, member: str
) -> None:
    letting_in(house, one=user(models=frozenset({"m"})))
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url, "m", "secret"))
        refused = await house.chat(headers=bearer(ONE), **{member: "secret"})
        assert (refused.status_code, code_of(refused)) == (400, "ambiguous_member")
        assert fake.inference == []
        assert (await house.chat(**{member: "secret"})).status_code == 200  # the operator's key is bound to nothing


async def test_tools_among_the_arguments_of_a_template_are_tools(house: House) -> None:
    letting_in(house, one=user())
    async with serving(FakeModelServer()) as (theirs,):
        house.install(server("lent", theirs.url, owner="somebody", trust=Trust.PUBLIC))
        refused = await house.chat(headers=bearer(ONE), chat_template_kwargs={"tools": TOOLS})
        assert (refused.status_code, code_of(refused)) == (403, "tools_need_trusted_server")
        plain = await house.chat(headers=bearer(ONE), chat_template_kwargs={"enable_thinking": False})
        assert plain.status_code == 200


# -- what is counted


async def test_a_server_that_nobody_vouches_for_is_not_believed_everything(house: House) -> None:
    letting_in(house, one=limited(tokens_per_day=10**12))
    lie = {"prompt_tokens": 9, "completion_tokens": 90_000_000, "total_tokens": 90_000_009}
    async with serving(FakeModelServer(behaviours={"/v1/chat/completions": answering(lie)})) as (theirs,):
        house.install(server("lent", theirs.url, owner="somebody", trust=Trust.PUBLIC))
        assert (await house.chat(headers=bearer(ONE), max_tokens=10)).status_code == 200
        outcome = await house.told.outcome()
        assert (outcome.usage.completion_tokens, outcome.usage.estimated) == (10, True)
        assert tokens_used(house) == 19


async def test_an_operators_own_server_is_believed(house: House) -> None:
    told = {"prompt_tokens": 9, "completion_tokens": 3000, "total_tokens": 3009}
    async with serving(FakeModelServer(behaviours={"/v1/chat/completions": answering(told)})) as (mine,):
        house.install(server("own", mine.url))
        assert (await house.chat(max_tokens=10)).status_code == 200
        assert (await house.told.outcome()).usage.completion_tokens == 3000


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_a_server_read_counts_though_its_client_left(house: House, stream: bool) -> None:
    letting_in(house, one=limited(tokens_per_day=100_000))
    async with serving(FakeModelServer(behaviours={"/v1/chat/completions": silent})) as (fake,):
        house.install(server("s1", fake.url))
        prompt = [{"role": "user", "content": "x" * 4000}]
        leaving = asyncio.create_task(house.chat(headers=bearer(ONE), messages=prompt, stream=stream))
        await until(lambda: fake.inference)
        leaving.cancel()
        outcome = await house.told.outcome()
        assert outcome.status == 499
        assert outcome.usage.estimated
        assert 1000 <= tokens_used(house) <= 1100


async def test_a_request_that_never_reached_a_server_costs_no_tokens(house: House) -> None:
    letting_in(house, one=limited(tokens_per_day=100_000))
    async with serving(FakeModelServer(gate=asyncio.Event())) as (fake,):
        house.install(server("s1", fake.url, max_concurrency=1))
        first = asyncio.create_task(house.chat(stream=True))
        await until(lambda: fake.inference)
        leaving = asyncio.create_task(house.chat(headers=bearer(ONE)))
        await until(lambda: house.plane.queued == 1)
        leaving.cancel()
        await house.told.outcome()
        assert tokens_used(house) == 0
        assert fake.gate is not None
        fake.gate.set()
        assert (await first).status_code == 200


async def test_what_is_available_is_told_of_names_that_one_may_ask_for(house: House) -> None:
    principal = Principal("one", "one", Role.USER, models=frozenset({"gone"}))
    letting_in(house, one=principal)
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url, "secret"))
        missing = await house.chat("gone", headers=bearer(ONE))
        assert missing.status_code == 404
        assert "secret" not in missing.text
