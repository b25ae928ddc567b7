"""Events taken apart and put together: what is not changed stays as the server wrote it."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.answer.sse import data_of, events_of
from app.services.core.continuation.members import (
    is_bare,
    joined,
    json_text,
    list_in,
    members_in,
    string_in,
    with_data,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=5), st.booleans())
def test_an_object_comes_together_as_it_was(value: dict[str, object], ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    members = members_in(text)
    assert members is not None
    assert json.loads(bytes(joined(members))) == value
    assert {name: json.loads(bytes(member)) for name, member in members.items()} == value


def test_numbers_and_escapes_keep_their_form() -> None:
    text = b'{"a":1.50e-3,"b":"\\u00e9\\/","c":123456789012345678901234567890}'
    members = members_in(text)
    assert members is not None
    assert bytes(joined(members)) == text


@pytest.mark.parametrize("half", ["\\ud83d", "x\\uDE00y", "\\ud83d\\ud83d"])
def test_halves_of_characters_are_kept(half: str) -> None:
    text = f'{{"id":"x","choices":[{{"delta":{{"content":"{half}"}}}}]}}'
    members = members_in(text.encode())
    assert members is not None
    choices = list_in(members["choices"])
    assert choices is not None
    delta = members_in((members_in(choices[0]) or {})["delta"])
    assert delta is not None
    said = string_in(delta["content"])
    assert said == json.loads(f'"{half}"')
    assert json.loads(json_text(said)) == said
    assert json.loads(bytes(joined(members))) == json.loads(text)


@pytest.mark.parametrize("text", [b"", b"[1]", b"1", b'{"a":', b'{"a":"\\ud83d"', b"\xff", b"[" * 5000, b'{"a":1}x'])
def test_what_is_no_object_is_none(text: bytes) -> None:
    assert members_in(text) is None


@pytest.mark.parametrize("text", [b"null", b"{}", b'"x"', b'["\\ud83d"', b"[1,"])
def test_what_is_no_list_is_none(text: bytes) -> None:
    assert list_in(msgspec.Raw(text)) is None


@pytest.mark.parametrize("text", [None, b"null", b"1", b"{}", b'["\\ud83d"]', b'"\\ud83d', b'"\xff"'])
def test_what_is_no_string_is_empty(text: bytes | None) -> None:
    assert string_in(None if text is None else msgspec.Raw(text)) == ""


def test_a_list_with_halves_is_read() -> None:
    listed = list_in(msgspec.Raw(b'["\\ud83d",1]'))
    assert listed is not None
    assert [json.loads(bytes(value)) for value in listed] == ["\ud83d", 1]


@pytest.mark.parametrize(
    ("text", "bare"),
    [("null", True), ('""', True), ("[]", True), ("{ }", True), ("[\n]", True), ('" "', False), ("0", False),
     ("false", False), ("[0]", False), ('{"a":null}', False)],
)  # fmt: skip
def test_white_space_is_a_text(text: str, bare: bool) -> None:
    assert is_bare(msgspec.Raw(text.encode())) is bare


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (b"data: {}\n\n", b"data: NEW\n\n"),
        (b"data:{}\n\n", b"data: NEW\n\n"),
        (b"data: {}\r\n\r\n", b"data: NEW\r\n\r\n"),
        (b": ping\ndata: {}\n\n", b": ping\ndata: NEW\n\n"),
        (b"event: x\r\nid: 3\r\ndata: {}\r\nretry: 5\r\n\r\n", b"event: x\r\nid: 3\r\ndata: NEW\r\nretry: 5\r\n\r\n"),
        (b"data: {\ndata: }\nid: 3\n\n", b"data: NEW\nid: 3\n\n"),
    ],
)
def test_only_the_payload_of_an_event_is_replaced(event: bytes, expected: bytes) -> None:
    assert with_data(event, b"NEW") == expected


@pytest.mark.parametrize("event", [b"data: {}\n\n", b"data: {}\r\n\r\n", b": c\ndata: {\ndata: }\n\n"])
def test_a_payload_of_several_lines_stays_one_event(event: bytes) -> None:
    changed = with_data(event, b'{"a":[1,\n2]}')
    assert events_of(changed) == [changed]
    assert data_of(changed) == b'{"a":[1,\n2]}'
