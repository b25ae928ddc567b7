"""JSON that anybody may have written never raises: what has the wrong type is not there."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.engines.identify import ENGINES, identify
from app.services.engines.interface import MAX_MODELS, Evidence
from app.services.engines.reading import (
    MAX_BRACKETS,
    NotJson,
    amount_at,
    count_at,
    decode,
    decode_or_none,
    entries,
    is_model_name,
    objects_at,
    readable,
    share_at,
    text_at,
    texts_at,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["data", "id", "owned_by", "meta", "n_ctx", "error", "message", "max_model_len", "aliases"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values, json_values, st.binary(max_size=40))
def test_any_json_is_taken_by_every_engine(listing: object, info: object, body: bytes) -> None:
    evidence = Evidence({}, listing, body, info)
    assert identify(evidence) in ENGINES
    for engine in ENGINES:
        for model in engine.models(evidence):
            assert is_model_name(model.name)
            assert model.context_length is None or model.context_length > 0
        for status in (200, 503, 999):
            message = engine.error_message(status, body)
            assert 0 < len(message) <= 200
            assert message.isprintable()


@given(json_values)
def test_json_errors_of_any_shape_are_readable(document: object) -> None:
    body = msgspec.json.encode(document)
    for engine in ENGINES:
        assert engine.error_message(500, body).isprintable()


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{", b"[" * 100_000, b"[" * 5000 + b"]" * 5000, b'"\xff"', b"nope", b"\x00"]
)
def test_what_is_no_json_says_so(body: bytes) -> None:
    with pytest.raises(NotJson):
        decode(body)


def test_values_of_other_types_are_not_there() -> None:
    document = {"text": 5, "count": "5", "flag": True, "huge": 10**12, "none": None, "deep": {"count": 7}}
    assert text_at(document, ("text",)) == ""
    assert [count_at(document, (name,)) for name in ("count", "flag", "huge", "none", "absent", "deep")] == [None] * 6
    assert count_at(document, ("deep", "count")) == 7
    assert count_at(document, ("text", "count")) is None
    assert list(entries({"data": [{"id": "a"}, "b", None, ["c"]]})) == [{"id": "a"}]
    assert list(entries({"data": {"id": "a"}})) == list(entries([{"id": "a"}])) == []


def test_amounts_may_be_zero_and_shares_lie_between_none_and_all() -> None:
    values = [0, 7, 1_000_000, 1_000_001, -1, True, 1.0, "7", None, 10**400]
    assert [amount_at({"value": value}, ("value",)) for value in values] == [0, 7, 1_000_000] + [None] * 7
    values = [0, 1, 0.25, 1.5, -0.25, float("nan"), float("inf"), True, "0.5", None]
    assert [share_at({"value": value}, ("value",)) for value in values] == [0.0, 1.0, 0.25] + [None] * 7


def test_lists_of_what_is_wanted() -> None:
    assert texts_at({"words": ["a", 5, None, "b", ["c"], "a"]}, ("words",)) == {"a", "b"}
    assert texts_at({"words": "ab"}, ("words",)) == texts_at(None, ("words",)) == frozenset()
    assert list(objects_at([{"a": 1}, 5, [], {"b": 2}], ())) == [{"a": 1}, {"b": 2}]
    assert list(objects_at({"models": {"a": 1}}, ("models",))) == []
    assert len(list(objects_at([{}] * 5000, ()))) == len(texts_at([str(number) for number in range(5000)], ())) == 1000


def test_what_is_no_json_or_not_there_is_none() -> None:
    assert decode_or_none(b"{") is decode_or_none(None) is decode_or_none(b"null") is None
    assert decode_or_none(b'{"a":[1]}') == {"a": [1]}


def test_a_page_that_is_made_to_keep_us_busy_is_not_read() -> None:
    assert decode_or_none(b"[" + b"[]," * (MAX_BRACKETS - 2) + b"[]]") == [[]] * (MAX_BRACKETS - 1)
    assert decode_or_none(b"[" + b"[]," * (MAX_BRACKETS - 1) + b"[]]") is None
    assert decode_or_none(b"[" + b"{}," * (MAX_BRACKETS - 1) + b"{}]") is None


@pytest.mark.parametrize("name", ["a", "x" * 256, "meta-llama/Llama-3.1-8B", "llama3.1:8b", "模型", "two words"])
def test_model_names(name: str) -> None:
    assert is_model_name(name)


@pytest.mark.parametrize("name", ["", "x" * 257, "a\nb", "a\x00", "a\x7f", "\u202eevil", "a\u2028b", 5, None, ["a"]])
def test_what_is_no_model_name(name: object) -> None:
    assert not is_model_name(name)


def test_lists_are_bounded_and_names_are_taken_once() -> None:
    listing = {"data": [{"id": f"model-{number % 1500}", "owned_by": "vllm"} for number in range(3000)]}
    evidence = Evidence({}, listing)
    models = identify(evidence).models(evidence)
    assert len(models) == MAX_MODELS
    assert len({model.name for model in models}) == MAX_MODELS


@given(st.text(max_size=600))
def test_readable_text_is_one_short_printable_line(text: str) -> None:
    line = readable(text)
    assert line == line.strip()
    assert line.isprintable()
    assert len(line) <= 200
