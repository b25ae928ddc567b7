"""Does the journal say of any stream what its events said, in whichever way they went out?"""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.answer.template import Template
from app.services.core.continuation.delivered import NOTHING, Delivered, Identity
from app.services.core.continuation.journal import MOST_KEPT_BYTES, MOST_TEXTS, MOST_UNREAD_BYTES, Journal

HEAD = {"id": "chatcmpl-1", "created": 7, "model": "m"}
IDENTITY = Identity(b'"chatcmpl-1"', b"7", b'"m"')
MEMBERS = ["content", "reasoning_content", "reasoning"]
CHARACTERS = st.characters() | st.sampled_from('\\"/\n\t\u2028\0<>\ud83d\ude00\U0001f600\U0010f83d\ufffde\u0301u')
TEXTS = st.text(CHARACTERS, max_size=8)


def event(delta: dict[str, Any], *, plain_text: bool = False, **more: Any) -> bytes:
    said = {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **more}
    return framed(said, plain_text=plain_text)


def framed(said: object, *, plain_text: bool = False) -> bytes:
    try:
        return b"data: %b\n\n" % json.dumps(said, ensure_ascii=not plain_text).encode()
    except UnicodeEncodeError:  # half of a character can only be escaped
        return framed(said)


def noted(*blocks: bytes) -> Delivered:
    journal = Journal()
    for block in blocks:
        journal.note(block)
    return journal.delivered()


def with_text(text: str, **more: Any) -> bytes:
    return event({"content": text}, **more)


def joined(texts: list[str]) -> tuple[str, bool]:
    """What texts say together, and whether half of a character is missing at the end."""
    together = "".join(texts).encode("utf-16-le", "surrogatepass")
    last = int.from_bytes(together[-2:], "little")
    return together.decode("utf-16-le", "replace"), 0xD800 <= last <= 0xDBFF


class Sender:
    """Passes events on as an attempt does: where they fit the one before, by their text; else as a block."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.template: Template | None = None

    def send(self, one: bytes) -> None:
        text = None if self.template is None else self.template.text_of(one, 0, len(one))
        if text is not None:
            self.journal.texts.append(text)
            if len(self.journal.texts) >= MOST_TEXTS:
                self.journal.trim()
            return
        self.template = Template.of(one, None)
        if self.template is not None:
            self.journal.begin_texts(self.template.member)
        self.journal.note(one)


PARTS = st.lists(st.tuples(st.sampled_from(MEMBERS), TEXTS, st.booleans(), st.integers(1, 40)), max_size=12)


@given(PARTS, st.sets(st.integers(0, 11)), st.booleans())
def test_what_went_out_is_what_the_events_said(
    parts: list[tuple[str, str, bool, int]], asked_at: set[int], by_text: bool
) -> None:
    journal = Journal()
    sender = Sender(journal)
    said: dict[str, list[str]] = {member: [] for member in MEMBERS}
    events = 0
    for position, (member, text, plain_text, times) in enumerate(parts):
        for _time in range(times):
            one = event({member: text}, plain_text=plain_text)
            sender.send(one) if by_text else journal.note(b": ping\n\n" + one)
        said[member] += [text] * times
        events += times if member == "content" and text else 0
        if position in asked_at:
            journal.delivered()
    content, cut = joined(said["content"])
    thoughts = [text for member, text, _plain, times in parts for _time in range(times) if member != "content"]
    delivered = journal.delivered()
    assert delivered.content == content
    assert delivered.reasoning == joined(thoughts)[0]
    assert delivered.foreign is cut
    assert delivered.text_events == events
    assert delivered.identity == (IDENTITY if parts else None)
    assert journal.delivered() == delivered


def test_nothing_went_out() -> None:
    assert Journal().delivered() == NOTHING


def test_texts_and_blocks_keep_their_order() -> None:
    journal = Journal()
    journal.note(event({"role": "assistant", "content": ""}))
    journal.begin_texts("reasoning")
    journal.texts += [b"so", b"", b" then"]
    journal.note(with_text("One"))
    journal.begin_texts("content")
    journal.texts += [b" two", b" \\u0074hree"]
    journal.note(with_text(" four") + b": ping\n\n" + with_text(" five"))
    journal.texts.append(b" six")
    assert journal.delivered() == Delivered(
        IDENTITY, role=True, content="One two three four five six", reasoning="so then", reasoning_member="reasoning",
        text_events=6,
    )  # fmt: skip


def test_a_stream_whose_events_bear_the_time_is_noted_as_any_other() -> None:
    journal = Journal()
    sender = Sender(journal)
    for number in range(40):
        sender.send(with_text(f" {number}", created=7 + number // 10))
    expected = "".join(f" {number}" for number in range(40))
    assert journal.delivered() == Delivered(IDENTITY, content=expected, text_events=40)


def test_it_goes_on_after_somebody_asked() -> None:
    journal = Journal()
    journal.note(with_text("One"))
    journal.begin_texts("content")
    texts = journal.texts
    texts.append(b" two")
    assert journal.delivered().content == "One two"
    texts.append(b" three")
    journal.note(framed({**HEAD, "choices": [{"text": " four"}]}) + b"data: [DONE]\n\n")
    assert journal.delivered() == Delivered(IDENTITY, content="One two three four", text_events=4)


@pytest.mark.parametrize(
    "block",
    [
        b": ping\n", b": ping\n\n", b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b"event: ping\n\n", b"data:\n\n",
        b"retry: 5\n\n", b"",
    ],
)  # fmt: skip
def test_what_has_no_data_says_nothing(block: bytes) -> None:
    assert noted(block) == NOTHING
    assert noted(block + with_text("a")) == noted(with_text("a")) == Delivered(IDENTITY, content="a", text_events=1)


def test_other_line_ends_comments_and_several_lines_are_read() -> None:
    one = with_text("a").replace(b"\n", b"\r\n")
    two = b": ping\nevent: message\n" + with_text("b")
    three = framed({**HEAD, "choices": []}).replace(b', "choices"', b',\ndata: "choices"')
    three = three.replace(b"[]", b'[{"delta":\ndata: {"content":"c"}}]')
    assert noted(one + two, three).content == "abc"


@pytest.mark.parametrize(
    ("said", "identity"),
    [
        ({}, Identity()),
        ({"id": None, "created": 1.5, "model": "\u00fc"}, Identity(b"", b"1.5", b'"\\u00fc"')),
        (HEAD, IDENTITY),
    ],
)
def test_the_identity_is_that_of_the_first_event_with_data(said: dict[str, Any], identity: Identity) -> None:
    blocks = (b": hello\n\n", framed({**said, "choices": []}), framed({"id": "other", "created": 9, "model": "x"}))
    assert noted(*blocks).identity == identity


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]},
        {"function_call": {"name": "f"}},
        {"content": "a", "tool_calls": [{"index": 0}]},
    ],
)
def test_a_part_of_a_call_is_seen(delta: dict[str, Any]) -> None:
    assert noted(event(delta)).calls
    assert not noted(event({**delta, "tool_calls": [], "function_call": None})).calls


def test_arguments_are_a_call_and_no_text() -> None:
    journal = Journal()
    journal.begin_texts("arguments")
    journal.texts += [b"{\\", b"x"]
    assert journal.delivered() == Delivered(calls=True)


@pytest.mark.parametrize(
    "block",
    [
        event({"refusal": "no"}),
        event({"audio": {"data": "x"}}),
        event({"content": [{"type": "text", "text": "a"}]}),
        event({"content": 5}),
        framed({**HEAD, "choices": [{"index": 1, "delta": {"content": "a"}}]}),
        framed({**HEAD, "choices": [{"index": 1, "delta": {"tool_calls": [{"index": 0}]}}]}),
        framed({**HEAD, "choices": [{"text": "a"}, {"index": 1, "text": "b"}]}),
        framed([1]),
        framed(None),
        b'data: {"choices":[\n\n',
        b"data: hello\n\n",
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\0"}}]}\n\n',
        b'data: {"choices":%b}\n\n' % (b"[" * 100_000),
        rb'data: {"choices":[{"delta":{"content":"\ud83d' + "\U0010f800".encode() + b'"}}]}\n\n',
    ],
)
def test_what_cannot_be_gone_on_with_is_seen(block: bytes) -> None:
    assert noted(with_text("a"), block, with_text("b")).foreign
    assert not noted(with_text("a"), with_text("b")).foreign


def test_another_choice_that_says_no_text_yet_does_no_harm() -> None:
    began = noted(framed({**HEAD, "choices": [{"index": 1, "delta": {"role": "assistant", "content": ""}}]}))
    assert began == Delivered(IDENTITY)


@pytest.mark.parametrize("text", [b"\0", b"\t", b"\\q", b"\\u12", b"\xff"])
@pytest.mark.parametrize("member", ["content", "reasoning"])
def test_a_text_that_is_none_of_json_is_seen(text: bytes, member: str) -> None:
    journal = Journal()
    journal.begin_texts(member)
    journal.texts += [b"a", text, b"b"]
    assert journal.delivered().foreign


@pytest.mark.parametrize(
    ("texts", "content", "foreign"),
    [
        (["a\ud83d", "\ude00b"], "a\U0001f600b", False),
        (["\ud83d", "", "\ude00"], "\U0001f600", False),
        (["a\ud83d", "b"], "a\ufffdb", False),
        (["a\ude00", "b\ude00"], "a\ufffdb\ufffd", False),
        (["a", "b\ud83d"], "ab\ufffd", True),
        (["\ud83d\ud83d", "\ude00"], "\ufffd\U0001f600", False),
        (["\\ud83d", "\\ude00\ude00"], "\\ud83d\\ude00\ufffd", False),
    ],
)
def test_halves_of_a_character(texts: list[str], content: str, foreign: bool) -> None:
    by_text, by_block = Journal(), Journal()
    by_text.begin_texts("content")
    for text in texts:
        by_text.texts.append(json.dumps(text)[1:-1].encode())
        by_block.note(with_text(text))
    for journal in (by_text, by_block):
        delivered = journal.delivered()
        assert (delivered.content, delivered.foreign) == (content, foreign)
        assert delivered.content.encode()


def test_halves_of_a_character_in_a_completion() -> None:
    delivered = noted(*(framed({"choices": [{"text": text}]}) for text in ("a\ud83d", "\ude00")))
    assert delivered == Delivered(Identity(), content="a\U0001f600", text_events=2)


def test_a_character_that_is_whole_later_is_no_obstacle() -> None:
    journal = Journal()
    journal.note(with_text("a\ud83d"))
    assert journal.delivered().foreign
    journal.note(with_text("\ude00"))
    delivered = journal.delivered()
    assert (delivered.content, delivered.foreign) == ("a\U0001f600", False)


def test_half_of_a_character_in_thoughts_is_no_obstacle() -> None:
    delivered = noted(event({"reasoning": "a\ud83d"}))
    assert (delivered.reasoning, delivered.foreign) == ("a\ufffd", False)


def test_tags_in_a_text_are_text() -> None:
    assert noted(with_text("<think>"), with_text("so</think>yes")).content == "<think>so</think>yes"


@pytest.mark.parametrize("member", ["reasoning", "reasoning_content"])
def test_thoughts_under_both_names_count_once(member: str) -> None:
    both = event({"reasoning": " b", "reasoning_content": " b"})
    delivered = noted(event({member: "a"}), both, event({"content": "c"}))
    assert (delivered.reasoning, delivered.reasoning_member, delivered.content) == ("a b", member, "c")


def figures(tokens: object) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 9}}


@pytest.mark.parametrize(
    ("blocks", "tokens"),
    [
        ([with_text("a", **figures(2)), with_text("b", **figures(5))], 5),
        ([with_text("a", **figures(2)), with_text("", **figures(None))], 2),
        ([with_text("a"), framed({**HEAD, "choices": [], **figures(4)})], 4),
        ([with_text("a", **figures(2)), with_text("b")], None),
        ([event({"reasoning": "a"}, **figures(2)), with_text("b", **figures(5))], None),
        ([with_text("a", usage=None)], None),
        ([with_text("a", **figures(-1))], None),
        ([with_text("a")], None),
    ],
)
def test_tokens_are_known_where_the_engine_told_with_the_last_text(blocks: list[bytes], tokens: int | None) -> None:
    delivered = noted(event({"role": "assistant", "content": ""}, **figures(0)), *blocks)
    assert delivered.content_tokens == tokens
    assert delivered.tokens == (delivered.text_events if tokens is None else tokens)


def test_figures_grow_old_with_the_next_texts() -> None:
    journal = Journal()
    journal.note(with_text("a", **figures(3)))
    journal.begin_texts("content")
    assert journal.delivered().content_tokens == 3
    journal.texts.append(b"b")
    assert journal.delivered().content_tokens is None


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("by_text", [False, True])
def test_a_text_is_kept_up_to_a_bound(over: bool, by_text: bool) -> None:
    journal = Journal()
    journal.note(event({"role": "assistant", "reasoning": "x" * (MOST_KEPT_BYTES // 2)}))
    journal.begin_texts("content")
    part = "y" * 1024
    for _part in range(MOST_KEPT_BYTES // 2 // 1024):
        journal.texts.append(part.encode()) if by_text else journal.note(with_text(part))
    if over:
        journal.note(with_text("z"))
    delivered = journal.delivered()
    assert delivered.overflow is over
    assert len(delivered.content) == len(delivered.reasoning) == (0 if over else MOST_KEPT_BYTES // 2)
    assert delivered.text_events == 512 + over
    assert (delivered.role, delivered.identity) == (True, IDENTITY)
    journal.note(with_text("z"))
    assert journal.delivered().overflow, "and it stays so"
    assert not journal.delivered().content


@pytest.mark.parametrize("block", [b": ping\n\n", b"data: {}\n\n", event({"tool_calls": [{"index": 0}]})])
def test_what_is_noted_takes_little_room(block: bytes) -> None:
    journal = Journal()
    tracemalloc.start()
    try:
        before, _peak = tracemalloc.get_traced_memory()
        for _time in range(2000):
            journal.note(bytes(bytearray(block)))
        after, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2 * MOST_UNREAD_BYTES


def test_nothing_is_read_of_a_stream_of_usual_length() -> None:
    journal = Journal()
    sender = Sender(journal)
    for number in range(200):
        sender.send(with_text(f" {number}"))
    journal.note(with_text("", usage=None))
    assert journal._reading.delivered() == NOTHING
    assert journal.delivered().content == "".join(f" {number}" for number in range(200))


@pytest.mark.parametrize("by_text", [False, True])
@pytest.mark.parametrize(
    ("texts", "white_events", "split"),
    [
        (["foo", "\n", "\t"], 2, True),
        (["foo\n", "\t"], 1, True),
        (["foo", ".\n"], 0, False),
        (["foo", "\n\n"], 1, False),
        (["\n", " "], 2, True),
        ([" "], 1, True),
        (["a", " ", "b"], 0, False),
        (["a" * 3, *["\n"] * (MOST_TEXTS + 5)], MOST_TEXTS, True),
    ],
)
def test_white_space_at_the_end_is_told_apart_by_events(
    texts: list[str], white_events: int, split: bool, by_text: bool
) -> None:
    journal = Journal()
    if by_text:
        journal.begin_texts("content")
        for text in texts:
            journal.texts.append(json.dumps(text)[1:-1].encode())
            if len(journal.texts) >= MOST_TEXTS:
                journal.trim()
    else:
        for text in texts:
            journal.note(with_text(text))
    delivered = journal.delivered()
    assert delivered.content == "".join(texts)
    assert (delivered.white_events, delivered.split_white) == (white_events, split)
