"""The seam: events of a later server as if the first had sent them, changed in what they must and in nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.services.core.answer import sse
from app.services.core.answer.sse import DONE, PING
from app.services.core.answer.template import Template
from app.services.core.answer.usage import Usage
from app.services.core.continuation.asked import Asked
from app.services.core.continuation.delivered import NOTHING, Delivered, Identity
from app.services.core.continuation.seam import Seam

IDENTITY = Identity(b'"first"', b"1", b'"llama"')
HELLO = Delivered(IDENTITY, role=True, content="Hello", text_events=2)
CHAT = Asked(chat=True)


def event(delta: dict[str, Any] | None, reason: str | None = None, **members: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    payload = {"id": "second", "object": "chat.completion.chunk", "created": 2, "model": "m", "choices": choices}
    return b"data: " + json.dumps(payload | members, separators=(",", ":")).encode() + b"\n\n"


def text_event(text: str, reason: str | None = None, **members: Any) -> bytes:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
    return event(None, object="text_completion", choices=[choice], **members)


def seam(delivered: Delivered = HELLO, asked: Asked = CHAT, **options: Any) -> Seam:
    settled: dict[str, Any] = {"anew": False, "trims": False, "tokens": delivered.tokens, "hide_usage": False}
    return Seam(asked, delivered, **(settled | options))


def read(block: bytes) -> list[Any]:
    payloads = [sse.data_of(single).strip() for single in sse.events_of(block) if sse.has_data(single)]
    return [data.decode() if data == b"[DONE]" else json.loads(data) for data in payloads]


def deltas(block: bytes) -> list[dict[str, Any]]:
    return [choice["delta"] for told in read(block) if told != "[DONE]" for choice in told["choices"]]


# -- identity and form


def test_events_are_of_the_first_stream_and_else_as_the_server_wrote_them() -> None:
    single = (
        b'data: {"id":"second","x":[1.50e3,"\\u00e9\\/"],"created":2,"model":"m","choices":[{"index":0,'
        b'"delta":{"content":"\\u00e9 \xc3\xa9"},"stop_reason":null}],"system_fingerprint":"f"}\n\n'
    )
    assert seam().join(single) == single.replace(b'"second"', b'"first"').replace(
        b'"created":2', b'"created":1'
    ).replace(b'"m"', b'"llama"')


def test_members_that_the_first_server_lacked_stay_and_those_that_the_second_lacks_are_added() -> None:
    single = b'data: {"id":"second","created":2,"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    (told,) = read(seam(Delivered(Identity(b'"first"', b"", b'"llama"'), role=True, content="a")).join(single))
    assert (told["id"], told["created"], told["model"]) == ("first", 2, "llama")


def test_nothing_delivered_means_a_stream_of_its_own() -> None:
    joined = seam(NOTHING, anew=True)
    assert read(joined.join(event({"role": "assistant", "content": "x"}))) == read(
        event({"role": "assistant", "content": "x"})
    )


@pytest.mark.parametrize(
    "single",
    [
        b"data: 1\n\n",
        b"data: [1]\n\n",
        b"data: {\n\n",
        b'data: {"a":1}\n\n',
        b'data: {"choices":null}\n\n',
        b"data:\n\n",
    ],
)
def test_what_is_not_known_goes_on_unharmed(single: bytes) -> None:
    assert seam().join(single) == single


def test_comments_and_one_done_pass() -> None:
    joined = seam()
    assert joined.join(PING) == PING
    assert joined.join(b": x\n\n" + DONE) == b": x\n\n" + DONE
    assert joined.join(DONE) == b""
    assert joined.join(event({"content": "late"})) == b""


def test_line_ends_and_other_fields_stay() -> None:
    single = event({"content": "x"}).replace(b"\n\n", b"\r\n\r\n")
    framed = b": ping\r\nid: 7\r\n" + single
    assert seam().join(framed) == b": ping\r\nid: 7\r\n" + seam().join(event({"content": "x"})).replace(
        b"\n\n", b"\r\n\r\n"
    )


def test_several_events_of_one_block_are_several_events() -> None:
    block = event({"role": "assistant", "content": ""}) + event({"content": "a"}) + PING + event({"content": "b"})
    assert deltas(seam().join(block)) == [{"content": "a"}, {"content": "b"}]


# -- role, thoughts, calls


def test_no_second_role() -> None:
    assert seam().join(event({"role": "assistant", "content": ""})) == b""
    assert deltas(seam().join(event({"role": "assistant", "content": "x"}))) == [{"content": "x"}]
    no_role = Delivered(IDENTITY, content="a")
    assert deltas(seam(no_role).join(event({"role": "assistant", "content": ""}))) == [
        {"role": "assistant", "content": ""}
    ]


def test_other_choices_than_the_first_had_nothing_delivered() -> None:
    choices = [{"index": index, "delta": {"role": "assistant"}, "finish_reason": None} for index in (0, 1)]
    (told,) = read(seam(Delivered(IDENTITY, role=True), anew=True).join(event(None, choices=choices)))
    assert [choice["delta"] for choice in told["choices"]] == [{}, {"role": "assistant"}]


def test_an_event_that_says_something_unknown_is_kept() -> None:
    assert deltas(seam().join(event({"annotations": [1]}))) == [{"annotations": [1]}]
    assert deltas(seam().join(event({"content": " "}))) == [{"content": " "}]


def test_thoughts_are_dropped_once_the_answer_has_begun() -> None:
    joined = seam()
    assert joined.join(event({"content": "", "reasoning_content": "hm"})) == b""
    assert joined.join(event({"content": None, "reasoning": "hm", "reasoning_content": "hm"})) == b""
    assert deltas(joined.join(event({"reasoning": "so", "content": "x"}))) == [{"content": "x"}]


def test_thoughts_shown_before_are_left_out_and_new_ones_stand_in_the_same_member() -> None:
    thought = Delivered(IDENTITY, role=True, reasoning="let me", reasoning_member="reasoning_content")
    joined = seam(thought, anew=True)
    said = [joined.join(event({"reasoning": text})) for text in ("let", " me see", " now")]
    assert [deltas(block) for block in said] == [
        [],
        [{"reasoning_content": " see"}],
        [{"reasoning_content": " now"}],
    ]
    assert deltas(joined.join(event({"content": "x"}))) == [{"content": "x"}]


def test_other_thoughts_are_not_shown() -> None:
    joined = seam(Delivered(IDENTITY, role=True, reasoning="let me", reasoning_member="reasoning"), anew=True)
    block = joined.join(event({"reasoning": "well"}) + event({"reasoning": "let me", "content": "x"}))
    assert deltas(block) == [{"content": "x"}]


def test_calls_pass() -> None:
    call = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}
    assert deltas(seam().join(event(call) + event({}, "tool_calls"))) == [call, {}]


# -- white space, stop strings


def test_white_space_that_was_cut_off_comes_once() -> None:
    joined = seam(Delivered(IDENTITY, role=True, content="a: \n", text_events=3), trims=True)
    block = joined.join(event({"content": " "}) + event({"content": "\nb"}) + event({"content": " c"}))
    assert deltas(block) == [{"content": "b"}, {"content": " c"}]
    assert joined.merged(Usage(12, 5)) == Usage(10, 7, estimated=True)


STOPS = Asked(chat=True, stops=("lo there", "END"))


def test_a_text_waits_only_while_a_stop_string_is_possible() -> None:
    joined = seam(asked=STOPS)
    assert joined.join(event({"content": " th"})) == b""
    assert deltas(joined.join(event({"content": "ing"}))) == [{"content": " thing"}]
    assert deltas(joined.join(event({"content": " there"}))) == [{"content": " there"}]


@pytest.mark.parametrize("last", [event({}, "stop"), event({"content": ""}, "length"), event({"tool_calls": [1]})])
def test_what_waited_goes_out_before_the_end(last: bytes) -> None:
    joined = seam(asked=STOPS)
    assert joined.join(event({"content": " the"})) == b""
    first, second = read(joined.join(last))
    assert first["choices"][0]["delta"] == {"content": " the"}
    assert (first["id"], first["created"], first["model"]) == ("first", 1, "llama")
    assert second["choices"][0]["finish_reason"] == json.loads(last[6:])["choices"][0]["finish_reason"]


def test_what_waited_goes_out_with_the_last_text_or_before_done() -> None:
    joined = seam(asked=STOPS)
    assert joined.join(event({"content": " t"})) == b""
    (told,) = read(joined.join(event({"content": "he"}, "length")))
    assert told["choices"][0] == {"index": 0, "delta": {"content": " the"}, "finish_reason": "length"}
    odd = seam(asked=STOPS)
    assert odd.join(event({"content": " t"})) == b""
    first, done = read(odd.join(DONE))
    assert (first["choices"][0]["delta"], done) == ({"content": " t"}, "[DONE]")


def test_figures_do_not_wait() -> None:
    joined = seam(asked=STOPS)
    told = read(joined.join(event({"content": " t"}, usage={"prompt_tokens": 9, "completion_tokens": 1})))
    assert told[0]["choices"][0]["delta"] == {"content": ""}
    assert told[0]["usage"] == {"prompt_tokens": 7, "completion_tokens": 3}


@pytest.mark.parametrize(("keeps_stop", "text"), [(False, []), (True, [{"content": " there"}])])
def test_a_stop_string_across_the_seam_ends_the_answer(keeps_stop: bool, text: list[dict[str, str]]) -> None:
    joined = seam(asked=Asked(chat=True, stops=("lo there",), keeps_stop=keeps_stop))
    assert not joined.stopped
    block = joined.join(event({"content": " there, you"}) + event({"content": "!"}) + DONE)
    assert joined.stopped
    assert deltas(block) == [*text, {}]
    last = read(block)[-1]
    assert (last["choices"][0]["finish_reason"], last["id"]) == ("stop", "first")
    assert joined.join(event({"content": "more"})) == b""


def test_a_stop_string_in_a_completion() -> None:
    joined = seam(Delivered(IDENTITY, content="Hello"), Asked(chat=False, stops=("lo there",)))
    assert joined.join(text_event(" the")) == b""
    (told,) = read(joined.join(text_event("re")))
    assert told["object"] == "text_completion"
    assert told["choices"] == [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]


def test_no_stop_string_counts_before_the_least_number_of_tokens() -> None:
    joined = seam(asked=Asked(chat=True, stops=("lo!",), min_tokens=3))
    assert deltas(joined.join(event({"content": "!"}) + event({"content": "x"}))) == [{"content": "!x"}]
    assert not joined.stopped


def test_made_anew_nothing_was_delivered_that_a_stop_string_could_begin_in() -> None:
    joined = seam(Delivered(IDENTITY, role=True, reasoning="lo", reasoning_member="reasoning"), STOPS, anew=True)
    assert deltas(joined.join(event({"content": " there"}))) == [{"content": " there"}]


# -- figures


def test_figures_are_those_of_the_whole_answer() -> None:
    closing = event(None, usage={"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17})
    (told,) = read(seam(tokens=2).join(closing))
    assert told["usage"] == {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}
    assert told["id"] == "first"
    assert read(seam(anew=True).join(closing))[0]["usage"]["prompt_tokens"] == 12
    assert seam(hide_usage=True).join(closing) == b""
    assert read(seam().join(closing.replace(b'"choices":[]', b'"choices":null')))[0]["choices"] == []


def test_the_ledger_gets_the_same_figures() -> None:
    assert seam(Delivered(IDENTITY, content="a", content_tokens=2)).merged(Usage(12, 5)) == Usage(10, 7)
    assert seam().merged(Usage(12, 5)) == Usage(10, 7, estimated=True)
    assert seam(tokens=3).merged(Usage(12, 5)) == Usage(9, 8)
    assert seam(anew=True).merged(Usage(12, 5)) == Usage(12, 5)
    assert seam().merged(None) is None


# -- a chat that goes on as a completion


def test_a_completion_is_told_as_a_chat() -> None:
    joined = seam(from_completions=True)
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    block = joined.join(text_event(" you") + text_event("") + text_event("", "stop") + event(None, usage=usage) + DONE)
    first, last, figures, done = read(block)
    assert {first["object"], last["object"], figures["object"]} == {"chat.completion.chunk"}
    assert first["choices"] == [{"index": 0, "delta": {"content": " you"}, "logprobs": None, "finish_reason": None}]
    assert last["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert figures["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert done == "[DONE]"


def test_a_role_that_was_not_delivered_comes_with_the_first_of_it() -> None:
    joined = seam(Delivered(IDENTITY, content="Hello"), from_completions=True)
    blocks = [joined.join(text_event(text)) for text in (" you", " there", "!", "?")]
    assert [deltas(block) for block in blocks] == [
        [{"role": "assistant", "content": " you"}], [{"content": " there"}], [{"content": "!"}], [{"content": "?"}]
    ]  # fmt: skip


# -- events that are alike


@pytest.mark.parametrize("from_completions", [False, True])
def test_events_that_are_alike_are_joined_alike(from_completions: bool) -> None:
    texts = ["a", "b\\n", '"', "\\u00e9\u00e9", "data: [DONE]", '"content":"x"', "\U0001f600", " ", "", "z"]
    write = text_event if from_completions else lambda text: event({"content": text})
    quick = seam(from_completions=from_completions)
    for text in texts:
        said = quick.join(write(text))
        assert said == seam(from_completions=from_completions).join(write(text))
    assert quick.template is not None


def test_events_are_read_again_when_they_change() -> None:
    joined = seam()
    made = [joined.join(event({"content": "x"}, created=second)) for second in (2, 2, 2, 3, 3, 4)]
    assert len(set(made)) == 1
    assert read(joined.join(event({"content": "x"}, "stop")))[0]["choices"][0]["finish_reason"] == "stop"
    counted = [
        read(joined.join(event({"content": "x"}, usage={"prompt_tokens": 9, "completion_tokens": count})))[0]
        for count in range(1, 9)
    ]
    assert [told["usage"]["completion_tokens"] for told in counted] == list(range(3, 11))


def test_what_changes_now_and_then_is_learned_each_time() -> None:
    joined = seam()
    joined.join(event({"content": "x"}))
    for second in range(8):
        for _ in range(3):
            joined.join(event({"content": "x"}, created=second))
        assert joined.template is not None


def test_the_role_comes_once_whatever_came_before_it() -> None:
    joined = seam(Delivered(IDENTITY, content="Hello"), from_completions=True)
    joined.join(event(None, usage={"prompt_tokens": 9}))
    said = [deltas(joined.join(text_event(text))) for text in ("a", "b", "c")]
    assert said == [[{"role": "assistant", "content": "a"}], [{"content": "b"}], [{"content": "c"}]]


def test_nothing_is_taken_for_alike_while_something_is_awaited() -> None:
    joined = seam(Delivered(IDENTITY, role=True, content="Hel", text_events=1), Asked(chat=True, stops=("llll!",)))
    assert joined.join(event({"content": "l"}) * 2) == b""
    assert joined.template is None
    assert deltas(joined.join(event({"content": "o"}))) == [{"content": "llo"}]
    joined.join(event({"content": "x"}))
    assert joined.template is not None
    joined.join(DONE)
    assert joined.join(event({"content": "x"})) == b""


def test_the_short_cut_goes_on_from_that_of_the_relay() -> None:
    joined, raw = seam(), event({"content": "raw"}, model="upstream")
    relayed = Template.of(raw, b'"m"')
    assert relayed is not None
    assert joined.beyond(relayed) is None
    for text in ("a", "b"):
        joined.join(event({"content": text}))
    template = joined.beyond(relayed)
    assert template is not None
    assert template.filled_with(b"x") == joined.join(event({"content": "x"}))
    assert (template.text_of(raw, 0, len(raw)), template.member, template.renames) == (b"raw", "content", True)
    other = Template.of(event({"content": "x"}, created=3), None)
    assert other is not None
    assert joined.beyond(other) is None


def test_figures_leave_out_all_the_white_space_that_came_again() -> None:
    delivered = Delivered(IDENTITY, role=True, content="x\n\t", text_events=3, white_events=2, split_white=True)
    joining = seam(delivered, trims=True)
    assert "".join(delta.get("content", "") for delta in deltas(joining.join(event({"content": "\n\ty"})))) == "y"
    assert joining.merged(Usage(8, 4)) == Usage(7, 5, estimated=True)
