"""Demands: how long requests are, whatever they bear and however they are written."""

from __future__ import annotations

import base64
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.prompt.contexts import Room, room
from app.services.core.prompt.demand import Demand, Home
from app.services.core.prompt.demand_reading import MEDIUM_TOKENS, MOST_MEDIA, needs_demand, read_demand, teach
from app.services.core.prompt.token_rates import DEFAULT_RATE, TokenRates

PROSE = "The harbour lies still, and the boats come home before the wind turns. "
HOME = Home("one", 512, "prefix")


def chat(content: object, *, plain: bool = True, **members: object) -> bytes:
    body = {"model": "llama", "messages": [{"role": "user", "content": content}], **members}
    return json.dumps(body, ensure_ascii=not plain).encode()


def read(body: bytes, rates: TokenRates | None = None, member: str = "messages") -> Demand:
    return read_demand(body, rates or TokenRates(), "llama", member=member)


def near(count: int, share: float = 0.03) -> object:
    return pytest.approx(count, rel=share, abs=30)


def picture(size: int) -> dict[str, object]:
    encoded = base64.b64encode(random.Random(7).randbytes(size)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}


def test_a_prompt_has_a_token_in_four_bytes_and_surely_one_in_eight() -> None:
    demand = read(chat(PROSE * 500, max_tokens=300))
    assert demand.prompt_tokens == near(len(PROSE) * 500 // 4)
    assert demand.least_tokens == near(len(PROSE) * 500 // 8)
    assert demand.answer_tokens == 300
    assert demand.homes == ()


def test_what_was_learnt_of_the_model_counts() -> None:
    rates = TokenRates()
    for _ in range(40):
        rates.note("llama", 30_000, 10_000)
    assert read(chat(PROSE * 500), rates).prompt_tokens == near(len(PROSE) * 500 // 3)


def test_homes_are_handed_on() -> None:
    assert read_demand(chat("short"), TokenRates(), "llama", (HOME,)).homes == (HOME,)


@pytest.mark.parametrize("cut", [4000, -1, "4000"])
def test_a_prompt_that_is_to_be_cut_asks_for_nothing(cut: object) -> None:
    body = json.loads(chat(PROSE * 1000))
    asked = read_demand(json.dumps({**body, "truncate_prompt_tokens": cut}).encode(), TokenRates(), "llama", (HOME,))
    assert (asked.least_tokens, asked.prompt_tokens, asked.low_tokens, asked.homes) == (0, 0, 0, (HOME,))
    plain = json.dumps({**body, "truncate_prompt_tokens": None}).encode()
    assert read_demand(plain, TokenRates(), "llama").prompt_tokens > 4000


def test_the_low_figure_lies_between_the_sure_and_the_likely_one() -> None:
    rates = TokenRates()
    for _ in range(40):
        rates.note("llama", 12_000, 6000)
    asked = read_demand(chat(PROSE * 100), rates, "llama")
    assert asked.least_tokens < asked.low_tokens < asked.prompt_tokens


@pytest.mark.parametrize("text", ["Гавань тиха, и лодки возвращаются домой. ", "港は静かで、船は風が変わる前に帰る。"])
def test_escaped_characters_are_measured_about_as_if_they_were_not(text: str) -> None:
    plain, escaped = read(chat(text * 800)), read(chat(text * 800, plain=False))
    assert escaped.prompt_tokens == near(plain.prompt_tokens, 0.05)


def test_pictures_are_no_text() -> None:
    demand = read(chat([{"type": "text", "text": PROSE * 100}, picture(200_000), picture(300_000)]))
    assert demand.prompt_tokens == near(len(PROSE) * 100 // 4 + 2 * MEDIUM_TOKENS, 0.06)
    assert demand.least_tokens < len(PROSE) * 100 // 7


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (",\n", " :\n ")])
def test_sound_is_no_text(separators: tuple[str, str]) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "UklG" * 50_000, "format": "wav"}}
    body = json.dumps({"model": "llama", "messages": [{"role": "user", "content": [sound]}]}, separators=separators)
    if '"data":' in body:
        assert read(body.encode()).prompt_tokens == near(MEDIUM_TOKENS, 0.1)


def test_a_picture_in_the_source_of_a_page_is_text() -> None:
    page = f'<img src="data:image/png;base64,{"iVBO" * 10_000}">'
    assert read(chat(page)).prompt_tokens == near(10_000)


def test_words_about_pictures_are_text() -> None:
    assert read(chat("Write ;base64, behind the type. " * 1000)).prompt_tokens == near(8000)
    assert read(chat([{"type": "text", "text": "x" * 4000, "data": "y" * 4000}])).prompt_tokens == near(2000)


def test_more_media_than_anybody_sends_are_cut_off_and_nothing_behind_them_is_counted() -> None:
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}] * (MOST_MEDIA + 500)
    demand = read(chat([*parts, {"type": "text", "text": PROSE * 5000}]))
    assert demand.prompt_tokens < MOST_MEDIA * (MEDIUM_TOKENS + 30)


def test_spaces_are_no_sure_tokens() -> None:
    assert read(chat(" " * 80_000)).least_tokens < 300


def test_tools_are_part_of_the_prompt() -> None:
    tools = [{"type": "function", "function": {"name": f"tool_{place}", "description": PROSE}} for place in range(100)]
    assert read(chat("hi", tools=tools)).prompt_tokens > len(PROSE) * 100 // 4


@pytest.mark.parametrize("name", ["prompt", "input"])
def test_of_several_prompts_the_longest_counts(name: str) -> None:
    body = json.dumps({"model": "llama", name: ["short", PROSE * 100, "short, too"]}).encode()
    assert read(body, member=name).prompt_tokens == near(len(PROSE) * 100 // 4)
    assert read(body, member=name).member == name
    alone = json.dumps({"model": "llama", name: PROSE * 100}).encode()
    assert read(alone, member=name).prompt_tokens == near(len(PROSE) * 100 // 4)


def test_token_ids_are_counted() -> None:
    ids = list(range(5000))
    for prompt in (ids, [[1, 2], ids, []]):
        demand = read(json.dumps({"model": "llama", "prompt": prompt}).encode(), member="prompt")
        assert (demand.least_tokens, demand.prompt_tokens) == (5000, 5000)


@pytest.mark.parametrize(
    ("members", "answer"),
    [
        ({}, 0),
        ({"max_tokens": None}, 0),
        ({"max_tokens": "many"}, 0),
        ({"max_tokens": -1}, 0),
        ({"max_tokens": [1]}, 0),
        ({"max_tokens": 50}, 50),
        ({"max_completion_tokens": 70}, 70),
        ({"max_completion_tokens": 70, "max_tokens": 900}, 900),
    ],
)
def test_the_answer_has_the_length_that_is_asked_for(members: dict[str, object], answer: int) -> None:
    assert read(chat("hi", **members)).answer_tokens == answer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]".ljust(2000),
        b"null".ljust(2000),
        b'{"messages":7}',
        b'{"messages":null,"prompt":[]}'.ljust(2000),
        b'{"prompt":[',
        b'{"prompt":[null]}'.ljust(2000),
        b'{"prompt":{"a":1}}'.ljust(2000),
        b'{"messages":"' + b"\xff" * 9 + b'"}',
        b'{"messages":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"messages":[' + b'"input_audio","data"' + b"]}".ljust(2000),
        b'{"messages":["data:;base64,"]}'.ljust(2000),
    ],
)
def test_what_cannot_be_read_asks_for_next_to_nothing(body: bytes) -> None:
    for member in ("messages", "prompt", "input"):
        demand = read_demand(body, TokenRates(), "llama", (HOME,), member)
        assert demand.prompt_tokens <= 2600
        assert (demand.homes, demand.member) == ((HOME,), member)


@given(st.binary(max_size=400))
def test_no_body_raises(body: bytes) -> None:
    read(body)
    read(b'{"messages":["' + body.hex().encode() + b'"],"prompt":' + body + b"}", member="prompt")


@given(st.text(max_size=4000), st.integers(1, 4000), st.integers(0, 4000), st.booleans())
def test_a_request_that_needs_no_demand_would_fit_everywhere(text: str, least: int, answer: int, plain: bool) -> None:
    body, rates = chat(text, plain=plain, max_tokens=answer), TokenRates()
    for _ in range(100):
        rates.note("llama", 20_000, 10_000)
    if not needs_demand(len(body), least, answer):
        assert room(least, read(body, rates)) is Room.SURE


def test_nothing_is_needed_where_no_context_is_known() -> None:
    assert not needs_demand(10**9, None)
    assert not needs_demand(1000, 4096)
    assert needs_demand(8000, 4096)
    assert needs_demand(1000, 4096, 4000)


# -- learning


def test_counts_of_chats_are_learnt_from() -> None:
    rates, body = TokenRates(), chat(PROSE * 100)
    for _ in range(40):
        teach(rates, "llama", body, len(body) // 3, None, cuts=False)
    assert rates.rate("llama") == pytest.approx(3.0, rel=0.05)


def test_escapes_do_not_change_what_is_learnt() -> None:
    body, plain, escaped = "ё" * 4000, TokenRates(), TokenRates()
    for _ in range(40):
        teach(plain, "llama", chat(body), 2600, None, cuts=False)
        teach(escaped, "llama", chat(body, plain=False), 2600, None, cuts=False)
    assert escaped.rate("llama") == pytest.approx(plain.rate("llama"), rel=0.1)


@pytest.mark.parametrize(
    "body",
    [
        chat("short"),
        chat([picture(3000), {"type": "text", "text": PROSE * 100}]),
        json.dumps({"model": "llama", "prompt": list(range(3000))}).encode(),
        chat(PROSE * 5000),
    ],
)
def test_nothing_is_learnt_from_short_or_huge_prompts_pictures_and_ids(body: bytes) -> None:
    rates = TokenRates()
    teach(rates, "llama", body, 3000, None, cuts=False)
    assert rates.rate("llama") == DEFAULT_RATE


def test_nothing_is_learnt_from_a_prompt_that_was_to_be_cut() -> None:
    rates = TokenRates()
    body = json.dumps({**json.loads(chat(PROSE * 100)), "truncate_prompt_tokens": 500}).encode()
    teach(rates, "llama", body, 500, 8192, cuts=False)
    assert len(rates) == 0


@pytest.mark.parametrize("context", [None, 4096])
def test_nothing_is_learnt_from_a_prompt_that_may_have_been_cut(context: int | None) -> None:
    rates, body = TokenRates(), chat("x" * 16_000)
    teach(rates, "llama", body, 2050, context, cuts=True)
    assert len(rates) == 0
    teach(rates, "llama", body, 4000, 16_384, cuts=True)
    assert len(rates) == 1
