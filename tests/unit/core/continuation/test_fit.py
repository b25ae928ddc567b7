"""Who may take over: by what a probe found, by the context, and those most like the first before the others."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from app.services.core.choice.snapshot import Candidate
from app.services.core.continuation.ability import Ability, Rung
from app.services.core.continuation.asked import Asked
from app.services.core.continuation.delivered import NOTHING, Delivered
from app.services.core.continuation.fit import Fit, crossed, fit, needed_tokens, select
from app.services.core.prompt.demand import Demand
from app.services.core.types import Endpoint, ModelEntry, Server

CHAT, COMPLETION = Asked(chat=True), Asked(chat=False)
HELLO = Delivered(content="Hello,", text_events=2)


def server(
    name: str = "one",
    *,
    engine: str = "vllm",
    upstream: str = "theirs",
    context: int | None = None,
    ability: Ability | None = None,
) -> Candidate:
    entry = ModelEntry("m", upstream, context)
    abilities = {} if ability is None else {upstream: ability}
    endpoint = Endpoint("http", "127.0.0.1", 1)
    return Candidate(Server(name, endpoint, (entry,), engine=engine, abilities=abilities), entry)


# -- what a probe found


@pytest.mark.parametrize(
    ("ability", "of_chat", "of_completion"),
    [
        (None, Fit.UNJUDGED, Fit.UNJUDGED),
        (Ability(), Fit.UNJUDGED, Fit.UNJUDGED),
        (Ability(chat=Rung.FLAGS, text=Rung.NONE), Fit.ABLE, Fit.UNABLE),
        (Ability(chat=Rung.TRAILING, text=Rung.TEXT), Fit.ABLE, Fit.ABLE),
        (Ability(chat=Rung.TEXT), Fit.ABLE, Fit.UNJUDGED),
        (Ability(chat=Rung.TOKENS), Fit.ABLE, Fit.UNJUDGED),
        (Ability(chat=Rung.NONE, text=Rung.TEXT), Fit.UNABLE, Fit.ABLE),
        (Ability(text=Rung.FLAGS), Fit.UNJUDGED, Fit.UNABLE),
    ],
)
def test_the_rung_decides(ability: Ability | None, of_chat: Fit, of_completion: Fit) -> None:
    candidate = server(ability=ability)
    assert fit(candidate, CHAT, HELLO, anew=False) is of_chat
    assert fit(candidate, COMPLETION, HELLO, anew=False) is of_completion
    for asked in (CHAT, COMPLETION):
        assert fit(candidate, asked, NOTHING, anew=True) is Fit.ABLE


def test_what_was_found_of_another_model_says_nothing() -> None:
    candidate = server(ability=Ability(chat=Rung.FLAGS))
    other = Candidate(candidate.server, ModelEntry("m", "another"))
    assert fit(other, CHAT, HELLO, anew=False) is Fit.UNJUDGED


@pytest.mark.parametrize("rung", [Rung.TEXT, Rung.TOKENS])
def test_raw_text_serves_only_plain_chats(rung: Rung) -> None:
    ability = Ability(chat=rung)
    candidate = server(engine="llama.cpp", ability=ability)
    thought = replace(HELLO, reasoning="hm")
    assert fit(candidate, CHAT, HELLO, anew=False) is Fit.ABLE
    assert fit(candidate, replace(CHAT, has_tools=True), HELLO, anew=False) is Fit.UNABLE
    assert fit(candidate, replace(CHAT, prefilled=True), HELLO, anew=False) is Fit.UNABLE
    assert fit(candidate, CHAT, thought, anew=False) is Fit.UNABLE
    assert fit(server(engine="ollama", ability=ability), CHAT, HELLO, anew=False) is Fit.UNABLE
    mute = server(engine="llama.cpp", ability=replace(ability, thinking_off=True))
    assert fit(mute, CHAT, thought, anew=False) is Fit.ABLE


def test_a_bound_that_the_first_server_did_not_set_is_no_fit() -> None:
    bounded = server(engine="vllm", ability=Ability(text=Rung.TEXT))
    free = server("two", engine="llama.cpp", ability=Ability(text=Rung.TEXT))
    limited = replace(COMPLETION, limits=(("max_tokens", 5),))
    assert fit(bounded, COMPLETION, HELLO, anew=False, first=free) is Fit.UNABLE
    assert fit(bounded, COMPLETION, HELLO, anew=False, first=bounded) is Fit.ABLE
    assert fit(bounded, COMPLETION, HELLO, anew=False) is Fit.ABLE
    assert fit(free, COMPLETION, HELLO, anew=False, first=bounded) is Fit.ABLE
    assert fit(bounded, limited, HELLO, anew=False, first=free) is Fit.ABLE


# -- contexts


def test_how_much_a_context_has_to_hold() -> None:
    assert needed_tokens(CHAT, NOTHING) == 1
    asked = replace(CHAT, prompt_bytes=4000)
    assert needed_tokens(asked, HELLO) == 1000 + 2 + 1
    assert needed_tokens(asked, replace(HELLO, content_tokens=50, reasoning="hm, " * 9)) == 1000 + 50 + 9 + 1
    assert needed_tokens(replace(asked, limits=(("max_tokens", 500),)), HELLO) == 1500
    assert needed_tokens(replace(asked, limits=(("max_tokens", 1),)), HELLO) == 1003


@pytest.mark.parametrize(
    ("context", "first_context", "expected"),
    [
        (None, None, Fit.ABLE),
        (None, 8192, Fit.ABLE),
        (4096, None, Fit.ABLE),
        (1500, None, Fit.ABLE),
        (1125, None, Fit.ABLE),  # the guess may be too high by a quarter
        (1124, None, Fit.UNABLE),
        (1124, 2048, Fit.UNABLE),
        (1124, 1124, Fit.ABLE),  # the first server took it
        (1124, 1000, Fit.ABLE),
    ],
)
@pytest.mark.parametrize("anew", [False, True])
def test_the_context_decides(context: int | None, first_context: int | None, expected: Fit, anew: bool) -> None:
    asked = replace(CHAT, prompt_bytes=4000, limits=(("max_tokens", 500),))
    candidate = server(context=context, ability=Ability(chat=Rung.FLAGS))
    first = server("first", context=first_context)
    assert fit(candidate, asked, HELLO, anew=anew, first=first) is expected


def test_too_small_a_context_needs_no_probe() -> None:
    asked = replace(CHAT, prompt_bytes=4000)
    assert fit(server(context=100), asked, HELLO, anew=False) is Fit.UNABLE


@pytest.mark.parametrize("engine", ["ollama", "lmstudio"])
@pytest.mark.parametrize(
    ("context", "first_context", "expected"),
    [
        (None, 8192, Fit.ABLE),
        (4096, 8192, Fit.UNABLE),
        (4503, 8192, Fit.UNABLE),
        (4504, 8192, Fit.ABLE),
        (4096, None, Fit.UNABLE),
        (4096, 4096, Fit.ABLE),  # the first server took it
    ],
)
def test_where_a_prompt_would_be_cut_in_silence_it_must_surely_fit(
    engine: str, context: int | None, first_context: int | None, expected: Fit
) -> None:
    asked = replace(CHAT, prompt_bytes=4 * 4000, limits=(("max_tokens", 100_000),))
    candidate = server(engine=engine, context=context)
    delivered = replace(HELLO, content_tokens=4)
    assert fit(candidate, asked, delivered, anew=True, first=server("first", context=first_context)) is expected


def test_what_was_learnt_of_a_prompt_counts() -> None:
    asked = replace(CHAT, prompt_bytes=4 * 3000)
    cutting, refusing = server(engine="ollama", context=4096), server(context=4096)
    assert fit(cutting, asked, HELLO, anew=True) is Fit.ABLE
    assert fit(cutting, asked, HELLO, anew=True, demand=Demand(1500, 4200)) is Fit.UNABLE
    assert fit(refusing, asked, HELLO, anew=True, demand=Demand(1500, 4200)) is Fit.ABLE
    assert fit(refusing, asked, HELLO, anew=True, demand=Demand(4097, 4200)) is Fit.UNABLE
    assert fit(refusing, asked, HELLO, anew=True, demand=Demand(1500, 4200, refused_at=4096)) is Fit.UNABLE


# -- who comes first


def test_the_most_alike_come_first() -> None:
    first = server("first", engine="llama.cpp", upstream="q4")
    same = server("same", engine="llama.cpp", upstream="q4")
    cousin = server("cousin", engine="llama.cpp", upstream="q8")
    namesake = server("namesake", engine="vllm", upstream="Model-Q4")
    stranger = server("stranger", engine="ollama", upstream="q5")
    untold = server("untold", engine="vllm", upstream="model")
    for order in permutations([same, cousin, namesake, stranger, untold]):
        strangers = [candidate for candidate in order if candidate in (stranger, untold)]
        assert select(order, first) == [[same], [namesake], [cousin], strangers]
    assert select([stranger, same], first) == [[same], [stranger]]
    assert select([stranger, same], None) == [[stranger, same]]
    assert select([], first) == []
    assert select([first], first) == [[first]]


def test_what_no_name_tells_is_one_default_on_one_engine_and_unknown_between_two() -> None:
    first = server("first", engine="ollama", upstream="llama3.1:8b")
    same = server("same", engine="ollama", upstream="llama3.1:latest")
    other = server("other", engine="vllm", upstream="meta-llama/Llama-3.1-8B-Instruct")
    namesake = server("namesake", engine="vllm", upstream="llama3.1:8b")
    assert select([other, namesake, same], first) == [[same], [other, namesake]]


@pytest.mark.parametrize(
    ("begun", "goes_on", "said"),
    [
        (("ollama", "m:8b-q4_K_M"), ("ollama", "m:8b-q4_K_M"), ""),
        (("ollama", "m:8b-q4_K_M"), ("ollama", "hf.co/a/m:Q4_K_M"), ""),
        (("ollama", "m:8b-q4_K_M"), ("ollama", "m:8b-q8_0"), "quantization Q4_K_M -> Q8_0"),
        (("ollama", "m:8b"), ("vllm", "org/m"), "engine ollama -> vllm"),
        (("ollama", "m:8b-q4_K_M"), ("vllm", "org/m"), "quantization Q4_K_M -> not told, engine ollama -> vllm"),
        (("vllm", "org/m"), ("vllm", "org/m-AWQ"), "quantization not told -> AWQ"),
    ],
)
def test_what_was_crossed_is_said(begun: tuple[str, str], goes_on: tuple[str, str], said: str) -> None:
    first, second = (server(engine=engine, upstream=upstream) for engine, upstream in (begun, goes_on))
    assert crossed(first, second) == said
