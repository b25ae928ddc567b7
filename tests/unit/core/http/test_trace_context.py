"""What of a trace is taken, passed on and made: the rules of W3C Trace Context."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.http.trace_context import (
    NO_TRACE,
    TakePart,
    Trace,
    child,
    is_sampled,
    is_valid,
    lines,
    pass_on,
    trace_ids,
)

TRACE = b"0af7651916cd43dd8448eb211c80319c"
SPAN = b"b7ad6b7169203331"
PARENT = b"00-%b-%b-01" % (TRACE, SPAN)
RANDOM = (0xABCD << 64) | 0x1234

hexadecimal = st.text("0123456789abcdef", min_size=2, max_size=2)


@pytest.mark.parametrize(
    "value",
    [
        PARENT,
        PARENT[:-2] + b"00",
        PARENT[:-2] + b"ff",
        b"01" + PARENT[2:],
        b"fe" + PARENT[2:],
        b"01" + PARENT[2:] + b"-what-comes-later",
        b"cc" + PARENT[2:] + b"-",
    ],
)
def test_these_are_valid(value: bytes) -> None:
    assert is_valid(value)
    assert lines(value, b"") == b"traceparent: %b\r\n" % value


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        b"ff" + PARENT[2:],
        PARENT + b"-",
        PARENT + b"-00",
        PARENT + b"0",
        PARENT[:-1],
        PARENT.upper(),
        PARENT.replace(b"-", b"_"),
        b" " + PARENT,
        PARENT + b"\n",
        b"00-%b-%b-01" % (b"0" * 32, SPAN),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"0x-%b-%b-01" % (TRACE, SPAN),
        b"00-%b-%b-0g" % (TRACE, SPAN),
        b"01" + PARENT[2:] + b"00",
        b"01" + PARENT[2:] + b"-" + b"x" * 201,
        b"01" + PARENT[2:] + b"-a b",
        b"01" + PARENT[2:] + b"-\r\nevil: 1",
        PARENT + b"," + PARENT,
        b"01" + PARENT[2:] + b"-x," + PARENT,
    ],
)
def test_these_are_not_and_nothing_of_them_goes_on(value: bytes) -> None:
    assert not is_valid(value)
    assert lines(value, b"vendor=1") == b""
    assert pass_on(value, b"vendor=1") is NO_TRACE


@given(st.binary(max_size=80))
def test_what_is_valid_is_one_safe_line(value: bytes) -> None:
    told = lines(value, value)
    assert told == b"" or (told.count(b"\r\n") == told.count(b"\n") and told.isascii())


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"rojo=00f067aa0ba902b7", b"rojo=00f067aa0ba902b7"),
        (b"rojo=1,congo=t61rcWkgMzE", b"rojo=1,congo=t61rcWkgMzE"),
        (b" rojo=1 , ,\tcongo=2\t", b"rojo=1,congo=2"),
        (b"fw529a3039@dt=a b c", b"fw529a3039@dt=a b c"),
        (b"0day=1", b"0day=1"),
        (b"a*b_c-d/e=%20!", b"a*b_c-d/e=%20!"),
        (b",".join(b"k%d=v" % number for number in range(32)), b",".join(b"k%d=v" % number for number in range(32))),
        (b"k=" + b"v" * 256, b"k=" + b"v" * 256),
    ],
)
def test_a_tracestate_goes_on_with_its_parent(given: bytes, kept: bytes) -> None:
    assert lines(PARENT, given) == b"traceparent: %b\r\ntracestate: %b\r\n" % (PARENT, kept)
    assert pass_on(PARENT, given) == Trace(PARENT, PARENT, lines(PARENT, given))


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b" , ,",
        b"rojo",
        b"Rojo=1",
        b"=1",
        b"rojo=",
        b"rojo=a=b",
        b"rojo=1,rojo=2",
        b"rojo=\x7f",
        b"rojo=\xc3\xa9",
        b"rojo=1,con\ngo=2",
        b"k=" + b"v" * 257,
        b"k" * 257 + b"=v",
        b",".join(b"k%d=v" % number for number in range(33)),
        b",".join(b"k%d=%b" % (number, b"v" * 60) for number in range(9)),
    ],
)
def test_a_tracestate_that_is_invalid_or_too_long_is_left_behind(given: bytes) -> None:
    assert lines(PARENT, given) == b"traceparent: %b\r\n" % PARENT


def test_a_tracestate_of_nothing_goes_nowhere() -> None:
    assert pass_on(b"", b"rojo=1") is NO_TRACE
    part = TakePart(lambda _bits: RANDOM, 1.0)(b"broken", b"rojo=1")
    assert b"tracestate" not in part.lines


def test_a_child_is_in_its_parents_trace() -> None:
    own = child(PARENT, RANDOM)
    assert own == b"00-%b-0000000000001234-01" % TRACE
    assert trace_ids(own) == (int(TRACE, 16), 0x1234)
    assert is_valid(own)


@given(hexadecimal, st.integers(0, 2**192 - 1))
def test_a_child_speaks_version_00_and_passes_on_no_unknown_flag(flags: str, random_bits: int) -> None:
    parent = b"01" + PARENT[2:-2] + flags.encode() + b"-more"
    own = child(parent, random_bits)
    assert is_valid(own)
    assert len(own) == len(PARENT)
    assert own.startswith(b"00-" + TRACE)
    assert int(own[-2:], 16) == int(flags, 16) & 0b11
    assert is_sampled(own) == is_sampled(parent)


@given(st.integers(0, 2**192 - 1))
def test_without_a_parent_a_trace_begins(random_bits: int) -> None:
    own = child(b"", random_bits)
    assert is_valid(own)
    assert is_sampled(own)
    trace_id, span_id = trace_ids(own)
    assert (trace_id, span_id) == (random_bits >> 64 or 1, random_bits & (2**64 - 1) or 1)


def test_who_takes_part_puts_itself_between() -> None:
    asked: list[int] = []

    def draw(bits: int) -> int:
        asked.append(bits)
        return RANDOM

    part = TakePart(draw, 1.0)
    taken = part(PARENT, b"rojo=1")
    assert taken.parent == PARENT
    assert taken.own == child(PARENT, RANDOM)
    assert taken.lines == b"traceparent: %b\r\ntracestate: rojo=1\r\n" % taken.own
    begun = part(b"", b"")
    assert (begun.own, begun.parent) == (child(b"", RANDOM), b"")
    assert asked == [192, 192]


@pytest.mark.parametrize(("ratio", "low", "sampled"), [
    (0.0, 0, False), (1.0, 2**56 - 1, True), (0.5, 2**55 - 1, True), (0.5, 2**55, False), (0.25, 2**54, False),
])  # fmt: skip
def test_a_part_of_the_new_traces_is_sampled_by_their_ids(ratio: float, low: int, sampled: bool) -> None:
    draw = lambda _bits: (0xAB << 120 | low) << 64 | 1  # noqa: E731 - a number that is drawn
    assert is_sampled(TakePart(draw, ratio)(b"", b"").own) is sampled


@pytest.mark.parametrize("flags", [b"00", b"01"])
def test_the_client_decides_for_its_own(flags: bytes) -> None:
    parent = PARENT[:-2] + flags
    for ratio in (0.0, 1.0):
        assert is_sampled(TakePart(lambda _bits: RANDOM, ratio)(parent, b"").own) is (flags == b"01")
