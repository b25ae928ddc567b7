"""Explanations: they say what the plan does, for any pool, and why the others are passed over."""

from __future__ import annotations

import random
import re
from copy import deepcopy
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.services.core.choice.classes import ModelClass
from app.services.core.choice.explain import Explanation, Place, explain
from app.services.core.choice.plan import Forward, plan
from app.services.core.choice.snapshot import Snapshot, build_snapshot
from app.services.core.choice.standing import Word
from app.services.core.errors import ModelNotFound
from app.services.core.live.board import Board
from app.services.core.prompt.demand import Demand, Home
from app.services.core.retry import Failure
from app.services.core.signals import Signals
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

NOW = 1000.0
LONG = Demand(5000, 8000)


@dataclass(frozen=True)
class Laid:
    """One server as a test lays it out."""

    health: HealthStatus = HealthStatus.HEALTHY
    hold: str = ""
    missing: bool = False
    priority: int = 0
    weight: float = 1.0
    cap: int | None = None
    in_flight: int = 0
    context: int | None = None
    engine: str = "vllm"
    swaps: bool = False
    loaded: bool | None = None
    state: str = ""
    running: int | None = None
    tried: bool = False


def lay_out(pool: list[Laid]) -> tuple[Snapshot, Board, tuple[str, ...]]:
    """The servers by the names ``s0``, ``s1`` ..., their lanes, and where the request was already."""
    servers = [server(f"s{place}", laid) for place, laid in enumerate(pool)]
    snapshot, board = build_snapshot(servers), Board()
    board.keep(snapshot.servers)
    for each, laid in zip(servers, pool, strict=True):
        lane = board.lane(each.id)
        if laid.state == "suspect":
            lane.failed(Failure.FAILED, NOW, lambda: 0.0, NOW)
        for _failure in range(5 if laid.state == "ejected" else 0):
            lane.failed(Failure.FAILED, NOW, lambda: 0.0, NOW)
        if laid.state == "cooling":
            lane.cool(NOW, 1.5)
        if laid.state == "back":
            lane.returned(NOW - 10)
        if laid.running is not None:
            lane.told(Signals(running=laid.running, waiting=0), NOW)
        for _request in range(laid.in_flight):
            lane.take(NOW)
            if lane.residence is not None:
                lane.residence.take("up/other", NOW)
    return snapshot, board, tuple(each.id for each, laid in zip(servers, pool, strict=True) if laid.tried)


def server(name: str, laid: Laid) -> Server:
    other = (ModelEntry("other", "up/other"),) if laid.swaps else ()
    made = Server(
        id=name,
        endpoint=Endpoint("http", f"secret-{name}", 8000),
        models=(ModelEntry("llama", "up/llama", laid.context), *other),
        engine=laid.engine,
        max_concurrency=laid.cap,
        priority=laid.priority,
        weight=laid.weight,
        health=laid.health,
        missing_models=frozenset(("up/llama",)) if laid.missing else frozenset(),
        swaps_models=laid.swaps,
        loaded=None if laid.loaded is None else frozenset(("up/llama",) if laid.loaded else ("up/other",)),
    )
    return replace(made, **{laid.hold: True}) if laid.hold else made  # type: ignore[arg-type]


def told(pool: list[Laid], demand: Demand | None = None) -> Explanation:
    snapshot, board, tried = lay_out(pool)
    return explain("llama", snapshot, board, NOW, demand, tried)


def place(explanation: Explanation, number: int) -> Place:
    return next(each for each in explanation.servers if each.server_id == f"s{number}")


laid_out = st.builds(
    Laid,
    health=st.sampled_from([HealthStatus.HEALTHY] * 4 + list(HealthStatus)),
    hold=st.sampled_from([""] * 8 + ["paused", "blocked", "quarantined", "draining", "misconfigured"]),
    missing=st.sampled_from([False] * 6 + [True]),
    priority=st.integers(0, 1),
    weight=st.sampled_from([1.0, 1.0, 2.0, 5.0]),
    cap=st.sampled_from([None, None, 1, 4]),
    in_flight=st.integers(0, 5),
    context=st.sampled_from([None, 4096, 7000, 16_384, 131_072]),
    engine=st.sampled_from(["vllm", "ollama"]),
    swaps=st.booleans(),
    loaded=st.sampled_from([None, True, False]),
    state=st.sampled_from(["", "", "", "suspect", "ejected", "cooling", "back"]),
    running=st.sampled_from([None, None, 3]),
    tried=st.sampled_from([False, False, False, True]),
)
homes = st.lists(
    st.builds(Home, st.sampled_from(["s0", "s1", "gone"]), st.integers(0, 9000), st.just("prefix")), max_size=2
)
demands = st.none() | st.builds(
    Demand,
    st.just(0),
    st.sampled_from([0, 3000, 6500, 8000, 10**6]),
    st.sampled_from([0, 2000]),
    homes.map(tuple),
)


@settings(deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(laid_out, min_size=1, max_size=5), demands)
def test_the_explanation_says_what_the_plan_does(pool: list[Laid], demand: Demand | None) -> None:
    snapshot, board, tried = lay_out(pool)
    explanation = explain("llama", snapshot, board, NOW, demand, tried)
    taking = {each.server_id for each in explanation.servers if each.takes}
    assert {each.server_id for each in explanation.servers} == set(snapshot.servers)
    for seed in range(8):
        verdict = plan("llama", snapshot, deepcopy(board), tried, NOW, random.Random(seed).random, demand=demand)
        assert type(verdict).__name__.lower() == explanation.verdict
        if isinstance(verdict, Forward):
            assert verdict.candidate.server.id in taking
        else:
            assert not taking
    if explanation.verdict == "forward":
        assert taking
        assert sum(each.share for each in explanation.servers) == pytest.approx(1.0)
    for each in explanation.servers:
        assert each.share == 0.0 or each.takes
        assert bool(each.word) == bool(each.why)
        assert each.takes or each.word or explanation.verdict != "forward"
    assert explanation.sentence().startswith("The next request ")
    assert len(explanation.servers) == len(pool)
    assert "secret" not in str(explanation.as_dict())


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.lists(laid_out, min_size=1, max_size=4), demands)
def test_to_explain_changes_nothing(pool: list[Laid], demand: Demand | None) -> None:
    snapshot, board, tried = lay_out(pool)
    before = deepcopy(board)
    explain("llama", snapshot, board, NOW, demand, tried)
    assert board.gathered == before.gathered
    assert board.lanes.keys() == before.lanes.keys()
    for server_id, lane in board.lanes.items():
        assert lane.in_flight == before.lanes[server_id].in_flight
        assert lane.breaker == before.lanes[server_id].breaker
        if lane.residence is not None:
            assert lane.residence.waits_since("up/llama", NOW) is None


@pytest.mark.parametrize(
    ("laid", "word", "words"),
    [
        (Laid(hold="paused"), Word.PAUSED, "paused by its owner"),
        (Laid(hold="blocked"), Word.BLOCKED, "blocked by the operator"),
        (Laid(hold="quarantined"), Word.QUARANTINED, "quarantined by the gateway"),
        (Laid(hold="draining"), Word.DRAINING, "draining"),
        (Laid(hold="misconfigured"), Word.KEY, "refuses our key"),
        (Laid(missing=True), Word.NOT_LISTED, "model not listed there"),
        (Laid(tried=True), Word.TRIED, "this request was there already"),
        (Laid(HealthStatus.UNHEALTHY), Word.DOWN, "not answering its checks"),
        (Laid(HealthStatus.UNHEALTHY, hold="loading"), Word.LOADING, "loading the model"),
        (Laid(HealthStatus.UNKNOWN, hold="loading"), Word.LOADING, "loading the model"),
        (Laid(state="ejected"), Word.EJECTED, "ejected after failures, next trial in 5 s"),
        (Laid(state="cooling"), Word.COOLING, "asked to be left alone, for 2 s yet"),
        (Laid(cap=4, in_flight=4), Word.FULL, "full, 4 of 4"),
        (Laid(context=4096), Word.CONTEXT, "context 4,096 < about 8,000"),
        (Laid(swaps=True, in_flight=1), Word.TURN, "its memory is in use by another model"),
        (Laid(HealthStatus.UNKNOWN), Word.UNKNOWN, "state unknown, others are known to be well"),
        (Laid(context=8192), Word.TIGHT, "context 8,192 may be too short"),
        (Laid(priority=-1), Word.PRIORITY, "priority -1 is lower than 0"),
        (Laid(state="suspect"), Word.FAILED, "just failed, others first for 1 s"),
    ],
)
def test_each_reason_has_its_word(laid: Laid, word: Word, words: str) -> None:
    laid = laid if laid.context else replace(laid, context=131_072)
    explanation = told([Laid(context=131_072), laid], LONG)
    other = place(explanation, 1)
    assert (other.word, other.why, other.takes, other.share) == (word, words, False, 0.0)
    assert place(explanation, 0).share == 1.0
    assert explanation.verdict == "forward"
    assert "goes to s0, because" in explanation.sentence()


def test_a_trial_that_is_under_way_is_told() -> None:
    snapshot, board, _tried = lay_out([Laid(), Laid(state="ejected")])
    board.lane("s1").take(NOW + 6)
    other = place(explain("llama", snapshot, board, NOW + 6), 1)
    assert other.why == "ejected after failures, its trial is under way"


def test_shares_are_those_of_the_weights_where_all_are_idle() -> None:
    explanation = told([Laid(weight=3.0), Laid(weight=1.0)])
    assert place(explanation, 0).share == pytest.approx(0.75, abs=0.03)
    assert place(explanation, 1).share == pytest.approx(0.25, abs=0.03)
    assert [each.server_id for each in explanation.servers] == ["s0", "s1"]
    told_of = r"goes to s0 \(7\d%\) or s1 \(2\d%\), because servers are drawn by weight"
    assert re.search(told_of, explanation.sentence())
    assert explanation == told([Laid(weight=3.0), Laid(weight=1.0)])


def test_the_busier_of_two_is_not_drawn_but_might_be() -> None:
    explanation = told([Laid(in_flight=1), Laid(in_flight=9)])
    assert (place(explanation, 0).share, place(explanation, 1).share) == (1.0, 0.0)
    assert (place(explanation, 1).word, place(explanation, 1).takes) == (Word.BUSIER, True)
    assert explanation.sentence().endswith("because it is the least busy of those that may be taken.")


def test_a_model_that_would_have_to_be_loaded_is_told() -> None:
    explanation = told([Laid(loaded=True), Laid(loaded=False)])
    assert (place(explanation, 0).warm, place(explanation, 1).warm) == (True, False)
    assert place(explanation, 1).word == Word.COLD
    assert explanation.sentence() == "The next request goes to s0, because the model is in memory there."


def test_a_model_on_its_way_into_memory_is_told() -> None:
    snapshot, board, _tried = lay_out([Laid(swaps=True, loaded=False), Laid(swaps=True, loaded=False)])
    for server_id in ("s0", "s1"):
        residence = board.lane(server_id).residence
        assert residence is not None
        residence.take("up/llama", NOW - 11.5)
    board.lane("s1").in_flight = 9
    explanation = explain("llama", snapshot, board, NOW)
    for number, share in ((0, 1.0), (1, 0.0)):
        one = place(explanation, number)
        assert (one.word, one.why) == (Word.ENTERING, "loading the model, 12 s so far")
        assert (one.takes, one.share) == (True, share)


def test_held_servers_of_a_class_are_told_under_each_of_its_names() -> None:
    plain, held = server("s0", Laid()), server("s1", Laid(hold="paused"))
    held = replace(held, models=(ModelEntry("llama-8b", "llama:8b"),))
    snapshot = build_snapshot([plain, held], [ModelClass("any-llama", frozenset({"llama", "llama-8b"}))])
    for name in ("any-llama", "llama", "llama-8b"):
        explanation = explain(name, snapshot, Board(), NOW)
        assert place(explanation, 0).share == 1.0
        assert (place(explanation, 1).word, place(explanation, 1).takes) == (Word.PAUSED, False)


def test_a_home_is_told() -> None:
    explanation = told([Laid(), Laid()], Demand(homes=(Home("s1", 5000, "prefix"),)))
    assert (place(explanation, 0).home, place(explanation, 1).home) == ("", "prefix")
    assert place(explanation, 1).share == 1.0
    assert place(explanation, 0).word == Word.ELSEWHERE
    assert "it has the beginning of this prompt in its cache" in explanation.sentence()


def test_live_figures_are_told() -> None:
    one = place(told([Laid(cap=8, in_flight=2, running=5, context=4096, state="back", priority=3, weight=2.0)]), 0)
    assert (one.in_flight, one.foreign, one.places, one.cap) == (2, 5.0, 8, 8)
    assert (one.priority, one.weight, one.context_length) == (3, 2.0, 4096)
    assert one.ramp == pytest.approx(1 / 3, abs=0.01)


def test_of_many_three_are_named() -> None:
    sentence = told([Laid() for _ in range(6)]).sentence()
    assert sentence.count("%") == 3
    assert "or one of 3 others" in sentence


def test_where_nobody_takes_it_the_fate_of_the_request_is_told() -> None:
    assert told([Laid(cap=1, in_flight=1)]).sentence().startswith("The next request waits for a place")
    waits = told([Laid(HealthStatus.UNHEALTHY)])
    assert (waits.verdict, waits.why) == ("await", "")
    assert "If that lasts, it hears: Model 'llama' is registered on 1 server" in waits.sentence()
    refused = told([Laid(context=4096)], LONG)
    assert refused.verdict == "refuse"
    assert "refused: The prompt has about 8,000 tokens" in refused.sentence()


def test_a_model_that_nobody_has_is_no_route() -> None:
    snapshot, board, _tried = lay_out([Laid()])
    with pytest.raises(ModelNotFound, match="llama"):
        explain("gpt", snapshot, board, NOW)
