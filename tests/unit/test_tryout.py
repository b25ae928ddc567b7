"""Is it found in seconds how a server that is not registered goes on with broken answers?"""

from __future__ import annotations

import asyncio

import pytest

from app.services.core.continuation.ability import Rung
from app.services.core.continuation.asking import Failed
from app.services.core.errors import EndpointRefused
from app.services.core.network.addresses import parse_endpoint
from app.services.core.types import Endpoint, ModelEntry
from app.services.dataplane.fetch import AnswerBroken, FetchedAnswer
from app.services.dataplane.link import ConnectFailed, ConnectFailure
from app.services.tryout import Tryout
from tests.fakes.speaker import Speaker

ENDPOINT = parse_endpoint("http://box.example:8000")
MODEL = ModelEntry("public", "theirs")
KEY = "sk-canary-of-the-server"


class Wire:
    """Sends to a speaker, or fails as a wire does."""

    def __init__(self, speaker: Speaker, failure: Exception | None = None) -> None:
        self.speaker = speaker
        self.failure = failure
        self.keys: set[str | None] = set()

    async def post(
        self,
        endpoint: Endpoint,
        path: str,
        body: bytes,
        *,
        api_key: str | None,
        timeout_seconds: float,
        limit_bytes: int = 0,
    ) -> FetchedAnswer:
        assert endpoint == ENDPOINT
        assert timeout_seconds > 0
        assert limit_bytes > 0
        self.keys.add(api_key)
        if self.failure is not None:
            raise self.failure
        reply = self.speaker.respond(path, body)
        assert not isinstance(reply, Failed)
        return FetchedAnswer(reply[0], {}, reply[1], 1.0)


class Silent(Wire):
    """Never answers."""

    async def post(self, *_arguments, **_options) -> FetchedAnswer:
        await asyncio.Event().wait()
        raise AssertionError


async def found(wire: Wire, engine: str = "vllm", patience_seconds: float = 5.0):
    return await Tryout(wire, patience_seconds).try_out(ENDPOINT, KEY, MODEL, engine)


async def test_what_a_server_can_is_found_by_the_name_that_it_has_for_the_model():
    wire = Wire(Speaker())
    assert (await found(wire)).chat is Rung.FLAGS
    assert wire.keys == {KEY}
    assert {body["model"] for _path, body in wire.speaker.asked} == {"theirs"}


async def test_what_a_server_cannot_is_found_with_its_reason():
    ability = await found(Wire(Speaker(flags="begins anew", trailing="begins anew")))
    assert ability.chat is Rung.NONE
    assert "begins anew" in ability.reason


async def test_an_engine_that_would_load_a_model_for_it_is_left_alone():
    wire = Wire(Speaker())
    ability = await found(wire, "ollama")
    assert ability.chat is Rung.UNJUDGED
    assert "loads models" in ability.reason
    assert wire.speaker.asked == []


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (EndpointRefused("10.0.0.5 is a private address."), "10.0.0.5 is a private address"),
        (ConnectFailed("connection refused", ConnectFailure.REFUSED), "connection refused"),
        (AnswerBroken("the answer is larger than 1 MiB"), "larger than 1 MiB"),
    ],
)
async def test_what_fails_on_the_way_decides_nothing(failure, words):
    ability = await found(Wire(Speaker(), failure))
    assert ability.chat is Rung.UNJUDGED
    assert words in ability.reason
    assert "once the server is registered" in ability.reason


async def test_a_person_does_not_wait_for_a_silent_server():
    ability = await found(Silent(Speaker()), patience_seconds=0.01)
    assert ability.chat is Rung.UNJUDGED
    assert "within 0.01 seconds" in ability.reason


async def test_a_servers_key_is_never_told_again():
    refusal = (400, f'{{"error": {{"message": "the key {KEY} is odd"}}}}'.encode())
    ability = await found(Wire(Speaker(faults=[refusal] * 9)))
    assert ability.chat is Rung.NONE
    assert "is odd" in ability.reason
    assert KEY not in ability.reason
