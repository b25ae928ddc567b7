"""Is a caller who is known served as with its key: its scope, its limits, its use, and nothing of its browser?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from app.services.core.people.principal import LimitRule, Limits, Principal, Role
from app.services.dataplane.asgi import AsgiDoor
from tests.fakes.house import House, open_house, server
from tests.fakes.model_server import FakeModelServer, serving

PATH = "/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BROWSER = {
    "cookie": "multiverse_session=secret-cookie",
    "x-csrf-token": "secret-token",
    "authorization": "Bearer nobody's-key-0123456789",
    "x-api-key": "another-key-0123456789",
    "origin": "http://gateway.test",
    "referer": "http://gateway.test/ui/playground",
    "user-agent": "Browser/1.0",
    "sec-fetch-site": "same-origin",
    "accept-language": "tlh-Latn",
}
ONE = Principal("one", "one", Role.USER)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house("asgi") as opened:
        yield opened


async def ask(house: House, principal: Principal, **fields: Any) -> httpx2.Response:
    """Ask as a page does: from a path of its own, with what a browser sends along."""
    door = AsgiDoor(house.plane)

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await door.serve_as(principal, PATH, scope, receive, send)

    transport = httpx2.ASGITransport(page)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        return await client.post("/ui/playground/chat?next=elsewhere", json={**BODY, **fields}, headers=BROWSER)


def code_of(answer: httpx2.Response) -> str:
    return str(answer.json()["error"]["code"])


async def test_the_caller_is_served_without_a_key_and_its_use_counts(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        answer = await ask(house, ONE)
    assert answer.status_code == 200
    assert answer.headers["x-gateway-server-id"] == "s1"
    outcome = await house.told.outcome()
    assert (outcome.key_id, outcome.path, outcome.model) == ("one", PATH, "m")
    assert outcome.usage.completion_tokens > 0


async def test_nothing_of_the_browser_reaches_a_model_server(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        await ask(house, ONE)
        (seen,) = fake.inference
    assert seen.path == PATH
    assert not set(seen.headers) & (set(BROWSER) - {"user-agent"})
    told = "\n".join(seen.headers.values())
    assert not [value for value in BROWSER.values() if value in told]


async def test_its_scope_is_that_of_its_key(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url, "m", "other"))
        wrong_model = await ask(house, Principal("one", "one", Role.USER, models=frozenset({"other"})))
        wrong_route = await ask(house, Principal("one", "one", Role.USER, routes=frozenset({"/v1/embeddings"})))
        assert not fake.inference
    assert (wrong_model.status_code, code_of(wrong_model)) == (403, "model_not_in_scope")
    assert (wrong_route.status_code, code_of(wrong_route)) == (403, "route_not_in_scope")


async def test_its_limits_are_those_of_its_key(house: House) -> None:
    rule = LimitRule("key:one", Limits(requests_per_minute=1), "your key")
    limited = Principal("one", "one", Role.USER, rules=(rule,))
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        first, second = await ask(house, limited), await ask(house, limited)
    assert (first.status_code, second.status_code) == (200, 429)
    assert second.headers["retry-after"]


async def test_a_body_that_is_none_is_refused_as_ever(house: House) -> None:
    answer = await ask(house, ONE, model=7)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_a_streamed_answer_comes_as_events(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        answer = await ask(house, ONE, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.rstrip().endswith("data: [DONE]")
