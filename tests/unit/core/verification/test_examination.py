"""Are a server's claims looked at in few, cheap requests, and judged by what it says?"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.verification.asking import Ask, Claim, Examined, Inconclusive, Look, Lost, Reply, Say, Told
from app.services.core.verification.examination import ANSWER_TOKENS, examine
from app.services.core.verification.findings import Judgement, Subject, Verdict
from app.services.engines.identify import ENGINES, engine_named
from tests.fakes.claimant import LOST, Claimant, carry_through, error

CHAT = "/v1/chat/completions"
OK, MISMATCH, UNCLEAR = Verdict.OK, Verdict.MISMATCH, Verdict.UNCLEAR


def claim(engine: str = "vllm", *, context: int | None = 4096, **fields: object) -> Claim:
    return Claim("m", engine_named(engine), context, **fields)


def examined(server: Claimant, about: Claim | None = None) -> dict[Subject, Judgement]:
    outcome = carry_through(examine(about or claim()), server.respond)
    assert isinstance(outcome, Examined), outcome
    assert not outcome.fault
    return {judgement.subject: judgement for judgement in outcome.judgements}


def test_a_truthful_server_costs_two_requests_and_few_tokens():
    server = Claimant()
    found = examined(server)
    assert {subject: one.verdict for subject, one in found.items()} == {
        Subject.NAME: OK,
        Subject.CONTEXT: OK,
        Subject.SPEED: OK,
        Subject.FIRST_TOKEN: OK,
    }
    assert found[Subject.CONTEXT].measured == 4096
    assert found[Subject.SPEED].measured == pytest.approx(10)
    assert found[Subject.FIRST_TOKEN].measured == pytest.approx(500)
    assert [path for path, _ in server.asked] == [CHAT, CHAT]
    assert server.tokens <= ANSWER_TOKENS


def test_the_question_is_asked_at_temperature_0_with_a_seed_and_streamed():
    server = Claimant()
    examined(server)
    _path, body = server.asked[0]
    assert body is not None
    assert (body["temperature"], body["seed"], body["stream"], body["max_tokens"]) == (0, 0, True, ANSWER_TOKENS)


def test_the_answer_is_a_sample_for_its_twins():
    outcome = carry_through(examine(claim()), Claimant().respond)
    assert isinstance(outcome, Examined)
    assert outcome.sample is not None
    assert (outcome.sample.way, outcome.sample.words[:3]) == (CHAT, ("the", "old", "lighthouse"))


def test_a_model_that_is_kept_from_thinking_is_asked_so():
    server = Claimant()
    outcome = carry_through(examine(claim(thinking_off=True)), server.respond)
    assert isinstance(outcome, Examined)
    assert server.asked[0][1] is not None
    assert server.asked[0][1]["chat_template_kwargs"] == {"enable_thinking": False}
    assert outcome.sample is not None
    assert outcome.sample.way == f"{CHAT} without thoughts"


def test_a_context_shorter_than_claimed_is_found_without_a_token():
    server = Claimant(context=2048)
    assert examined(server)[Subject.CONTEXT].verdict is MISMATCH
    probes = [body for _path, body in server.asked if body and body.get("stop")]
    assert [body["max_tokens"] for body in probes] == [4097, 3584]
    assert server.tokens <= ANSWER_TOKENS


def test_a_context_longer_than_claimed_is_fine():
    assert examined(Claimant(context=8192))[Subject.CONTEXT].verdict is OK


def test_a_refusal_that_names_what_is_left_of_the_context_is_no_mismatch():
    server = Claimant(context=4096, refusal="maximum context length is 3 tokens, you requested {asked}")
    assert examined(server)[Subject.CONTEXT].verdict is UNCLEAR


def test_a_server_that_takes_anything():
    assert examined(Claimant(context=None), claim("vllm"))[Subject.CONTEXT].verdict is OK
    assert examined(Claimant(context=None), claim("unknown"))[Subject.CONTEXT].verdict is UNCLEAR


def test_a_refusal_without_a_number_falls_back_on_what_the_engine_told():
    server = Claimant(refusal="too many tokens")
    assert examined(server)[Subject.CONTEXT].verdict is UNCLEAR
    assert examined(server, claim(told_context=1024))[Subject.CONTEXT].verdict is MISMATCH


@pytest.mark.parametrize(
    ("engine", "pages"),
    [
        ("ollama", {"/api/ps": {"models": [{"name": "m:latest", "model": "m:latest", "context_length": 4096}]}}),
        ("llama.cpp", {"/props": {"default_generation_settings": {"n_ctx": 4096}, "model_alias": "m"}}),
    ],
)
@pytest.mark.parametrize(("claimed", "verdict"), [(4096, OK), (8192, MISMATCH), (None, OK)])
def test_an_engine_that_tells_its_context_is_not_probed(engine, pages, claimed, verdict):
    server = Claimant(pages=pages)
    found = examined(server, claim(engine, context=claimed))[Subject.CONTEXT]
    assert (found.verdict, found.measured) == (verdict, 4096)
    assert not [body for _path, body in server.asked if body and body.get("stop")]


def test_without_a_claim_nobody_is_probed():
    server = Claimant()
    assert examined(server, claim(context=None))[Subject.CONTEXT].verdict is UNCLEAR
    assert len(server.asked) == 1


def test_another_name_is_a_mismatch_unless_the_server_lists_it():
    server = Claimant(answers_as="other")
    assert examined(server)[Subject.NAME].verdict is MISMATCH
    server.pages["/v1/models"] = {"data": [{"id": "m", "root": "other"}]}
    assert examined(server)[Subject.NAME].verdict is OK
    server.pages["/v1/models"] = ["not a list"]
    assert examined(server)[Subject.NAME].verdict is MISMATCH


def test_a_model_that_is_listed_but_not_there():
    server = Claimant(name="other", strict=True)
    found = examined(server)
    assert set(found) == {Subject.NAME}
    assert found[Subject.NAME].verdict is MISMATCH
    assert "does not exist" in found[Subject.NAME].detail
    assert len(server.asked) == 1


@pytest.mark.parametrize("refused", ["seed", "stream_options"])
def test_a_server_that_does_not_know_an_option_is_asked_without_it(refused):
    assert examined(Claimant(refuses=frozenset({refused})))[Subject.NAME].verdict is OK


def test_a_model_without_chats_is_asked_for_a_completion():
    outcome = carry_through(examine(claim("llama.cpp")), Claimant(refuses=frozenset({"chat"})).respond)
    assert isinstance(outcome, Examined)
    assert outcome.sample is not None
    assert outcome.sample.way == "/v1/completions"


@pytest.mark.parametrize(("answers_as", "verdict"), [("m", OK), ("other", MISMATCH)])
def test_a_model_for_embeddings_is_known_by_its_name_alone(answers_as, verdict):
    server = Claimant(refuses=frozenset({"chat", "completions"}), answers_as=answers_as)
    found = examined(server)
    assert {subject: one.verdict for subject, one in found.items()} == {Subject.NAME: verdict}


def test_a_model_that_answers_nothing_is_unclear():
    server = Claimant(refuses=frozenset({"chat", "completions", "embeddings"}))
    found = examined(server)
    assert found[Subject.NAME].verdict is UNCLEAR
    assert "400: chat is not supported" in found[Subject.NAME].detail


@pytest.mark.parametrize("text", ["", "!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!", "\ufffd\ufffd"])
def test_an_answer_that_is_none_is_a_mismatch_by_itself(text):
    outcome = carry_through(examine(claim()), Claimant(text=text).respond)
    assert isinstance(outcome, Examined)
    assert outcome.sample is None
    assert [one.verdict for one in outcome.judgements if one.subject is Subject.CANARY] == [MISMATCH]


def test_thoughts_behind_closed_doors_are_no_empty_answer():
    body = b'data: {"model":"m","choices":[{"delta":{},"finish_reason":"length"}]}\n\n'
    body += b'data: {"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":32}}\n\n'
    found = examined(Claimant(faults=[Told(200, body)]))
    assert found[Subject.CANARY].verdict is UNCLEAR


def test_thoughts_are_compared_like_words():
    outcome = carry_through(examine(claim()), Claimant(thoughts="Let me think about this lighthouse.").respond)
    assert isinstance(outcome, Examined)
    assert outcome.sample is not None
    assert outcome.sample.words[0] == "let"


def test_a_server_that_does_not_stream_has_no_speed():
    found = examined(Claimant(streams=False), claim("llama.cpp"))
    assert found[Subject.SPEED].verdict is UNCLEAR
    assert found[Subject.FIRST_TOKEN].measured == 1000


@pytest.mark.parametrize("fault", [LOST, error(503, "busy"), error(401, "no"), error(429, "slow down"), Told(200, b"")])
def test_a_fault_decides_nothing(fault):
    assert isinstance(carry_through(examine(claim()), Claimant(faults=[fault]).respond), Inconclusive)


def test_a_fault_behind_the_answer_leaves_what_was_found():
    server = Claimant()

    def respond(ask: Ask) -> Reply:
        return Lost("it hangs") if isinstance(ask, Say) and ask.only_begin else server.respond(ask)

    outcome = carry_through(examine(claim()), respond)
    assert isinstance(outcome, Examined)
    assert outcome.fault == "it hangs"
    assert Subject.CONTEXT not in {one.subject for one in outcome.judgements}
    assert Subject.NAME in {one.subject for one in outcome.judgements}


@given(
    st.lists(
        st.one_of(
            st.builds(Lost, st.text(max_size=20)),
            st.builds(Told, st.sampled_from([200, 200, 400, 404, 422, 500, 501]), st.binary(max_size=200)),
            st.builds(
                lambda model, text: Told(
                    200, json.dumps({"model": model, "choices": [{"text": text, "finish_reason": "stop"}]}).encode()
                ),
                st.text(max_size=300),
                st.text(max_size=600),
            ),
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([engine.name for engine in ENGINES]),
    st.one_of(st.none(), st.integers(1, 10**9)),
)
def test_whatever_a_server_says_the_examination_ends_soon_and_small(replies, engine, context):
    asked: list[Ask] = []

    def respond(ask: Ask) -> Reply:
        asked.append(ask)
        return replies[(len(asked) - 1) % len(replies)]

    outcome = carry_through(examine(claim(engine, context=context)), respond)
    assert len(asked) <= 10
    assert sum(isinstance(ask, Say) and not ask.only_begin for ask in asked) <= 4
    assert all(isinstance(ask, Look) or json.loads(ask.body)["model"] == "m" for ask in asked)
    if isinstance(outcome, Examined):
        subjects = [one.subject for one in outcome.judgements]
        assert len(subjects) == len(set(subjects))
