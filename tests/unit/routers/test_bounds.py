"""Is only what is small, plain and harmless let through?"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routers.bounds import bounded_object, instant, single_line, visible_ascii, whole_number

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
json_objects = st.dictionaries(
    st.text(),
    st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20),
)


@given(json_objects)
def test_what_passes_can_be_written_read_and_sent(value):
    try:
        passed = bounded_object(value)
    except ValueError:
        return
    text = json.dumps(passed, allow_nan=False)
    assert json.loads(text) == value
    assert "\\u0000" not in text
    assert len(json.dumps(passed, ensure_ascii=False).encode()) <= 16 * 1024


def nested(depth: int, innermost: object = 1) -> dict:
    value: object = innermost
    for _ in range(depth):
        value = {"x": value}
    return value


def test_depth_is_bounded():
    assert bounded_object(nested(8)) == nested(8)
    for too_deep in (nested(9), {"x": [nested(7, [1])]}, nested(100_000)):
        with pytest.raises(ValueError, match="8 levels"):
            bounded_object(too_deep)


def test_size_is_bounded_in_bytes_not_characters():
    assert bounded_object({"x": "y" * 16_000})
    with pytest.raises(ValueError, match="16384 bytes"):
        bounded_object({"x": "ü" * 10_000})


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**63, -(2**63), "\0", "\ud800", {"\0": 1}, [["\udfff"]]])
def test_what_cannot_be_stored_is_refused(value):
    with pytest.raises(ValueError, match="should have"):
        bounded_object({"x": value})


@given(st.text())
def test_a_line_is_one_line(text):
    try:
        line = single_line(text)
    except ValueError:
        return
    assert line == text == text.strip()
    assert len(line.splitlines()) <= 1
    assert line.encode().decode() == line
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)


@given(st.text())
def test_a_key_that_passes_is_safe_in_a_header(text):
    try:
        key = visible_ascii(text)
    except ValueError:
        assert any(not 33 <= ord(character) <= 126 for character in text)
    else:
        assert all(33 <= byte <= 126 for byte in key.encode("ascii"))


@pytest.mark.parametrize(
    ("given_value", "taken"), [(8.0, 8), (8, 8), (8.5, 8.5), ("8", "8"), (math.inf, math.inf), (None, None)]
)
def test_a_whole_number_is_one_however_it_is_written(given_value, taken):
    assert whole_number(given_value) == taken
    assert type(whole_number(given_value)) is type(taken)


def test_a_time_is_read_into_utc():
    moment = datetime(2030, 1, 1, 6, 30, tzinfo=UTC)
    assert instant("2030-01-01T08:00:00+01:30") == moment
    assert instant(moment) is moment
    assert instant(None) is None


@pytest.mark.parametrize("value", [5, 5.0, True, "soon", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"])
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValueError, match="like 2030-01-01T08:00:00Z"):
        instant(value)
