"""Does the measurement on real servers read streams as they come, and tell what it found?"""

from __future__ import annotations

import io
from random import Random

import pytest
from rich.console import Console

from bench.stickiness.report import print_real, summary_of_real

pytest.importorskip("xllamacpp", reason="needs the demo extra")

from bench.stickiness.real import Measured, _event, _next_turn, make_messages

FOUND = [Measured(1482, 13.0, 0.4, 12.0), Measured(1482, 13.0, 0.2, 12.0, stayed=True, gateway_seconds=0.3)]


def test_a_first_turn_is_long_and_its_own() -> None:
    random = Random(1)
    one, two = make_messages(random), make_messages(random)
    assert one != two
    assert 6000 < len(one[0]["content"]) < 10_000
    assert make_messages(Random(1)) == one


def test_the_next_turn_repeats_the_first() -> None:
    messages = make_messages(Random(1))
    following = _next_turn(messages, "an answer")
    assert following[:1] == messages
    assert [message["role"] for message in following] == ["user", "assistant", "user"]
    assert following[1]["content"] == "an answer"


@pytest.mark.parametrize("line", ["", ": a comment", "data: [DONE]", "event: x"])
def test_lines_without_data(line: str) -> None:
    assert _event(line) == {}


def test_lines_with_data() -> None:
    assert _event('data: {"choices": []}') == {"choices": []}


def test_what_is_told() -> None:
    told = summary_of_real(FOUND)
    assert (told["same_server_p50_seconds"], told["other_server_p50_seconds"]) == (0.4, 12.0)
    assert (told["stayed"], told["asked_gateway"], told["gateway_p50_seconds"]) == (1, True, 0.3)
    assert summary_of_real(FOUND[:1])["gateway_p50_seconds"] is None


def test_what_is_shown() -> None:
    written = io.StringIO()
    print_real(FOUND, Console(file=written, width=160))
    assert all(text in written.getvalue() for text in ("0.40", "12.00", "30.0", "60.0", "yes", "-"))
