"""Is every kind of server told from the others by what it does with half of its own answer?"""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.continuation.ability import Ability, Rung
from app.services.core.continuation.asking import Failed, Found, Subject, Unclear
from app.services.core.continuation.canary import BEGINNINGS, QUESTIONS, chat_trial, text_trial
from tests.fakes.speaker import PLANETS, THINKING, Engine, Speaker, decide, refusal

VLLM = Subject("there", Engine())
LLAMACPP = Subject("there", Engine("llama.cpp"))
PLAIN = Subject("there", Engine("unknown"))
NOTHING = Ability(chat=Rung.NONE)


def chat(speaker: Speaker, subject: Subject = PLAIN) -> Found | Unclear:
    return decide(chat_trial(subject, {}), speaker)


def ability(speaker: Speaker, subject: Subject = PLAIN) -> Ability:
    verdict = chat(speaker, subject)
    assert isinstance(verdict, Found), verdict
    return verdict.ability


def test_a_server_that_goes_on_with_the_flags_is_found_by_three_answers():
    speaker = Speaker()
    assert ability(speaker) == Ability(chat=Rung.FLAGS)
    (_, first), (path, second), (_, third) = speaker.asked
    assert first == {
        "model": "there",
        "messages": [{"role": "user", "content": QUESTIONS[0]}],
        "temperature": 0,
        "seed": 0,
        "max_tokens": 24,
        "stream": True,
    }
    assert path == "/v1/chat/completions"
    assert (second["continue_final_message"], second["add_generation_prompt"]) == (True, False)
    half = second["messages"][-1]["content"]
    assert PLANETS.startswith(half)
    assert not half[-1].isspace()
    assert third["messages"][-1]["content"][-1].isspace()


def test_a_server_that_goes_on_with_a_trailing_message_alone_is_found_after_two_refusals():
    speaker = Speaker(flags="refuses")
    assert ability(speaker) == Ability(chat=Rung.TRAILING)
    flagged = [body for _, body in speaker.asked if "continue_final_message" in body]
    assert len(flagged) == 2


def test_a_server_that_ignores_the_flags_but_not_the_message_is_found_after_two_mismatches():
    assert ability(Speaker(flags="begins anew")).chat is Rung.TRAILING


@pytest.mark.parametrize("way", ["begins anew", "refuses", "says nothing"])
def test_a_server_that_never_goes_on_is_unable_and_its_owner_reads_why(way):
    found = ability(Speaker(flags=way, trailing=way))
    assert found.chat is Rung.NONE
    words = {
        "begins anew": "begins anew",
        "refuses": "answered 400: the last message must not be the assistant's",
        "says nothing": "says nothing more",
    }
    assert found.reason == (
        f"with continue_final_message: {_said(words[way], way)}; "
        f"with a trailing message alone: {_said(words[way], way)}"
    )
    assert "Mercury" not in found.reason


def _said(words: str, way: str) -> str:
    return words if way == "refuses" else f"it {words}"


@pytest.mark.parametrize(("engine", "renders", "rung"), [("llama.cpp", "text", "TEXT"), ("vllm", "ids", "TOKENS")])
def test_an_engine_that_renders_its_own_template_goes_on_as_text(engine, renders, rung):
    speaker = Speaker(flags="begins anew", trailing="begins anew", renders=renders)
    assert ability(speaker, Subject("there", Engine(engine))).chat is Rung[rung]


def test_an_engine_that_does_not_render_after_all_is_unable():
    speaker = Speaker(flags="begins anew", trailing="begins anew")
    found = ability(speaker, VLLM)
    assert found.chat is Rung.NONE
    assert "with the chat as plain text: answered 404: no such route" in found.reason


NO_TEMPLATE = (422, b'{"error":{"message":"no chat template"}}')


@pytest.mark.parametrize(
    ("side", "first", "reason"),
    [
        ((200, b'{"prompt": 7}'), True, "the engine did not render the chat"),
        ((200, b"[]"), False, "the engine did not render the chat"),
        (NO_TEMPLATE, True, "answered 422: no chat template"),
        (NO_TEMPLATE, False, "answered 422: no chat template"),
        ((200, b'{"prompt": "text"}'), False, "those of the delivered text are missing"),
        ((200, b'{"tokens": [77, 78]}'), False, "it goes on otherwise than it did at first"),
    ],
)
def test_an_engine_that_renders_nonsense_is_unable(side, first, reason):
    found = ability(Sided(side, first=first), VLLM)
    assert found.chat is Rung.NONE
    assert reason in found.reason.partition("as plain text: ")[2]


def test_a_fault_while_a_chat_is_rendered_decides_nothing():
    for side, lost in ((Failed("reset"), True), ((503, b""), False)):
        verdict = chat(Sided(side, first=True), VLLM)
        assert isinstance(verdict, Unclear)
        assert verdict.is_lost is lost


class Sided(Speaker):
    """Goes on as plain text alone; the first or the second side question has this answer."""

    def __init__(self, side: Any, *, first: bool) -> None:
        super().__init__(flags="refuses", trailing="refuses", renders="ids")
        self.side = side
        self.first = first

    def respond(self, path: str, raw: bytes) -> Any:
        reply = super().respond(path, raw)
        return self.side if path == "/tokenize" and (b"messages" in raw) is self.first else reply


def test_no_server_is_asked_to_render_whose_engine_is_not_known_to():
    speaker = Speaker(flags="begins anew", trailing="begins anew", renders="text")
    assert ability(speaker).chat is Rung.NONE
    assert {path for path, _ in speaker.asked} == {"/v1/chat/completions"}


@pytest.mark.parametrize("trims", [True, False])
def test_lost_white_space_is_found(trims):
    assert ability(Speaker(trims=trims)).trims is trims


def test_where_no_white_space_is_to_be_lost_it_counts_as_lost():
    assert ability(Speaker(text="一二三四五六七八九十百千万億兆京垓秭穣溝澗正載極")).trims


def test_a_fault_in_the_last_try_does_not_undo_the_verdict():
    class Dying(Speaker):
        def respond(self, path: str, raw: bytes) -> Any:
            return Failed("connection refused") if len(self.asked) == 2 else super().respond(path, raw)

    assert ability(Dying()) == Ability(chat=Rung.FLAGS, trims=True)


def test_a_model_that_thinks_is_kept_from_it():
    speaker = Speaker(thinks=("Let me think. ",) * 30)
    assert ability(speaker) == Ability(chat=Rung.FLAGS, thinking_off=True)
    asked = [body.get(THINKING) for _, body in speaker.asked]
    assert asked == [None, *[{"enable_thinking": False}] * 3]


def test_a_model_that_says_that_its_thinking_stands_in_the_way_is_kept_from_it():
    speaker = Speaker(prefill_needs_quiet=True)
    assert ability(speaker) == Ability(chat=Rung.FLAGS, thinking_off=True)


def test_a_model_that_thinks_anew_behind_its_words_is_kept_from_it():
    class Anew(Speaker):
        def _say(self, body: dict[str, Any], said: str, *rest: Any, **more: Any) -> Any:
            self.thinks = ("Hm. ",) if said else ()
            return super()._say(body, said, *rest, **more)

    assert ability(Anew()) == Ability(chat=Rung.FLAGS, thinking_off=True)


def test_a_model_that_can_not_be_kept_from_thinking_is_given_room_for_it():
    speaker = Speaker(thinks=("Hm. ",) * 30, quiet_works=False)
    found = ability(speaker)
    assert found.chat is Rung.NONE
    assert {body["max_tokens"] for _, body in speaker.asked} >= {24, 512}
    assert "thinks anew" in found.reason


def test_a_model_that_refuses_to_be_kept_from_thinking_is_taken_as_it_is():
    class Stubborn(Speaker):
        def _chat(self, body: dict[str, Any]) -> Any:
            return refusal("chat_template_kwargs is not supported") if THINKING in body else super()._chat(body)

    speaker = Stubborn(thinks=("Hm. ",) * 3)
    assert ability(speaker).chat is Rung.NONE
    assert 512 not in {body["max_tokens"] for _, body in speaker.asked}


def test_a_fault_while_steadiness_is_looked_at_leaves_the_verdict():
    speaker = Speaker(flags="begins anew", trailing="begins anew")
    ability(speaker)
    before_the_look = len(speaker.asked) - 2
    verdict = decide(
        chat_trial(PLAIN, {}), Faulty(Speaker(flags="begins anew", trailing="begins anew"), before_the_look)
    )
    assert isinstance(verdict, Found)
    assert "it begins anew" in verdict.ability.reason


def test_endless_thoughts_decide_nothing():
    verdict = chat(Speaker(thinks=("Hm. ",) * 1000, quiet_works=False))
    assert verdict == Unclear("its answer was thoughts alone", {})


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Failed("connection refused"), "connection refused"),
        ((500, b"{}"), "answered 500"),
        ((503, b"Loading model"), "answered 503"),
        ((429, b"{}"), "answered 429"),
        ((401, b"{}"), "answered 401"),
        ((307, b""), "answered 307"),
        ((200, b""), "its answer broke off"),
        ((200, b"\xff\xfe\x00"), "its answer broke off"),
        ((200, b'data: {"choices":[{"delta":{"content":"half an ans'), "its answer broke off"),
        ((200, b'data: {"choices":[{"delta":{"content":"a b c d e"}}]}\n\ndata: [DONE]\n\n'), "its answer broke off"),
        ((200, b'data: {"error":{"message":"busy","code":503}}\n\n'), "answered with an error"),
        ((200, b'data: {"object":"error","message":"busy","code":503}\n\n'), "answered with an error"),
        ((200, b'event: error\ndata: {"error": [1]}\n\n'), "answered with an error"),
        ((200, b'{"error":"no such path"}'), "answered with an error"),
        ((200, b'{"choices":[]}'), "its answer is empty"),
        ((200, b'{"choices":[{"message":{"content":"Mercury is"}}]}'), "its answer broke off"),
        ((200, b'{"choices":' + b"[" * 5000), "its answer can't be read"),
        ((200, b'{"choices":[{"message":{"content":" "},"finish_reason":"stop"}]}'), "its answer was empty"),
    ],
)
@pytest.mark.parametrize("kind", [chat_trial, text_trial])
def test_what_may_pass_decides_nothing(reply, reason, kind):
    lost = isinstance(reply, Failed)
    assert decide(kind(VLLM, {}), Speaker(faults=[reply])) == Unclear(reason, {}, is_lost=lost)


@pytest.mark.parametrize("status", [400, 404, 405, 415, 422, 501])
def test_a_model_that_is_no_chat_model_is_unable_after_two_refusals(status):
    refused = (status, b'{"error":{"message":"This model does not support chats"}}')
    speaker = Speaker(faults=[refused] * 9)
    reason = f"asked for an answer: answered {status}: This model does not support chats"
    assert ability(speaker, VLLM) == Ability(chat=Rung.NONE, reason=reason)
    assert len(speaker.asked) == 2


def test_a_refusal_may_come_as_an_event():
    refused = (200, b'data: {"error":{"message":"no chat template","type":"BadRequestError","code":400}}\n\n')
    assert ability(Speaker(faults=[refused] * 2)).reason == "asked for an answer: answered 400: no chat template"


def test_what_was_counted_before_a_fault_counts_on():
    speaker = Speaker(flags="refuses")
    first = decide(chat_trial(PLAIN, {}), Faulty(speaker, at=2))
    assert isinstance(first, Unclear)
    assert {way: miss.count for way, miss in first.misses.items()} == {"with continue_final_message": 1}
    speaker.asked.clear()
    assert isinstance(decide(chat_trial(PLAIN, first.misses), speaker), Found)
    assert sum("continue_final_message" in body for _, body in speaker.asked) == 1


class Faulty(Speaker):
    """Another speaker, but for one request that is lost."""

    def __init__(self, speaker: Speaker, at: int) -> None:
        super().__init__()
        self.speaker = speaker
        self.at = at

    def respond(self, path: str, raw: bytes) -> Any:
        reply = self.speaker.respond(path, raw)
        return Failed("reset") if len(self.speaker.asked) == self.at + 1 else reply


@given(st.integers(0, 12))
def test_a_fault_at_any_moment_never_makes_a_server_unable(at):
    for speaker in (Speaker(), Speaker(flags="refuses"), Speaker(flags="begins anew", trims=True)):
        verdict = decide(chat_trial(VLLM, {}), Faulty(speaker, at))
        assert isinstance(verdict, Unclear) or verdict.ability.chat in (Rung.FLAGS, Rung.TRAILING)


@pytest.mark.parametrize("text", ["ha " * 40, "na" * 60, "yes", "tick tock " * 20, "a"])
def test_an_answer_that_repeats_itself_or_is_too_short_tells_nothing(text):
    for way in ("goes on", "begins anew"):
        verdict = chat(Speaker(text=text, flags=way, trailing=way))
        assert isinstance(verdict, Unclear)
        assert "nothing can be told" in verdict.reason


def test_another_question_is_asked_where_one_tells_nothing():
    speaker = Speaker(text=lambda question: "ha " * 40 if question == QUESTIONS[0] else PLANETS)
    assert ability(speaker).chat is Rung.FLAGS
    assert speaker.asked[1][1]["messages"][0]["content"] == QUESTIONS[1]


def test_a_model_whose_answers_differ_from_run_to_run_is_unable_and_said_to_be():
    numbers = count()
    found = ability(Speaker(text=lambda _question: f"Run {next(numbers)} says: {PLANETS}"))
    assert found == Ability(chat=Rung.NONE, reason="its answers at temperature 0 differ from one time to the next")


@pytest.mark.parametrize("tokens_per_event", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("text", [PLANETS, PLANETS[:60], "Größe, Überfluß und naïve Ångström: ein Satz von vielen."])
def test_events_need_not_be_tokens(tokens_per_event, streams, text):
    speaker = Speaker(text=text, tokens_per_event=tokens_per_event, streams=streams)
    assert ability(speaker).chat is Rung.FLAGS
    anew = Speaker(
        text=text, tokens_per_event=tokens_per_event, streams=streams, flags="begins anew", trailing="begins anew"
    )
    assert ability(anew).chat is Rung.NONE


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200))
def test_whatever_a_model_says_beginning_anew_never_passes_for_going_on(text):
    verdict = chat(Speaker(text=text, flags="begins anew", trailing="begins anew"))
    assert isinstance(verdict, Unclear) or verdict.ability.chat is Rung.NONE


@given(st.lists(st.sampled_from(["ha", " ha", " he", "\n", " ho", "a"]), min_size=1, max_size=60).map("".join))
def test_however_much_an_answer_repeats_itself_the_two_are_told_apart(text):
    anew = chat(Speaker(text=text, flags="begins anew", trailing="begins anew"))
    assert isinstance(anew, Unclear) or anew.ability.chat is Rung.NONE
    on = chat(Speaker(text=text))
    assert isinstance(on, Unclear) or on.ability.chat is Rung.FLAGS


def test_completions_go_on_with_the_text_behind_the_prompt():
    speaker = Speaker()
    verdict = decide(text_trial(PLAIN, {}), speaker)
    assert verdict == Found(Ability(text=Rung.TEXT))
    (path, first), (_, second) = speaker.asked
    assert path == "/v1/completions"
    assert first["prompt"] == BEGINNINGS[0]
    assert second["prompt"].startswith(BEGINNINGS[0])
    assert len(second["prompt"]) > len(BEGINNINGS[0])


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("refuses", "asked for an answer: answered 404: no completions here"),
        ("begins anew", "with the text behind the prompt: it begins anew"),
    ],
)
def test_completions_that_do_not_go_on_are_found(way, reason):
    verdict = decide(text_trial(PLAIN, {}), Speaker(completions=way))
    assert verdict == Found(Ability(text=Rung.NONE, reason=reason))
