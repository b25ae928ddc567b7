"""Splicing: one member changes, every other byte stays, and text that is no JSON does no harm."""

from __future__ import annotations

import contextlib
import json
import random
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.services.core.answer.splice import (
    MAX_TOKENS,
    TooComplexError,
    add_member,
    find_members,
    replace_spans,
    set_member,
    value_end,
)

NAMES = ["model", "stream_options", "include_usage", "n"]
TRICKY = st.text(alphabet='[]{}"\\\n:,/ model\u00e9\u20ac\U0001f999', max_size=10)
KEYS = st.sampled_from([*NAMES, "Model", "mode", "modell", '"model"', '"model":', "\\", ""]) | TRICKY
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | KEYS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=15
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)


class Scribe:
    """Spells JSON as no library does: white space and escapes at random, the span of each top value noted."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._escaped = dice.choice((0.0, 0.0, 0.2))
        self.spans: dict[str, slice] = {}

    def write(self, members: dict[str, object]) -> bytes:
        text = self._white() + b"{"
        for count, (name, value) in enumerate(members.items()):
            text += (b"," if count else b"") + self._white() + self._string(name) + self._white() + b":" + self._white()
            spelt = self._value(value)
            self.spans[name] = slice(len(text), len(text) + len(spelt))
            text += spelt + self._white()
        return text + self._white() + b"}" + self._white()

    def _value(self, value: object) -> bytes:
        if isinstance(value, dict):
            pairs = [self._string(name) + self._white() + b":" + self._value(inner) for name, inner in value.items()]
            return b"{" + self._white() + (self._white() + b",").join(pairs) + self._white() + b"}"
        if isinstance(value, list):
            return b"[" + self._white() + (self._white() + b",").join(map(self._value, value)) + self._white() + b"]"
        return self._string(value) if isinstance(value, str) else json.dumps(value).encode()

    def _string(self, text: str) -> bytes:
        return b'"' + b"".join(map(self._character, text)) + b'"'

    def _character(self, character: str) -> bytes:
        if self._dice.random() < self._escaped and ord(character) < 0x10000:
            return rb"\u%04x" % ord(character) if self._dice.random() < 0.5 else rb"\u%04X" % ord(character)
        if character == "/" and self._dice.random() < 0.5:
            return rb"\/"
        return json.dumps(character, ensure_ascii=self._dice.random() < 0.5)[1:-1].encode()

    def _white(self) -> bytes:
        return "".join(self._dice.choices(" \t\r\n", k=self._dice.choice((0, 0, 0, 1, 3)))).encode()


# -- properties


@given(OBJECTS, st.sampled_from(NAMES), VALUES, st.randoms(use_true_random=False))
def test_one_member_is_replaced_and_no_other_byte_touched(
    members: dict[str, object], name: str, value: object, dice: random.Random
) -> None:
    scribe = Scribe(dice)
    text = scribe.write(members)
    spelt = json.dumps(value).encode()
    spliced = set_member(text, name, spelt)
    if name in members:
        span = scribe.spans[name]
        assert find_members(text, [name]).get(name) == span
        assert spliced == text[: span.start] + spelt + text[span.stop :]
        assert json.loads(spliced) == {**members, name: value}
    else:
        assert find_members(text, [name]).get(name) is None
        assert spliced is text


@given(OBJECTS, st.sampled_from(NAMES), VALUES, st.randoms(use_true_random=False))
def test_a_member_is_added_in_front(members: dict[str, object], name: str, value: object, dice: random.Random) -> None:
    members.pop(name, None)
    text = Scribe(dice).write(members)
    longer = add_member(text, name, json.dumps(value).encode())
    assert json.loads(longer) == {**members, name: value}
    assert next(iter(json.loads(longer))) == name
    opening = text.index(b"{") + 1
    assert longer.startswith(text[:opening])
    assert longer.endswith(text[opening:])


@given(OBJECTS, VALUES, st.randoms(use_true_random=False))
def test_a_member_that_stands_twice_is_refused(members: dict[str, object], value: object, dice: random.Random) -> None:
    scribe = Scribe(dice)
    first = scribe.write({**members, "model": value}).rstrip()
    second = scribe.write({"model": 1}).lstrip()
    with pytest.raises(ValueError, match="'model' appears twice"):
        set_member(first[:-1] + b"," + second[1:], "model", b"2")


@given(VALUES, st.randoms(use_true_random=False), st.sampled_from([b"", b",", b"}", b" ]", b"\n\n"]))
def test_the_end_of_a_value_is_found(value: object, dice: random.Random, after: bytes) -> None:
    text = Scribe(dice)._value(value)
    assert value_end(b"12" + text + after, 2) == 2 + len(text)


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ model1', max_size=60).map(str.encode))
@example(b'{"model"')
@example(b'{"model":')
@example(b'{"model":"')
@example(b'{"model":[')
@example(b'{"model":[{]}')
@example(b'{"other":1 "model":2}')
@example(b'{"other":{"model":2}')
@example(b'{1:2,"model":2,"model":3}')
@example(b'{"model" 1, "model":2}')
@example(rb'{"\ud800":1,"model":2,"model":2}')
@example(rb'{"mod\u0065l":')
@example(b'{"a":1,"b":{"model":1},"model":2 x')
def test_garbage_raises_nothing_but_value_errors(text: bytes) -> None:
    for act in (set_member, add_member):
        try:
            spliced = act(text, "model", b"null")
        except ValueError:
            continue
        assert b"null" in spliced or spliced is text


# -- examples


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"model":"x"}', b'{"model":7}'),
        (b' {"a":1 , "model" :\t"x" }\n', b' {"a":1 , "model" :\t7 }\n'),
        (b'{"choices":[{"model":1}],"model":"x"}', b'{"choices":[{"model":1}],"model":7}'),
        (b'{"model":"x","choices":[{"model":1}]}', b'{"model":7,"choices":[{"model":1}]}'),
        (b'{"a":{"model":1}}', b'{"a":{"model":1}}'),
        (b'{"a":[{"model":1}],"b":"}]"}', b'{"a":[{"model":1}],"b":"}]"}'),
        (b'{"a":"model","b":1}', b'{"a":"model","b":1}'),
        (b'{"a":"model","model":1}', b'{"a":"model","model":7}'),
        (rb'{"a":"the \"model\": x"}', rb'{"a":"the \"model\": x"}'),
        (rb'{"the \"model": 1}', rb'{"the \"model": 1}'),
        (rb'{"the \"model": 1, "model": 2}', rb'{"the \"model": 1, "model": 7}'),
        (rb'{"a":"\\","model":"x"}', rb'{"a":"\\","model":7}'),
        (rb'{"mod\u0065l":"x"}', rb'{"mod\u0065l":7}'),
        (rb'{"\u006D\u006f\u0064\u0065\u006C":"x"}', rb'{"\u006D\u006f\u0064\u0065\u006C":7}'),
        (b'{"model":{"a":["}"]}}', b'{"model":7}'),
        (b'{"model":[[],{}],"a":1}', b'{"model":7,"a":1}'),
        (b'{"model":-1.5e3}', b'{"model":7}'),
        (b'{"b":"[{","model":true,"a":"]}"}', b'{"b":"[{","model":7,"a":"]}"}'),
        (b'{"Model":1}', b'{"Model":1}'),
        (b"{}", b"{}"),
    ],
)
def test_sets_only_the_top_member(text: bytes, expected: bytes) -> None:
    assert set_member(text, "model", b"7") == expected


@pytest.mark.parametrize("text", [b"", b" ", b"[]", b'"model"', b'["model",{"model":1}]', b"\xef\xbb\xbf{}", b"\x0b{}"])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a JSON object"):
        set_member(text, "model", b"7")
    with pytest.raises(ValueError, match="not a JSON object"):
        add_member(text, "model", b"7")


@pytest.mark.parametrize(
    "text",
    [
        b'{"model":1,"model":2}',
        rb'{"model":1,"mod\u0065l":2}',
        rb'{"mod\u0065l":1,"a":{"model":3},"\u006dodel":2}',
        b'{"model":1,"a":[{"model":3}],"model":2}',
    ],
)
def test_duplicates_are_found_however_they_are_spelt(text: bytes) -> None:
    with pytest.raises(ValueError, match="appears twice"):
        find_members(text, ["model"]).get("model")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{}", b'{"n":1}'),
        (b" \r\n\t{ }", b' \r\n\t{"n":1 }'),
        (b'{"a":2}', b'{"n":1,"a":2}'),
        (b'{\n  "a": 2\n}', b'{"n":1,\n  "a": 2\n}'),
    ],
)
def test_adds_a_comma_where_one_is_needed(text: bytes, expected: bytes) -> None:
    assert add_member(text, "n", b"1") == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{"a":' + b"[" * 2**20, id="brackets that never close"),
        pytest.param(b'{"a":"' + b"\\" * 2**21, id="backslashes that never end"),
        pytest.param(b'{"a":"' + b'\\"' * 2**20 + b'","model":1,"model":2', id="escaped quotes"),
        pytest.param(b'{"model":1,"a":"' + rb"\u0061" * 2**18 + b'","model":2', id="escaped letters"),
        pytest.param(b'{"model":1, ' + b" " * 2**21, id="white space"),
        pytest.param(b"{" + b'"a":1,' * 2**17 + b'"model":2,"model":3', id="many members"),
    ],
)
def test_a_text_made_to_be_slow_is_not(text: bytes) -> None:
    started = time.process_time()
    with contextlib.suppress(ValueError):
        set_member(text, "model", b"7")
    assert time.process_time() - started < 2.0  # measured: below 0.2 s


# -- bounds

FILLING = b'"b":[],' * (MAX_TOKENS // 3)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(rb'{"x\u0061":1,' + FILLING + b'"model":1}', id="members, and an escape"),
        pytest.param(b'{"a":{"model":1},' + FILLING + b'"model":1}', id="members, and the name twice"),
        pytest.param(b'{"a":{"model":1},"b":[' + b"[]," * (MAX_TOKENS // 2) + b'1],"model":1}', id="brackets"),
        pytest.param(b'{"a":{"model":1},"b":[' + b'"c",' * MAX_TOKENS + b'1],"model":1}', id="strings"),
        pytest.param(b'{"model":[' + b"[]," * (MAX_TOKENS // 2) + b"1]}", id="inside the value"),
    ],
)
def test_goes_through_so_much_and_no_more(text: bytes) -> None:
    with pytest.raises(TooComplexError, match="more than 200,000 strings and brackets"):
        set_member(text, "model", b"7")


def test_goes_through_as_much_as_that() -> None:
    text = b'{"a":{"model":1},"b":[' + b'"c",' * (MAX_TOKENS - 12) + b'1],"model":"x"}'
    assert set_member(text, "model", b"7") == text.replace(b'"x"', b"7")
    with pytest.raises(TooComplexError):
        set_member(text.replace(b"1],", b'"c","c",1],'), "model", b"7")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{"model":"x",' + FILLING + b'"c":1}', id="first"),
        pytest.param(b"{" + FILLING + b'"model":"x"}', id="last"),
        pytest.param(
            b'{"model":"x",' + FILLING + rb'"c":"\u003cb\u003e \u0022model\u0022 \u00e9 \u005c"}', id="escapes"
        ),
    ],
)
def test_what_is_seen_at_a_glance_has_no_bound(text: bytes) -> None:
    assert set_member(text, "model", b"7") == text.replace(b'"x"', b"7")


def test_several_members_are_found_in_one_go() -> None:
    for text in (b'{"n":[{"n":1}],"a":1,"model":"x"}', b'{"n": [1] ,"model":"x"}', rb'{"\u006e":{},"model":"x"}'):
        found = find_members(text, ["model", "n", "absent"])
        assert sorted(found) == ["model", "n"]
        edits = [(found["model"], b"1"), (found["n"], b"2")]
        spliced = replace_spans(text, edits)
        assert json.loads(spliced) == {**json.loads(text), "model": 1, "n": 2}
        assert spliced == replace_spans(text, edits[::-1])
    assert replace_spans(text, []) == text


@given(OBJECTS, st.lists(st.sampled_from(NAMES), unique=True), st.randoms(use_true_random=False))
def test_finding_several_is_finding_each(members: dict[str, object], names: list[str], dice: random.Random) -> None:
    scribe = Scribe(dice)
    text = scribe.write(members)
    assert find_members(text, names) == {name: scribe.spans[name] for name in names if name in members}
