"""Is an answer exact as an engine makes it, and not exact with anything missing, doubled, moved or changed?"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.churn.answering import Make, error_event
from bench.churn.judge import Fate, StreamJudge, judge_whole
from bench.churn.kinds import KINDS, Ask
from tests.unit.bench.churn.examples import ask_of, events_of, script_of

STREAMED = [kind.name for kind in KINDS if kind.streams]


def judged(ask: Ask, events: list[bytes], *, is_whole: bool = True, is_rewritten: bool = False) -> Fate:
    judge = StreamJudge(ask.expected, is_rewritten=is_rewritten)
    for number, event in enumerate(events):
        judge.feed(event, float(number))
    return judge.verdict(is_whole=is_whole)[0]


@pytest.mark.parametrize("kind", STREAMED)
@pytest.mark.parametrize("make", Make)
def test_an_undisturbed_stream_is_exact(kind: str, make: Make) -> None:
    for seed in range(6):
        ask = ask_of(kind, seed)
        assert judged(ask, events_of(ask, make)) is Fate.EXACT
        assert judged(ask, events_of(ask, make), is_whole=False) is Fate.CUT


@given(st.sampled_from(STREAMED), st.lists(st.integers(min_value=1, max_value=400), min_size=1))
@settings(max_examples=40)
def test_it_does_not_matter_how_bytes_are_cut(kind: str, sizes: list[int]) -> None:
    ask = ask_of(kind)
    data, parts = b"".join(events_of(ask)).replace(b"\n\n", b"\r\n\r\n"), []
    while data:
        size = sizes[len(parts) % len(sizes)]
        parts.append(data[:size])
        data = data[size:]
    assert judged(ask, parts) is Fate.EXACT


def test_comments_and_pings_change_nothing() -> None:
    ask = ask_of("stream")
    events = [event for pair in events_of(ask) for event in (b": ping\n", pair)]
    assert judged(ask, events) is Fate.EXACT


@given(st.sampled_from(STREAMED), st.data())
@settings(max_examples=80)
def test_an_event_lost_doubled_or_swapped_is_never_exact(kind: str, data: st.DataObject) -> None:
    ask = ask_of(kind, data.draw(st.integers(0, 5)))
    events = events_of(ask)
    place = data.draw(st.integers(0, len(events) - 2))
    lost = [*events[:place], *events[place + 1 :]]
    doubled = [*events[: place + 1], *events[place:]]
    swapped = [*events[:place], events[place + 1], events[place], *events[place + 2 :]]
    assert judged(ask, doubled) is Fate.CORRUPTED
    is_end = b'"finish_reason":"' in events[place]
    assert judged(ask, lost) is (Fate.CUT if is_end else Fate.CORRUPTED)
    if kind != "choices":  # two choices may come in any order
        assert judged(ask, swapped) in {Fate.CORRUPTED, Fate.CUT}


@given(st.data())
@settings(max_examples=30)
def test_a_stream_that_ends_early_is_cut_or_told(data: st.DataObject) -> None:
    ask = ask_of("stream")
    events = events_of(ask)
    place = data.draw(st.integers(0, len(events) - 1))
    assert judged(ask, events[:place]) is Fate.CUT
    assert judged(ask, events[:place], is_whole=False) is Fate.CUT
    assert judged(ask, [*events[:place], error_event()]) is Fate.TOLD


def test_another_id_a_wrong_end_and_foreign_events_are_corrupted() -> None:
    ask = replace(ask_of("stream"), expected=replace(ask_of("stream").expected, usage=None))
    events = [event for event in events_of(ask) if b'"usage"' not in event]
    assert judged(ask, events) is Fate.EXACT
    other = events[5].replace(b"chatcmpl-1", b"chatcmpl-2")
    for changed in (other, b"data: {]\n\n", b'data: {"choices":7}\n\n', b"data: \xff\n\n"):
        assert judged(ask, [*events[:5], changed, *events[6:]]) is Fate.CORRUPTED
    assert judged(ask, [*events[:5], other, *events[6:]], is_rewritten=True) is Fate.EXACT
    ended = [
        event.replace(f'"finish_reason":"{ask.expected.finish}"'.encode(), b'"finish_reason":"x"') for event in events
    ]
    assert judged(ask, ended) is Fate.CORRUPTED
    assert judged(ask, [*events, events[-1]]) is Fate.CORRUPTED


def test_usage_must_be_right_there_once_and_asked_for() -> None:
    ask = next(each for each in (ask_of("stream", seed) for seed in range(9)) if each.expected.usage)
    events = events_of(ask)
    place = next(number for number, event in enumerate(events) if b'"usage"' in event)
    assert judged(ask, [*events[:place], *events[place + 1 :]]) is Fate.CORRUPTED
    assert judged(ask, [*events[:place], events[place], *events[place:]]) is Fate.CORRUPTED
    wrong = events[place].replace(b'"prompt_tokens":', b'"prompt_tokens":1')
    assert judged(ask, [*events[:place], wrong, *events[place + 1 :]]) is Fate.CORRUPTED
    unasked = replace(ask, expected=replace(ask.expected, usage=None))
    assert judged(unasked, events) is Fate.CORRUPTED


def test_a_seam_is_seen_with_its_gap() -> None:
    ask = ask_of("stream")
    events = events_of(ask)
    judge = StreamJudge(ask.expected)
    for number, event in enumerate(events):
        other = event.replace(b"vllm-0-0", b"llamacpp-1-0") if number > 9 else event
        judge.feed(other, number * 0.02 + (0.3 if number > 9 else 0))
    assert judge.verdict(is_whole=True)[0] is Fate.EXACT
    (seam,) = judge.seams
    assert (seam.before, seam.after, judge.server) == ("vllm-0-0", "llamacpp-1-0", "llamacpp-1-0")
    assert seam.gap_seconds == pytest.approx(0.32)
    assert judge.first_text_at == pytest.approx(0.02)


def test_whole_answers_are_judged() -> None:
    ask = ask_of("plain")
    body = script_of(ask).body
    told = json.loads(body)

    def changed(**members) -> Fate:
        return judge_whole(json.dumps({**told, **members}).encode(), ask.expected)[0]

    assert judge_whole(body, ask.expected) == (Fate.EXACT, "")
    assert judge_whole(body[:-9], ask.expected)[0] is Fate.CUT
    assert judge_whole(b'{"error":{"message":"out of memory"}}', ask.expected)[0] is Fate.TOLD
    assert changed(choices=[]) is Fate.CORRUPTED
    assert changed(usage=None) is Fate.CORRUPTED
    assert changed(usage={**told["usage"], "total_tokens": 1}) is Fate.CORRUPTED
    choice = told["choices"][0]
    assert changed(choices=[{**choice, "message": {"content": "x"}}]) is Fate.CORRUPTED
    assert changed(choices=[{**choice, "finish_reason": "x"}]) is Fate.CORRUPTED
