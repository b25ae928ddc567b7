"""Trails: what two prompts that begin alike share, and nothing more."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.affinity.trail import LEAST_BYTES, MOST_BLOCKS, MOST_BYTES, known_bytes, make_trail

CONTENT = st.text(max_size=3000)
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": CONTENT})


def body_of(messages: list[dict[str, str]], **others: object) -> bytes:
    return json.dumps({"model": "m", "messages": messages, **others}).encode()


def shared(one: tuple[int, ...], two: tuple[int, ...]) -> int:
    """How many first marks are the same; behind them none may be."""
    count = next((place for place, (left, right) in enumerate(zip(one, two, strict=False)) if left != right), None)
    count = min(len(one), len(two)) if count is None else count
    assert not set(one[count:]) & set(two[count:])
    return count


@given(st.lists(MESSAGE, min_size=1, max_size=8), MESSAGE, MESSAGE)
def test_the_next_turn_shares_all_but_the_end_of_the_former(
    messages: list[dict[str, str]], answer: dict[str, str], question: dict[str, str]
) -> None:
    former = make_trail("m", body_of(messages))
    following = make_trail("m", body_of([*messages, answer, question]))
    count = shared(former, following)
    if former:
        written = len(json.dumps(messages)) - 1  # its closing bracket gives way to a comma
        assert known_bytes(count) > written - 512


@given(st.binary(max_size=20_000))
def test_any_bytes_have_a_trail_of_whole_blocks(body: bytes) -> None:
    trail = make_trail("m", body)
    assert known_bytes(len(trail)) <= len(body)
    assert not trail or len(body) >= LEAST_BYTES
    assert len(set(trail)) == len(trail)
    assert make_trail("m", body) == trail


@given(st.binary(min_size=3000, max_size=9000), st.integers(0, 8999))
def test_a_change_ends_what_is_shared_where_it_stands(text: bytes, place: int) -> None:
    place %= len(text)
    other = text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :]
    head = b'{"messages"'
    count = shared(make_trail("m", head + text), make_trail("m", head + other))
    assert known_bytes(count) <= place < known_bytes(count) + 512 or known_bytes(count + 1) > len(text)


def test_another_first_block_shares_nothing() -> None:
    rest = "x" * 5000
    one = make_trail("m", body_of([{"role": "user", "content": "a" + rest}]))
    two = make_trail("m", body_of([{"role": "user", "content": "b" + rest}]))
    assert shared(one, two) == 0 < len(one)


@pytest.mark.parametrize(("model", "apart"), [("other", ""), ("m", "tenant")])
def test_models_and_tenants_share_nothing(model: str, apart: str) -> None:
    body = b"x" * 3000
    assert shared(make_trail("m", body), make_trail(model, body, apart)) == 0


def test_what_stands_before_the_messages_does_not_count() -> None:
    text = '"messages":[' + "x" * 3000
    one, two = (make_trail("m", f'{{"max_tokens":{number},{text}'.encode()) for number in (1, 999))
    assert one == two != ()


@pytest.mark.parametrize("name", ["messages", "prompt", "input"])
def test_the_start_is_found_by_name(name: str) -> None:
    one, two = (make_trail("m", b'{"seed":%d,"%b":"' % (seed, name.encode()) + b"y" * 3000) for seed in (1, 22))
    assert one == two != ()


def test_a_prompt_without_a_known_name_or_far_behind_is_read_from_its_first_byte() -> None:
    tools = b'{"tools":"' + b"t" * 5000 + b'","messages":["'
    one, two = (make_trail("m", tools + text * 3000) for text in (b"a", b"b"))
    assert known_bytes(shared(one, two)) > 4500
    assert make_trail("m", b'{"documents":' + b"z" * 3000)


def test_a_name_inside_of_a_text_is_none() -> None:
    inside = b'{"note":"%d \\"prompt\\": ","messages":[' + b"x" * 3000
    assert make_trail("m", inside % 1) == make_trail("m", inside % 22) != ()


@pytest.mark.parametrize("size", [0, 1, LEAST_BYTES - 1])
def test_short_prompts_have_none(size: int) -> None:
    assert make_trail("m", b'{"messages"' + b"x" * size) == ()
    assert make_trail("m", b"x" * 3000 + b'{"messages"' + b"x" * size) == ()


def test_very_long_prompts_are_cut() -> None:
    trail = make_trail("m", b'{"messages":' + b"x" * (MOST_BYTES + 5000))
    assert len(trail) == MOST_BLOCKS
    assert known_bytes(MOST_BLOCKS) == MOST_BYTES


def test_bytes_of_blocks() -> None:
    assert [known_bytes(blocks) for blocks in (0, 1, 64, 65, 66)] == [0, 64, 4096, 4608, 5120]
