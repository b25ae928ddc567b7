"""Which names are proposed to be one model, which never, and what is said of them?"""

from __future__ import annotations

import sys
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.choice.classes import MAX_MEMBERS, ModelClass
from app.services.core.naming.observed import Observation
from app.services.core.naming.proposals import propose

LLAMA = "llama3.1:8b"
HUB = "meta-llama/Llama-3.1-8B-Instruct"
FILE = "/models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf"


def seen(*names: str) -> list[Observation]:
    return [Observation(name, name) for name in names]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (LLAMA, HUB),
        (LLAMA, FILE),
        ("llama3.1", "llama3.1:latest"),
        ("llama3.1:8b-instruct-q4_K_M", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF"),
        (HUB, "hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4"),
        (HUB, r"D:\llm\Meta-Llama-3.1-8B-Instruct-Q8_0.gguf"),
        (HUB, "meta-llama-3.1-8b-instruct@q4_k_m"),
        ("meta-llama/Llama-2-7b-chat-hf", "llama2:7b"),
        ("google/gemma-3-270m-it", "gemma3:270m"),
        ("gpt-oss:120b", "openai/gpt-oss-120b"),
        ("deepseek-r1:7b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"),
        ("deepseek-r1:671b", "deepseek-ai/DeepSeek-R1"),
        ("mixtral:8x7b", "mistralai/Mixtral-8x7B-Instruct-v0.1"),
        ("qwen2.5-coder:32b", "Qwen/Qwen2.5-Coder-32B-Instruct-FP8"),
        ("qwen3:30b", "Qwen/Qwen3-30B-A3B"),
        ("qwen3:8b", "Qwen_Qwen3-8B-Q4_K_M.gguf"),
        ("qwen2.5vl:7b", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("phi4", "phi4:14b"),
        ("llama-3.1-8b", LLAMA),
        ("all-minilm:l6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_names_of_one_model_are_proposed(first: str, second: str) -> None:
    (proposal,) = propose(seen(first, second))
    assert proposal.members == tuple(sorted([first, second]))
    assert not proposal.extends
    assert propose(seen(second, first)) == [proposal]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (LLAMA, "llama3.1:70b"),
        (LLAMA, "llama3:8b"),
        (LLAMA, "llama3.2:8b"),
        (LLAMA, "meta-llama/Llama-3.1-8B"),
        (LLAMA, "llama3.1:8b-text-q4_0"),
        (HUB, "meta-llama/Llama-3.1-8B"),
        (HUB, "huihui-ai/Llama-3.1-8B-Instruct-abliterated"),
        (HUB, "NousResearch/Hermes-3-Llama-3.1-8B"),
        (HUB, "meta-llama/Llama-Guard-3-8B"),
        ("qwen2.5:7b", "qwen2.5-coder:7b"),
        ("qwen2.5:7b", "qwen2.5vl:7b"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct-1M"),
        ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-30B-A3B-Instruct-2507"),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", "Qwen/Qwen3-30B-A3B-Thinking-2507"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B-Base"),
        ("mistral:7b", "mixtral:8x7b"),
        ("mistralai/Mistral-7B-Instruct-v0.2", "mistralai/Mistral-7B-Instruct-v0.3"),
        ("deepseek-r1:7b", "qwen2.5:7b"),
        ("deepseek-r1:8b", "deepseek-r1:7b"),
        ("deepseek-r1:8b", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"),
        ("deepseek-r1", "deepseek-ai/DeepSeek-R1"),
        ("google/gemma-3-4b-it", "google/gemma-3-4b-pt"),
        ("microsoft/Phi-3-mini-4k-instruct", "microsoft/Phi-3-mini-128k-instruct"),
        ("gpt-oss:20b", "gpt-oss:120b"),
        ("nomic-embed-text", "nomic-ai/nomic-embed-text-v1.5"),
        ("Qwen/Qwen3-Embedding-0.6B", "Qwen/Qwen3-0.6B"),
        ("gpt-4o", "gpt-4o-mini"),
        ("my-model", "my-model:latest"),
        ("model.gguf", "/models/model.gguf"),
    ],
)
def test_different_or_unknown_models_are_never_proposed(first: str, second: str) -> None:
    assert propose(seen(first, second)) == []


def test_the_reason_says_in_what_they_differ() -> None:
    (proposal,) = propose(
        [
            Observation(LLAMA, "llama3.1:8b-instruct-q4_K_M", "ollama", 8192),
            Observation(HUB, "meta-llama/Llama-3.1-8B-Instruct-FP16", "vllm", 131072),
        ]
    )
    assert proposal.name == "llama-3.1-8b-instruct"
    assert proposal.reason == (
        "same family, version and size; quantizations differ: FP16, Q4_K_M; contexts 8,192 and 131,072; "
        "engines ollama and vllm"
    )


@pytest.mark.parametrize(
    ("templates", "words"),
    [
        (("one", "one"), "; same chat template;"),
        (("one", "two"), f"; chat templates differ between {LLAMA}, {HUB};"),
        (("one", ""), ""),
        (("", ""), ""),
    ],
)
def test_the_reason_tells_of_chat_templates(templates: tuple[str, str], words: str) -> None:
    (proposal,) = propose(
        [
            Observation(LLAMA, LLAMA, "llama.cpp", 8192, templates[0]),
            Observation(HUB, HUB, "vllm", 4096, templates[1]),
        ]
    )
    assert ("template" in proposal.reason) is bool(words)
    assert words in proposal.reason


def test_those_who_tell_no_template_are_left_open() -> None:
    told = [Observation(name, name, template="one") for name in (LLAMA, HUB)]
    (proposal,) = propose([*told, Observation(FILE, FILE)])
    assert "same chat template where told" in proposal.reason


def test_a_quantization_that_is_not_told_is_said() -> None:
    (proposal,) = propose(seen(LLAMA, FILE))
    assert proposal.reason == f"same family, version and size; quantization Q4_K_M; quantization not told by {LLAMA}"


def test_a_size_that_is_not_told_stays_unclear() -> None:
    (alone,) = propose(seen("llama3.1", LLAMA))
    assert alone.members == ("llama3.1", LLAMA)
    assert "size not told by llama3.1" in alone.reason
    (sure,) = propose(seen("llama3.1", LLAMA, HUB))
    assert sure.members == (LLAMA, HUB)
    assert "llama3.1 may mean it too, but does not say enough" in sure.reason
    both_sizes = propose(seen("llama3.1", LLAMA, "llama3.1:70b", HUB))
    assert [proposal.members for proposal in both_sizes] == [(LLAMA, HUB)]
    assert "may mean it too" not in both_sizes[0].reason
    (unsized,) = propose(seen("phi4", "microsoft/phi-4"))
    assert unsized.reason == "same family and version; no name tells the size"


def test_vectors_are_warned_of() -> None:
    warning = "vectors of different quantizations differ"
    names = ("text-embedding-nomic-embed-text-v1.5@q8_0", "nomic-ai/nomic-embed-text-v1.5")
    (proposal,) = propose(seen(*names))
    assert warning in proposal.reason
    (alike,) = propose(seen("nomic-embed-text-v1.5@q8_0", "hf.co/nomic-ai/nomic-embed-text-v1.5-GGUF:Q8_0"))
    assert warning not in alike.reason
    (chats,) = propose(seen(LLAMA, FILE))
    assert warning not in chats.reason


def test_what_the_server_calls_it_is_the_better_witness() -> None:
    (proposal,) = propose([Observation("house-llama", HUB), Observation("llama-3-8b", HUB), Observation(LLAMA, LLAMA)])
    assert proposal.members == ("house-llama", "llama-3-8b", LLAMA)
    (told,) = propose([Observation("llama3.1:8b", "llama3.1"), Observation(HUB, "default")])
    assert told.members == (LLAMA, HUB)
    assert "not told" not in told.reason


def test_a_name_that_means_two_models_is_in_no_class() -> None:
    mixed = [Observation("house", HUB), Observation("house", "qwen3:8b")]
    assert propose([*mixed, Observation(LLAMA, LLAMA), Observation("qwen3:8b", "qwen3:8b")]) == []


def test_what_is_confirmed_is_not_proposed_but_for_what_joins_it() -> None:
    confirmed = [ModelClass("house", frozenset({LLAMA, HUB}))]
    assert propose(seen(LLAMA, HUB), confirmed) == []
    (grown,) = propose(seen(LLAMA, HUB, FILE), confirmed)
    assert (grown.name, grown.extends, grown.members) == ("house", True, tuple(sorted([LLAMA, HUB, FILE])))
    (unsure,) = propose(seen(LLAMA, HUB, "llama3.1"), confirmed)
    assert unsure.members == ("llama3.1", LLAMA, HUB)
    assert "size not told by llama3.1" in unsure.reason
    apart = [ModelClass("a", frozenset({LLAMA, "x"})), ModelClass("b", frozenset({HUB, "y"}))]
    assert propose(seen(LLAMA, HUB, FILE), apart) == []


def test_what_was_dismissed_comes_back_with_another_name_alone() -> None:
    assert propose(seen(LLAMA, HUB), dismissed=[(LLAMA, HUB)]) == []
    assert propose(seen(LLAMA, HUB), dismissed=[(LLAMA, HUB, FILE)]) == []
    (proposal,) = propose(seen(LLAMA, HUB, FILE), dismissed=[(LLAMA, HUB)])
    assert len(proposal.members) == 3


def test_the_name_of_a_class_hides_no_model() -> None:
    (member,) = propose(seen(LLAMA, HUB, "llama-3.1-8b-instruct"))
    assert member.name == "llama-3.1-8b-instruct"
    other = Observation("llama-3.1-8b-instruct", "qwen3:8b")
    (proposal,) = propose([*seen(LLAMA, HUB), other], [ModelClass("llama-3.1-8b-instruct-2", frozenset({"x", "y"}))])
    assert proposal.name == "llama-3.1-8b-instruct-3"


def test_a_class_has_no_more_members_than_it_may() -> None:
    names = [f"mirror-{number}/Llama-3.1-8B-Instruct" for number in range(MAX_MEMBERS + 20)]
    (proposal,) = propose(seen(*names))
    assert len(proposal.members) == MAX_MEMBERS
    assert f"only the first {MAX_MEMBERS} of {MAX_MEMBERS + 20} names" in proposal.reason
    full = ModelClass("full", frozenset(names[:MAX_MEMBERS]))
    assert propose(seen(*names), [full]) == []


def test_the_order_does_not_matter() -> None:
    names = [LLAMA, HUB, FILE, "qwen3:8b", "Qwen/Qwen3-8B"]
    expected = propose(seen(*names))
    assert [proposal.name for proposal in expected] == ["llama-3.1-8b-instruct", "qwen-3-8b-instruct"]
    for order in list(permutations(names))[::7]:
        assert propose(seen(*order)) == expected


def test_a_name_that_does_not_show_as_it_is_is_not_proposed() -> None:
    assert propose(seen(LLAMA, "llama3.1:8b\u200b")) == []


WORDS = st.sampled_from(
    ["llama", "qwen", "3.1", "2.5", "8b", "70b", "instruct", "base", "coder", "q4_0", "x", ":", "/"]
)
NAMES = st.one_of(st.text(max_size=20), st.lists(WORDS, min_size=1, max_size=8).map("-".join))


@given(st.lists(st.tuples(NAMES, NAMES, st.integers(0, 9)), max_size=30), st.lists(st.lists(NAMES, max_size=4)))
def test_any_names_make_sane_proposals(rows, dismissed) -> None:
    observations = [Observation(name, upstream, f"engine{number}", number or None) for name, upstream, number in rows]
    found = propose(observations, (), dismissed)
    members = [member for proposal in found for member in proposal.members]
    assert len(members) == len(set(members))
    assert set(members) <= {one.name for one in observations}
    assert all(2 <= len(proposal.members) <= MAX_MEMBERS and proposal.reason for proposal in found)
    assert len({proposal.name for proposal in found}) == len(found)
    assert found == propose(observations[::-1], (), dismissed)
    classes = [ModelClass(proposal.name, frozenset(proposal.members)) for proposal in found]
    for proposal in propose(observations, classes, dismissed):
        assert proposal.extends, "what was confirmed is proposed again"


def test_the_work_grows_with_the_number_of_names_and_not_with_its_square() -> None:
    def calls(count: int) -> int:
        names = [f"org{number}/Llama-3.1-{number % 90 + 1}B-x{number}" for number in range(count)]
        made = 0

        def counted(_frame, event, _argument) -> None:
            nonlocal made
            made += event == "call"

        sys.setprofile(counted)
        try:
            propose(seen(*names))
        finally:
            sys.setprofile(None)
        return made

    small, large = calls(250), calls(1000)
    assert large < 5 * small
