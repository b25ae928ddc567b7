"""Does a test of a connection find what a registration would, register nothing, and stay no scanner?"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from app.services.core.continuation.ability import Ability, Rung
from app.services.core.errors import Conflict, EndpointRefused, FieldsInvalid, NotAllowed, ServerUnreachable, TooMany
from app.services.core.types import CheckFailure, DiscoveredModel, Endpoint, Inspection, ModelEntry
from app.services.registry.specification import ServerSpec
from app.services.registry.terms import hours_from
from app.services.registry.trial import MOST_A_MINUTE, MOST_AT_ONCE, Failed, Passed, Trials
from tests.fakes.registry import ADMIN, OWNER, STRANGER, USER, World, wait_until

URL = "http://10.0.0.5:8000"
WINDOW = {"days": ["mon"], "from": "08:00", "to": "09:00"}
NOWHERE = hours_from({"timezone": "Mars/Olympus", "windows": [WINDOW]})


class Seconds:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Able:
    """Says that everybody goes on."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, str, str]] = []

    async def try_out(self, endpoint: Endpoint, api_key: str | None, model: ModelEntry, engine: str) -> Ability:
        self.asked.append((endpoint.url, api_key, model.upstream_name, engine))
        return Ability(chat=Rung.FLAGS)


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def able() -> Able:
    return Able()


@pytest.fixture
def trials(world: World, seconds: Seconds, able: Able) -> Trials:
    return Trials(world.registry, world.inspector, world.clock, seconds, able)


async def test_what_a_registration_would_find_is_told_and_nothing_is_registered(world, trials, able):
    world.inspector.listed[URL] = [DiscoveredModel("big", 8192), DiscoveredModel("small")]
    spec = ServerSpec(f"{URL}/v1/", api_key="sk-theirs", models=(ModelEntry("house", "big"),))
    found = await trials.try_out(OWNER, spec)
    assert isinstance(found, Passed)
    assert found.endpoint.url == URL
    assert found.examined.models == (ModelEntry("house", "big", 8192),)
    assert found.examined.engine == "llama.cpp"
    assert found.examined.check.latency_ms == 1.5
    assert [model.name for model in found.listed] == ["big", "small"]
    assert found.ability is not None
    assert found.ability.chat is Rung.FLAGS
    assert able.asked == [(URL, "sk-theirs", "big", "llama.cpp")]
    assert not world.registry.servers
    assert world.installed[-1] == ()


async def test_where_continuing_is_turned_off_nobody_is_asked_to(world, seconds):
    found = await Trials(world.registry, world.inspector, world.clock, seconds).try_out(OWNER, ServerSpec(URL))
    assert isinstance(found, Passed)
    assert found.ability is None


@pytest.mark.parametrize(
    ("failure", "reason", "error", "words"),
    [
        (CheckFailure.UNREACHABLE, "connection refused", ServerUnreachable, "Check that it is running"),
        (CheckFailure.CREDENTIALS, "answered 401: no", ServerUnreachable, "Give the key"),
        (CheckFailure.TLS, "TLS: the certificate has expired", ServerUnreachable, "certificate"),
        (CheckFailure.BAD_ANSWER, "answered with HTML", ServerUnreachable, "OpenAI-compatible"),
        (CheckFailure.REFUSED_ADDRESS, "10.0.0.5 is a private address", EndpointRefused, "private"),
    ],
)
async def test_what_is_wrong_is_told_as_a_registration_tells_it(world, trials, able, failure, reason, error, words):
    world.inspector.failing[URL] = (failure, reason)
    found = await trials.try_out(OWNER, ServerSpec(URL))
    assert isinstance(found, Failed)
    assert type(found.error) is error
    assert words in found.error.message
    assert found.failure is failure
    assert able.asked == []
    with pytest.raises(error, match=words):
        await world.registry.register(OWNER, ServerSpec(URL))


async def test_a_model_that_is_not_there_is_told_with_those_that_are(world, trials):
    world.inspector.listed[URL] = ["big"]
    found = await trials.try_out(OWNER, ServerSpec(URL, models=(ModelEntry("other", "other"),)))
    assert isinstance(found, Failed)
    assert found.failure is CheckFailure.MODEL_MISSING
    assert [model.name for model in found.listed] == ["big"]
    assert found.engine == "llama.cpp"


async def test_models_that_are_partly_there_are_told(world, trials):
    inspection = Inspection(None, "lists models a but not b", (DiscoveredModel("a"),), "vllm", 1.0, frozenset({"b"}))
    world.inspector.failing[URL] = inspection
    found = await trials.try_out(OWNER, ServerSpec(URL))
    assert isinstance(found, Passed)
    assert found.lacking == "lists models a but not b"


@pytest.mark.parametrize(
    ("spec", "error", "param"),
    [
        (ServerSpec("ftp://box"), EndpointRefused, "endpoint_url"),
        (ServerSpec("http://u:p@box"), EndpointRefused, "endpoint_url"),
        (ServerSpec(URL, share="group"), FieldsInvalid, "share"),
        (ServerSpec(URL, priority=1), FieldsInvalid, "priority"),
        (ServerSpec(URL, weight=11), FieldsInvalid, "weight"),
        (ServerSpec(URL, hours=NOWHERE), FieldsInvalid, "hours.timezone"),
    ],
)  # fmt: skip
async def test_what_takes_no_look_is_refused_without_one(world, trials, spec, error, param):
    for refused in (trials.judged, trials.try_out):
        with pytest.raises(error) as caught:
            await refused(OWNER, spec)
        assert caught.value.param == param
    assert world.inspector.looks == []


async def test_users_look_at_nothing(world, trials):
    with pytest.raises(NotAllowed):
        await trials.try_out(USER, ServerSpec(URL))
    assert world.inspector.looks == []


async def test_the_operator_may_rank_a_server(trials):
    assert (await trials.judged(ADMIN, ServerSpec(URL, priority=5, weight=100))).priority == 5


async def test_an_endpoint_that_is_registered_is_named_to_who_steers_it_alone(world, trials):
    record = await world.registry.register(OWNER, ServerSpec(URL))
    looks = len(world.inspector.looks)
    with pytest.raises(Conflict, match=record.id) as caught:
        await trials.judged(OWNER, ServerSpec(f"{URL}/v1"))
    assert caught.value.param == "endpoint_url"
    with pytest.raises(Conflict) as caught:
        await trials.try_out(STRANGER, ServerSpec(URL))
    assert record.id not in caught.value.message
    assert len(world.inspector.looks) == looks


async def test_a_key_looks_so_often_in_a_minute_and_others_are_not_held_up(world, trials, seconds):
    for _look in range(MOST_A_MINUTE):
        await trials.try_out(OWNER, ServerSpec(URL))
        seconds.now += 1
    with pytest.raises(TooMany) as caught:
        await trials.try_out(OWNER, ServerSpec(URL))
    assert caught.value.retry_after_seconds == 60 - MOST_A_MINUTE
    assert isinstance(await trials.try_out(STRANGER, ServerSpec(URL)), Passed)
    seconds.now += 60 - MOST_A_MINUTE
    assert isinstance(await trials.try_out(OWNER, ServerSpec(URL)), Passed)
    seconds.now += 61
    await trials.try_out(STRANGER, ServerSpec(URL))
    assert len(world.inspector.looks) == MOST_A_MINUTE + 3


async def test_one_key_looks_at_one_server_at_a_time(world, trials):
    world.inspector.gate = asyncio.Event()
    first = asyncio.create_task(trials.try_out(OWNER, ServerSpec(URL)))
    await world.inspector.looking.wait()
    with pytest.raises(TooMany, match="under way"):
        await trials.try_out(OWNER, ServerSpec("http://10.0.0.6"))
    world.inspector.gate.set()
    assert isinstance(await first, Passed)
    assert isinstance(await trials.try_out(OWNER, ServerSpec(URL)), Passed)


async def test_a_look_that_is_broken_off_gives_its_place_back(world, trials):
    world.inspector.gate = asyncio.Event()
    first = asyncio.create_task(trials.try_out(OWNER, ServerSpec(URL)))
    await world.inspector.looking.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    world.inspector.gate.set()
    assert isinstance(await trials.try_out(OWNER, ServerSpec(URL)), Passed)


async def test_all_keys_together_look_at_a_few_servers_at_a_time(world, trials):
    world.inspector.gate = asyncio.Event()
    keys = [replace(OWNER, key_id=f"key-{number}") for number in range(MOST_AT_ONCE)]
    under_way = [asyncio.create_task(trials.try_out(key, ServerSpec(URL))) for key in keys]
    await wait_until(lambda: len(world.inspector.looks) == MOST_AT_ONCE)
    with pytest.raises(TooMany, match="As many"):
        await trials.try_out(OWNER, ServerSpec(URL))
    world.inspector.gate.set()
    assert all(isinstance(found, Passed) for found in await asyncio.gather(*under_way))
