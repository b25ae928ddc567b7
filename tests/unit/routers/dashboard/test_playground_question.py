"""Is a form read as it is meant, and a server's answer as far as it makes sense?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routers.dashboard.forms import Form
from app.routers.dashboard.playground_question import body_of, read_answer, read_question
from app.services.core.errors import FieldsInvalid

HEADERS = {"x-gateway-server-id": "s1", "x-gateway-attempts": "2", "x-gateway-route": "drawn; server=s1"}


def form(**fields: str) -> Form:
    return Form({name: [value] for name, value in {"model": "m", "prompt": "hi", **fields}.items()})


def answer(body: Any, status: int = 200) -> Any:
    told = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_answer("m", status, HEADERS, told, 2.0)


def test_what_was_left_empty_is_left_out() -> None:
    question = read_question(form(temperature="", max_tokens=" ", stop="\n"))
    assert json.loads(body_of(question, "m")) == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_what_was_filled_in_goes_along() -> None:
    fields = {
        "temperature": "0.2",
        "top_p": "1",
        "max_tokens": "40",
        "seed": "-7",
        "stop": "END\r\n two ",
        "system": "s",
    }
    question = read_question(form(second_model="other", **fields))
    body = json.loads(body_of(question, "other"))
    assert question.models == ("m", "other")
    assert body.pop("messages")[0] == {"role": "system", "content": "s"}
    assert body == {
        "model": "other",
        "temperature": 0.2,
        "top_p": 1,
        "max_tokens": 40,
        "seed": -7,
        "stop": ["END", " two "],
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"model": ""}, "model"), ({"prompt": " \n"}, "prompt"), ({"seed": "1.5"}, "seed"), ({"top_p": "nan"}, "top_p")],
)
def test_what_is_wrong_is_named(fields: dict[str, str], param: str) -> None:
    with pytest.raises(FieldsInvalid) as caught:
        read_question(form(**fields))
    assert caught.value.param == param


def test_an_answer_is_read_with_its_figures() -> None:
    message = {"role": "assistant", "content": "four", "reasoning_content": "2 + 2"}
    usage = {"prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 13}
    told = answer({"choices": [{"message": message, "finish_reason": "length"}], "usage": usage})
    assert (told.text, told.reasoning, told.finish_reason, told.error) == ("four", "2 + 2", "length", "")
    assert (told.server_id, told.attempts, told.route) == ("s1", 2, "drawn; server=s1")
    assert (told.prompt_tokens, told.completion_tokens, told.tokens_a_second) == (5, 8, 4.0)


def test_an_error_is_read_in_its_own_words_but_not_without_end() -> None:
    assert answer({"error": {"message": "Slow down."}}, 429).error == "Slow down."
    assert len(answer({"error": {"message": "x" * 100_000}}, 500).error) == 2000
    assert answer(b"<html>", 502).error == "The gateway answered with status 502."


@pytest.mark.parametrize(
    "body", [b"", b"{", {"choices": []}, {"choices": "x"}, [], {"choices": [{"message": {"content": 7}}]}]
)
def test_what_makes_no_sense_is_an_error_with_a_way_out(body: Any) -> None:
    assert "Ask again" in answer(body).error


@given(st.binary(max_size=300), st.integers(100, 599))
def test_whatever_comes_is_read(body: bytes, status: int) -> None:
    told = read_answer("m", status, {"x-gateway-attempts": "\N{SUPERSCRIPT TWO}"}, body, 0.0)
    assert told.attempts is None
    assert told.tokens_a_second is None


PRINTED = st.text(st.characters(exclude_categories=["C"]), min_size=1).filter(str.strip)


@given(prompt=PRINTED, system=PRINTED)
def test_any_text_is_sent_as_it_was_written(prompt: str, system: str) -> None:
    messages = json.loads(body_of(read_question(form(prompt=prompt, system=system)), "m"))["messages"]
    assert [message["content"] for message in messages] == [system.strip(), prompt]
