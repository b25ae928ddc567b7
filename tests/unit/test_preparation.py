"""What a server is asked before it goes on, and what it is sent then."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.services.core.choice.snapshot import Candidate
from app.services.core.continuation.ability import Ability, Rung
from app.services.core.continuation.delivered import Delivered, Identity
from app.services.core.continuation.judgement import Complete
from app.services.core.continuation.reading import read_asked
from app.services.core.continuation.request import NotContinuable
from app.services.core.types import Endpoint, ModelEntry, Server
from app.services.dataplane.fetch import AnswerBroken, FetchedAnswer
from app.services.dataplane.onward import Leg, Order
from app.services.preparation import Preparation

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "Say hello."}]
DELIVERED = Delivered(Identity(b'"c1"'), role=True, content="Hello there", text_events=2)


class Poster:
    """Answers small questions by their path; those it has no answer to are not answered in time."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {f"/{name.replace('_', '-')}": answer for name, answer in answers.items()}
        self.asked: list[tuple[str, Any]] = []

    async def post(self, endpoint: Endpoint, path: str, body: bytes, **_bounds: Any) -> FetchedAnswer:
        assert endpoint.host == "127.0.0.1"
        self.asked.append((path, json.loads(body)))
        if path not in self.answers:
            raise AnswerBroken("no answer within 0.5 s")
        status, answer = self.answers[path]
        return FetchedAnswer(status, {}, json.dumps(answer).encode(), 1.0)


def candidate(engine: str, **ability: Any) -> Candidate:
    model = ModelEntry("m", "upstream")
    found = {"upstream": Ability(**ability)}
    server = Server("s1", Endpoint("http", "127.0.0.1", 9), (model,), engine=engine, abilities=found)
    return Candidate(server, model)


async def prepare(
    poster: Poster, chosen: Candidate, path: str = CHAT, delivered: Delivered = DELIVERED, **asked: Any
) -> Order | Complete:
    wanted = {"messages": MESSAGES} if path == CHAT else {"prompt": "p:"}
    body = json.dumps({"model": "m", "stream": True, **wanted, **asked}).encode()
    leg = Leg(read_asked(body, path), delivered, anew=False, first_engine="llama.cpp")
    return await Preparation(poster).prepare(body, path, leg, chosen)


async def test_nothing_is_asked_where_no_limit_depends_on_it() -> None:
    poster = Poster()
    order = await prepare(poster, candidate("llama.cpp", chat=Rung.TRAILING))
    assert isinstance(order, Order)
    assert (order.path, order.tokens, order.trims, order.from_completions) == (CHAT, 2, False, False)
    assert json.loads(order.body)["messages"][-1] == {"role": "assistant", "content": "Hello there"}
    assert poster.asked == []


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ((200, {"tokens": [1, 2, 3, 4, 5]}), 15),
        ((200, {"tokens": [1]}), 18),  # an event is one token at least
        ((200, {"nonsense": 1}), 18),
        ((404, {"error": "none"}), 18),
    ],
)
async def test_the_server_counts_in_its_own_tokens(answer: tuple[int, Any], left: int) -> None:
    order = await prepare(Poster(tokenize=answer), candidate("llama.cpp", chat=Rung.TRAILING), max_tokens=20)
    assert isinstance(order, Order)
    assert json.loads(order.body)["max_tokens"] == left


async def test_a_count_that_does_not_come_in_time_is_estimated() -> None:
    poster = Poster()
    order = await prepare(poster, candidate("llama.cpp", chat=Rung.TRAILING), max_tokens=20)
    assert isinstance(order, Order)
    assert json.loads(order.body)["max_tokens"] == 18
    assert [path for path, _question in poster.asked] == ["/tokenize"]


async def test_nothing_is_left_to_say() -> None:
    counted = Poster(tokenize=(200, {"tokens": [1, 2, 3]}))
    assert await prepare(counted, candidate("llama.cpp", chat=Rung.TRAILING), max_tokens=3) == Complete("length")


async def test_a_chat_goes_on_as_raw_text_where_the_engine_renders_it() -> None:
    poster = Poster(apply_template=(200, {"prompt": "<user>Say hello.<assistant>"}))
    order = await prepare(poster, candidate("llama.cpp", chat=Rung.TEXT), temperature=0)
    assert isinstance(order, Order)
    sent = json.loads(order.body)
    assert (order.path, order.from_completions) == (TEXT, True)
    assert (sent["prompt"], sent["temperature"]) == ("<user>Say hello.<assistant>Hello there", 0)
    assert "messages" not in sent


async def test_a_chat_goes_on_as_token_ids() -> None:
    poster = Poster(tokenize=(200, {"tokens": [7, 8], "count": 2, "max_model_len": 100}))
    order = await prepare(poster, candidate("vllm", chat=Rung.TOKENS), max_tokens=20)
    assert isinstance(order, Order)
    assert json.loads(order.body)["prompt"] == [7, 8, 7, 8]


async def test_a_chat_that_is_not_rendered_cannot_go_on_there() -> None:
    with pytest.raises(NotContinuable, match="did not render"):
        await prepare(Poster(), candidate("llama.cpp", chat=Rung.TEXT))


async def test_white_space_in_several_events_is_left_out_and_counted() -> None:
    delivered = Delivered(Identity(), role=True, content="x\n\t", text_events=3, white_events=2, split_white=True)
    poster = Poster(tokenize=(200, {"tokens": [1]}))
    order = await prepare(poster, candidate("llama.cpp", text=Rung.TEXT), TEXT, delivered, max_tokens=20)
    assert isinstance(order, Order)
    assert (order.trims, order.tokens) == (True, 3)
    assert json.loads(order.body) == {"model": "m", "stream": True, "prompt": "p:x", "max_tokens": 19}
    assert poster.asked[0][1]["content"] == "x"
