"""Peeking: what is read of a body, what is refused and with which words, and that no body takes long."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.services.core.errors import RequestInvalid
from app.services.core.http.peek import MAX_CHOICES, MAX_MODEL_NAME_LENGTH, Peek, depth_exceeds, peek

DEPTH = 64
MEGABYTE = 2**20


def body(**members: object) -> bytes:
    return json.dumps({"model": "llama", **members}).encode()


def refusal(text: bytes, max_depth: int = DEPTH) -> RequestInvalid:
    with pytest.raises(RequestInvalid) as caught:
        peek(text, max_depth)
    return caught.value


def outcome(text: bytes) -> Peek | RequestInvalid:
    """What peeking leads to; any other exception fails the test."""
    try:
        return peek(text, DEPTH)
    except RequestInvalid as error:
        return error


# -- what is read


def test_reads_what_routing_needs_and_skips_the_rest() -> None:
    text = body(stream=True, stream_options={"include_usage": True, "other": 1}, n=3, messages=[{"role": "user"}])
    seen = peek(text, DEPTH)
    assert (seen.model, seen.stream, seen.choices, seen.wants_usage) == ("llama", True, 3, True)


def test_leaves_absent_members_unset() -> None:
    assert peek(body(), DEPTH) == Peek(model="llama")


@pytest.mark.parametrize(
    ("member", "attribute"), [("stream", "stream"), ("stream_options", "stream_options"), ("n", "choices")]
)
def test_null_is_as_good_as_absent(member: str, attribute: str) -> None:
    seen = peek(body(**{member: None}), DEPTH)
    assert getattr(seen, attribute) is None
    assert not seen.wants_usage


@pytest.mark.parametrize(
    ("options", "wanted"),
    [({}, False), ({"include_usage": None}, False), ({"include_usage": False}, False), ({"include_usage": True}, True)],
)
def test_usage_is_wanted_only_when_asked_for(options: dict[str, object], wanted: bool) -> None:
    assert peek(body(stream_options=options), DEPTH).wants_usage is wanted


def test_of_a_member_given_twice_the_last_counts_as_with_other_parsers() -> None:
    text = b'{"model":"one","model":"two"}'
    assert peek(text, DEPTH).model == json.loads(text)["model"]


def test_a_key_may_be_spelt_with_escapes() -> None:
    assert peek(rb'{"mod\u0065l":"ll\u0061ma"}', DEPTH).model == "llama"


@pytest.mark.parametrize("name", ["x", "\u0000", "m" * MAX_MODEL_NAME_LENGTH, "\U0001f999" * MAX_MODEL_NAME_LENGTH])
def test_a_model_name_is_measured_in_characters(name: str) -> None:
    assert peek(body(model=name), DEPTH).model == name


@pytest.mark.parametrize("count", [1, MAX_CHOICES])
def test_takes_as_many_choices_as_are_allowed(count: int) -> None:
    assert peek(body(n=count), DEPTH).choices == count


# -- what is refused


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        (b"", "empty_body", None),
        (b"{}", "missing_model", "model"),
        (b'{"stream":true}', "missing_model", "model"),
        (b"[]", "wrong_type", None),
        (b"null", "wrong_type", None),
        (b"1", "wrong_type", None),
        (b'"model"', "wrong_type", None),
        (b'[{"model":"x"}]', "wrong_type", None),
        (b'{"model":null}', "wrong_type", "model"),
        (b'{"model":5}', "wrong_type", "model"),
        (b'{"model":["x"]}', "wrong_type", "model"),
        (b'{"model":{"name":"x"}}', "wrong_type", "model"),
        (b'{"model":"x","stream":1}', "wrong_type", "stream"),
        (b'{"model":"x","stream":"true"}', "wrong_type", "stream"),
        (b'{"model":"x","stream":[]}', "wrong_type", "stream"),
        (b'{"model":"x","stream_options":true}', "wrong_type", "stream_options"),
        (b'{"model":"x","stream_options":[]}', "wrong_type", "stream_options"),
        (b'{"model":"x","stream_options":{"include_usage":1}}', "wrong_type", "stream_options"),
        (b'{"model":"x","n":"2"}', "wrong_type", "n"),
        (b'{"model":"x","n":2.0}', "wrong_type", "n"),
        (b'{"model":"x","n":1.5}', "wrong_type", "n"),
        (b'{"model":"x","n":1e400}', "wrong_type", "n"),
        (b'{"model":"x","n":true}', "wrong_type", "n"),
        (b'{"model":"x","n":[1]}', "wrong_type", "n"),
        (b'{"model":"x","n":%s}' % (b"9" * 5000), "wrong_type", "n"),
        (b'{"model":"x","n":%s}' % (b"9" * 30), "invalid_request", "n"),
        (b'{"model":"x","n":0}', "invalid_request", "n"),
        (b'{"model":"x","n":-1}', "invalid_request", "n"),
        (b'{"model":"x","n":129}', "invalid_request", "n"),
        (b'{"model":""}', "invalid_request", "model"),
        (b'{"model":"%s"}' % (b"x" * (MAX_MODEL_NAME_LENGTH + 1)), "invalid_request", "model"),
    ],
)
def test_says_which_member_is_wrong(text: bytes, code: str, param: str | None) -> None:
    error = refusal(text)
    assert (error.status, error.code, error.param) == (400, code, param)
    assert error.message.endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        b" \n",
        b"model=llama",
        b"{'model':'x'}",
        b'{"model":"x"',
        b'{"model":"x"} x',
        b'{"model":"x"}{"model":"y"}',
        b'{"model":"x",}',
        b'{"model":"x","stop":"a\\qb"}',
        b'{"model":"x","stop":NaN}',
        b"\xef\xbb\xbf" + body(),
        body().decode().encode("utf-16"),
        b'{"model":"a\x00b"}',
        b'{"model":"x","stop":"a\x00b"}',
        b'{"model":"\xff"}',
        b'{"model":"x","stop":"\xff"}',
        b'{"model":"x","\xc3\x28":1}',
        b'{"model":"x","stop":"\xed\xa0\x80"}',
        rb'{"model":"\ud800 and more"}',
        rb'{"model":"x","stop":"\ud83d and more"}',
    ],
)
def test_refuses_what_is_no_json_in_utf_8(text: bytes) -> None:
    assert refusal(text).code == "invalid_json"


def test_words_of_a_refusal_name_member_and_expectation() -> None:
    assert refusal(b'{"model":5}').message == "'model' has the wrong type: expected str, got int."
    assert refusal(b"[]").message == "The body has the wrong type: expected object, got array."
    assert "GET /v1/models" in refusal(b"{}").message


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(text: bytes) -> None:
    seen = outcome(text)
    assert isinstance(seen, RequestInvalid) or seen.model == json.loads(text)["model"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
MEMBERS = st.dictionaries(st.sampled_from(["model", "stream", "stream_options", "n", "messages", "Model"]), VALUES)


@given(MEMBERS, st.booleans())
def test_any_object_is_read_or_refused(members: dict[str, object], ascii_only: bool) -> None:
    text = json.dumps(members, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    seen = outcome(text)
    if isinstance(seen, RequestInvalid):
        assert seen.message
        return
    assert seen.model == members["model"]
    assert seen.choices == members.get("n")
    assert seen.stream == members.get("stream")


@given(st.data())
def test_a_damaged_body_raises_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(body(stream=True, n=2, stop=['a\\"b', "\u20ac"], stream_options={"include_usage": True}))
    for _damage in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(whole) - 1))
        whole[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    seen = outcome(bytes(whole))
    assert isinstance(seen, Peek) or seen.status == 400


def test_a_truncated_body_is_refused_wherever_it_is_cut() -> None:
    whole = body(stream=True, n=2, stop=['a\\"b', "\u20ac"], stream_options={"include_usage": True})
    assert peek(whole, DEPTH).choices == 2
    codes = {refusal(whole[:length]).code for length in range(len(whole))}
    assert codes == {"empty_body", "invalid_json"}


# -- depth


def nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    """A body of which every level below the outermost object is opened by ``opening``."""
    return b'{"model":"x","deep":' + opening * (depth - 1) + b"1" + closing * (depth - 1) + b"}"


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"key":', b"}")])
@pytest.mark.parametrize("depth", [DEPTH + 1, 999, 1001, 100_000])
def test_refuses_a_body_that_is_too_deep(depth: int, opening: bytes, closing: bytes) -> None:
    error = refusal(nested(depth, opening, closing))
    assert error.code == "too_deep"
    assert str(DEPTH) in error.message


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"key":', b"}")])
@pytest.mark.parametrize("depth", [2, DEPTH - 1, DEPTH])
def test_takes_a_body_as_deep_as_allowed(depth: int, opening: bytes, closing: bytes) -> None:
    assert peek(nested(depth, opening, closing), DEPTH).model == "x"


def test_objects_in_arrays_count_twice() -> None:
    text = b'{"model":"x","deep":' + b'[{"key":' * 32 + b"1" + b"}]" * 32 + b"}"
    assert depth_exceeds(text, DEPTH)
    assert not depth_exceeds(text, DEPTH + 1)


@pytest.mark.parametrize(
    "string",
    [
        rb'"' + b"[" * 1000 + rb'"',
        rb'"\"' + b"{[" * 1000 + rb'"',
        rb'"\\\"' + b"{[" * 1000 + rb'\\"',
        rb'"' + rb"\\\"[" * 1000 + rb'"',
        rb'["[", "]", "\\", "[", "\\\\", "{", "\"", "["' + b',"[{"' * 1000 + b"]",
    ],
)
def test_brackets_in_strings_do_not_count(string: bytes) -> None:
    assert peek(b'{"model":"x","text":' + string + b"}", 4).model == "x"


TRICKY = st.text(alphabet='[]{}"\\\n:,aé', max_size=8)
TREES = st.recursive(
    TRICKY | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4),
    max_leaves=40,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(TREES, st.integers(0, 8), st.sampled_from([None, 1]), st.booleans())
@example([[], [[]], {"[": {"\\": "]"}}], 2, None, True)
def test_depth_is_what_a_parser_finds(tree: object, limit: int, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(tree, indent=indent, ensure_ascii=ascii_only).encode()
    assert depth_exceeds(text, limit) is (depth_of(tree) > limit)


def test_depth_is_found_across_slices() -> None:
    strings = b'["[[",[]],' * 50_000
    assert not depth_exceeds(b"[" + strings + b"0]", 3)
    assert depth_exceeds(b"[" + strings + b"[[[0]]]]", 3)


# -- time


@pytest.mark.parametrize(
    "filling",
    [
        pytest.param(b"[" * 60 + b"]" * 60 + b",", id="deep arrays side by side"),
        pytest.param(b'[{"":' * 30 + b"1" + b"}]" * 30 + b",", id="deep mixture side by side"),
        pytest.param(b"[],", id="flat arrays"),
        pytest.param(b'"", ', id="empty strings"),
        pytest.param(b'[],"[[",', id="brackets in strings"),
        pytest.param(rb'"\"[",', id="escaped quotes"),
        pytest.param(b"1,", id="numbers"),
    ],
)
def test_a_body_made_to_be_slow_is_not(filling: bytes) -> None:
    text = b'{"model":"x","many":[' + filling * (8 * MEGABYTE // len(filling)) + b"[]" + b",[]" * DEPTH + b"]}"
    started = time.process_time()
    assert peek(text, DEPTH).model == "x"
    assert time.process_time() - started < 1.0  # measured: below 0.15 s
