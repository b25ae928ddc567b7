"""The joined stream: whatever breaks wherever, a client reads the answer that one server would have given."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from app.services.core.answer.relay import EventRelay
from app.services.core.answer.sse import data_of, events_of, has_data
from app.services.core.answer.usage import Usage
from app.services.core.continuation.endings import closing
from app.services.core.continuation.journal import Journal
from app.services.core.continuation.judgement import Anew, Complete, Impossible, judge
from app.services.core.continuation.seam import Seam
from app.services.core.continuation.stops import ends_in_stop
from tests.fakes.spoken_stream import (
    HOLDING,
    NAIVE,
    PARTIAL,
    PROMPT_TOKENS,
    Answer,
    Engine,
    figures,
    leg_of,
    reads_of,
    said_by_one,
    stop_in,
)

PUBLIC_MODEL = "llama"


@dataclass
class Client:
    """What a client reads."""

    legs: list[bytes] = field(default_factory=list)

    @property
    def payloads(self) -> list[bytes]:
        return [data_of(event).strip() for event in events_of(b"".join(self.legs)) if has_data(event)]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [json.loads(data) for data in self.payloads if data != b"[DONE]"]

    @property
    def choices(self) -> list[dict[str, Any]]:
        return [choice for chunk in self.chunks for choice in chunk["choices"]]

    def text(self, *members: str) -> str:
        said = [choice.get("delta", choice) for choice in self.choices]
        halves = "".join(delta.get(member) or "" for delta in said for member in members)
        return halves.encode("utf-16", "surrogatepass").decode("utf-16")

    @property
    def answer(self) -> str:
        return self.text("content", "text")

    @property
    def reasons(self) -> list[str]:
        return [choice["finish_reason"] for choice in self.choices if choice["finish_reason"]]

    @property
    def closing_figures(self) -> list[dict[str, int]]:
        return [chunk["usage"] for chunk in self.chunks if not chunk["choices"]]


@dataclass
class Story:
    """One answer over all its breaks."""

    answer: Answer
    client: Client = field(default_factory=Client)
    journal: Journal = field(default_factory=Journal)
    seam: Seam | None = None
    sent: str = ""
    usage: Usage | None = None
    stopped: bool = False

    def play(self, engine: Engine, cut: float, random: Random) -> bool:
        """Have one server speak until it breaks; tell whether the answer is at its end."""
        stream = leg_of(engine, self.answer, self.sent, random)
        model = json.dumps(PUBLIC_MODEL).encode()
        relay = EventRelay(model, hide_usage=False, may_be_more=False, journal=self.journal, seam=self.seam)
        out = []
        for read in reads_of(engine, stream[: int(cut * len(stream))], random):
            out.append(relay.feed(read))
            if relay.stopped:
                break
        self.stopped = relay.stopped
        if self.stopped:
            self.usage = relay.usage() or Usage(PROMPT_TOKENS, 0, estimated=True)
            out.append(closing(self.answer.asked, self.journal.delivered(), None, self.usage))
        elif relay.finished:
            self.usage = relay.usage()
            out.append(relay.end())
        self.client.legs.append(b"".join(out))
        return relay.finished or relay.stopped

    def take_over(self, engine: Engine) -> Engine | None:
        """Get ready for the next server; None if none is needed."""
        delivered, asked = self.journal.delivered(), self.answer.asked
        verdict, is_stopped = judge(asked, delivered, len(delivered.content)), ends_in_stop(asked, delivered)
        assume(not isinstance(verdict, Impossible))  # it broke in the midst of a character of two halves
        if is_stopped or isinstance(verdict, Complete):
            self.usage = Usage(PROMPT_TOKENS, len(delivered.content))
            self.client.legs.append(closing(asked, delivered, "stop" if is_stopped else "length", self.usage))
            return None
        anew = isinstance(verdict, Anew)
        engine = replace(engine, chat=self.answer.chat and (engine.chat or anew))
        self.sent = delivered.content.rstrip() if engine.trims and engine.chat else delivered.content
        self.seam = Seam(
            asked,
            delivered,
            anew=anew,
            trims=engine.trims and engine.chat,
            tokens=len(delivered.content),
            hide_usage=False,
            from_completions=engine.chat is not self.answer.chat,
        )
        return engine


def told(answer: Answer, cast: list[Engine], cuts: list[float], seed: int) -> Story:
    """Play an answer: each server but the last breaks."""
    random, story = Random(seed), Story(answer)
    engine: Engine | None = replace(cast[0], chat=answer.chat)
    for number, cut in enumerate([*cuts[: len(cast) - 1], 1.0]):
        if number:
            engine = story.take_over(cast[number])
        if engine is None or story.play(engine, cut, random):
            return story
    raise AssertionError("the last server came to no end")


def check_form(story: Story) -> None:
    """One stream: one identity, one role, one reason, one end."""
    client = story.client
    assert client.payloads.count(b"[DONE]") == 1
    assert client.payloads[-1] == b"[DONE]"
    for member in ("id", "created", "model", "object"):
        assert len({chunk[member] for chunk in client.chunks}) == 1
    assert client.chunks[0]["model"] == PUBLIC_MODEL
    assert client.chunks[0]["object"] == ("chat.completion.chunk" if story.answer.chat else "text_completion")
    assert len(client.reasons) == 1
    first = next(place for place, leg in enumerate(client.legs) if leg)
    assert all(b'"role"' not in leg for leg in client.legs[first + 1 :])
    assert (b'"role"' in client.legs[first]) is story.answer.chat


CHARACTERS = st.sampled_from('aaaabbbb  \n"\\/\u00e9e\u0301\u6f22\U0001f600\U0001f468\u200d\x7f\u2028\ufeff')
TEXTS = st.text(CHARACTERS, min_size=1, max_size=40)
STOPS = st.lists(st.text("ab \U0001f600", min_size=1, max_size=4), max_size=3).map(tuple)
STOPPED_TEXTS = st.text("ab", min_size=6, max_size=40)
LONG_STOPS = st.lists(st.text("ab", min_size=3, max_size=7), min_size=1, max_size=3).map(tuple)
BOOLEANS = st.booleans()
ENGINES = st.builds(
    Engine,
    number=st.integers(1, 9),
    holds=st.sampled_from([HOLDING, PARTIAL]),
    chat=BOOLEANS,
    ascii_only=BOOLEANS,
    newline=st.sampled_from(["\n", "\n", "\r\n"]),
    comments=BOOLEANS,
    role_everywhere=BOOLEANS,
    halves=st.integers(0, 9).map(lambda number: number == 9),
    counts_on=BOOLEANS,
    ends_with_text=BOOLEANS,
    trims=BOOLEANS,
    reasoning_member=st.sampled_from(["reasoning_content", "reasoning"]),
)
CASTS = st.lists(ENGINES, min_size=1, max_size=5)
CUTS = st.lists(st.floats(0, 1), min_size=4, max_size=4)
SEEDS = st.integers(0, 2**32)
TWO = [Engine(1), Engine(2)]


@settings(max_examples=250)
@given(TEXTS, STOPS, st.none() | st.integers(1, 45), BOOLEANS, CASTS, CUTS, SEEDS)
@example("ab" * 20, ("ba b",), 30, True, TWO, [0.6] * 4, 1)
@example("\U0001f600e\u0301" * 15, (), None, True, [Engine(1, halves=True), Engine(2, chat=False)], [0.5] * 4, 3)
def test_a_client_reads_what_one_server_would_have_said(
    text: str, stops: tuple[str, ...], most: int | None, chat: bool, cast: list[Engine], cuts: list[float], seed: int
) -> None:
    answer = Answer(text, "", stops, most_tokens=most, chat=chat)
    story = told(answer, cast, cuts, seed)
    expected, reason, made = said_by_one(answer)
    check_form(story)
    assert (story.client.answer, story.client.reasons, story.stopped) == (expected, [reason], False)
    if not any(engine.trims for engine in cast):  # where white space comes again, so do its tokens
        usage = [chunk["usage"] for chunk in story.client.chunks if "usage" in chunk]
        assert all(figure["prompt_tokens"] == PROMPT_TOKENS for figure in usage)
        counted = [figure["completion_tokens"] for figure in usage]
        if not (stops and any(engine.counts_on for engine in cast)):  # who holds text back counts it all the same
            assert counted == sorted(counted)
        if story.client.closing_figures:
            assert story.client.closing_figures == [figures(0, made)]
            assert story.usage == Usage(
                PROMPT_TOKENS, made, estimated=story.usage is not None and story.usage.estimated
            )


@settings(max_examples=250)
@given(STOPPED_TEXTS, LONG_STOPS, CASTS, CUTS, SEEDS)
@example("say abab and", ("bab ",), TWO, [0.75] * 4, 1)
def test_a_stop_string_that_is_part_of_the_answer_is_found_across_the_seam(
    text: str, stops: tuple[str, ...], cast: list[Engine], cuts: list[float], seed: int
) -> None:
    answer = Answer(text, "", stops, keeps_stop=True)
    story = told(answer, cast, cuts, seed)
    expected, reason, _made = said_by_one(answer)
    check_form(story)
    assert (story.client.answer, story.client.reasons) == (expected, [reason])
    assert len(story.client.closing_figures) <= 1


@settings(max_examples=250)
@given(STOPPED_TEXTS, LONG_STOPS, CASTS, CUTS, SEEDS)
def test_an_engine_that_holds_nothing_back_shows_a_part_of_the_stop_string_at_most(
    text: str, stops: tuple[str, ...], cast: list[Engine], cuts: list[float], seed: int
) -> None:
    story = told(Answer(text, "", stops), [replace(engine, holds=NAIVE) for engine in cast], cuts, seed)
    found = stop_in(text, stops)
    check_form(story)
    assert story.client.reasons == ["stop"]
    if found is None:
        assert story.client.answer == text
    else:
        assert text[: found[1] - 1].startswith(story.client.answer)
        assert min(found[1] - len(stop) for stop in stops if text.endswith(stop, 0, found[1])) <= len(
            story.client.answer
        )


@given(TEXTS, TEXTS, CASTS, CUTS, SEEDS)
def test_thoughts_are_shown_once_and_the_answer_is_whole(
    text: str, reasoning: str, cast: list[Engine], cuts: list[float], seed: int
) -> None:
    story = told(Answer(text, reasoning), cast, cuts, seed)
    check_form(story)
    assert story.client.answer == text
    assert story.client.text("reasoning", "reasoning_content") == reasoning
    assert len({name for choice in story.client.choices for name in choice["delta"] if name.startswith("rea")}) == 1
