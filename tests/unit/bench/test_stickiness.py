"""Does the stickiness benchmark simulate what it says, and do the figures follow from it?"""

from __future__ import annotations

import io
import json
from itertools import pairwise
from random import Random

import pytest
from rich.console import Console

from bench.stickiness.__main__ import main
from bench.stickiness.costs import deep_size
from bench.stickiness.policies import PowerOfTwo, Radix, RoundRobin, Sticky
from bench.stickiness.report import MOST_OVER_MEAN, print_outcomes, summary
from bench.stickiness.servers import PrefixCache, SimulatedServer, Speed
from bench.stickiness.simulate import Outcome, simulate
from bench.stickiness.trace import BLOCK_TOKENS, Turn, make_trace

TRACE = make_trace(1, 24, 8)


def turn(user: int = 0, tokens: int = 640, answer_tokens: int = 40) -> Turn:
    blocks = tuple(range(user * 1000, user * 1000 + (tokens + answer_tokens) // BLOCK_TOKENS))
    body = b'{"messages":[' + b"%05d" % user * tokens
    return Turn(user, 0, 0.0, body, tokens, answer_tokens, blocks)


class Fixed:
    """A policy that sends all to one server."""

    name = "fixed"

    def choose(self, turn: Turn, in_flight: list[int], now: float) -> int:
        return 0

    def ended(self, turn: Turn, place: int, seconds: float) -> None:
        assert seconds > 0.0


def test_a_trace_is_the_same_for_the_same_seed() -> None:
    assert make_trace(3, 4, 5) == make_trace(3, 4, 5) != make_trace(4, 4, 5)


def test_turns_repeat_the_conversation_and_grow() -> None:
    for conversation in make_trace(2, 6, 6):
        for before, after in pairwise(conversation):
            assert after.planned_at > before.planned_at
            assert after.prompt_tokens > before.prompt_tokens + before.answer_tokens
            assert after.blocks[: len(before.blocks)] == before.blocks
            written = before.body.partition(b'],"stream"')[0]
            assert after.body.startswith(written)
            assert [message["role"] for message in json.loads(after.body)["messages"]][-1] == "user"


def test_groups_share_a_system_prompt() -> None:
    trace = make_trace(2, 10, 1)
    one, same_group, other_group = trace[0][0], trace[5][0], trace[1][0]
    assert one.blocks[0] == same_group.blocks[0] != other_group.blocks[0]
    assert json.loads(one.body)["messages"][0] == json.loads(same_group.body)["messages"][0]


def test_twenty_turns_make_about_thirty_thousand_tokens() -> None:
    last = [conversation[-1].prompt_tokens for conversation in make_trace(1, 50, 20)]
    assert 27_000 < sum(last) / len(last) < 33_000


def test_a_cache_keeps_beginnings_longest_and_overwrites_what_is_old() -> None:
    cache = PrefixCache(4 * BLOCK_TOKENS)
    cache.add([1, 2, 3])
    assert cache.warm([1, 2, 9]) == 2
    cache.add([7, 8])
    assert (cache.warm([1, 2, 3]), cache.warm([7, 8])) == (2, 2)
    assert cache.warm([2, 3]) == 1


def test_a_server_reads_one_prompt_after_the_other_and_answers_side_by_side() -> None:
    server = SimulatedServer(Speed(prefill_tokens_a_second=640, decode_tokens_a_second=40, places=2))
    for user in range(3):
        server.take(turn(user))
    first, second = server.start(0.0)
    assert (first.first_token_at, first.ends_at) == (1.0, 2.0)
    assert (second.first_token_at, second.ends_at) == (2.0, 3.0)
    assert server.in_flight == 3
    server.end(first.turn)
    [third] = server.start(2.0)
    assert third.first_token_at == 3.0
    server.take(turn(0))
    server.end(second.turn)
    [again] = server.start(3.0)
    assert (again.warm_tokens, again.first_token_at) == (640, 3.0)


def test_figures_of_a_pool_where_one_does_all() -> None:
    outcome = simulate(TRACE, Fixed(), [Speed(cache_tokens=10**7)] * 4)
    assert outcome.requests == [24 * 8, 0, 0, 0]
    assert (outcome.busiest_by_requests, outcome.busiest_by_seconds) == (4.0, 4.0)
    assert outcome.in_flight_ratio == pytest.approx(4.0)
    assert outcome.moves == 0.0
    assert len(outcome.first_token_seconds) == 24 * 8
    prompt_tokens = sum(turn.prompt_tokens for conversation in TRACE for turn in conversation)
    new_tokens = sum(conversation[-1].prompt_tokens for conversation in TRACE)
    assert outcome.warm_share > 1 - new_tokens / prompt_tokens - 0.05


def test_round_robin_takes_turns() -> None:
    policy = RoundRobin()
    assert [policy.choose(turn(), [0, 0, 0], 0.0) for _time in range(4)] == [0, 1, 2, 0]


def test_power_of_two_choices_takes_the_less_loaded() -> None:
    policy = PowerOfTwo(2, Random(1).random)
    assert {policy.choose(turn(), [5, 0], 0.0) for _time in range(9)} == {1}


def test_the_radix_policy_as_published() -> None:
    policy = Radix(3, 0.5, 4, 1.5)
    assert policy.choose(turn(1), [1, 0, 2], 0.0) == 1  # seen by nobody: the idlest
    assert policy.choose(turn(1), [0, 4, 0], 0.0) == 1  # seen there
    assert policy.choose(turn(1), [0, 5, 1], 0.0) == 0  # more than 4 apart, and more than 1.5 times
    assert policy.choose(turn(2), [9, 9, 8], 0.0) == 2
    smallest = Radix(2, 0.5, 4, 1.5, smallest_tree=True)
    smallest.choose(turn(1), [0, 0], 0.0)
    assert smallest.choose(turn(2), [0, 1], 0.0) == 1


def test_ours_goes_home_and_is_not_overrun() -> None:
    policy = Sticky(3, Random(1).random)
    first = policy.choose(turn(1), [0, 0, 0], 0.0)
    busy = [0, 0, 0]
    busy[first] = 9
    policy.ended(turn(1), first, 1.0)
    assert policy.choose(turn(1), [0, 0, 0], 1.0) == first
    policy.ended(turn(1), first, 1.0)
    assert policy.choose(turn(1), busy, 2.0) != first


@pytest.mark.parametrize("seed", [1, 2])
def test_ours_finds_warm_prompts_and_no_server_is_overrun(seed: int) -> None:
    trace = make_trace(seed, 40, 12)
    speeds = [Speed()] * 4
    ours = simulate(trace, Sticky(4, Random(seed).random), speeds)
    drawn = simulate(trace, PowerOfTwo(4, Random(seed).random), speeds)
    assert ours.warm_share > drawn.warm_share + 0.2
    assert max(ours.busiest_by_requests, ours.busiest_by_seconds) <= MOST_OVER_MEAN
    assert ours == simulate(trace, Sticky(4, Random(seed).random), speeds)


def test_the_report() -> None:
    outcome = Outcome("ours", 0.5, [3, 1], [6.0, 2.0], 1.25, [0.1, 0.2, 0.3], 0.5)
    [found] = summary([outcome])
    assert (found["warm_share"], found["busiest_by_requests"], found["busiest_by_seconds"]) == (0.5, 1.5, 1.5)
    assert (found["first_token_p50_seconds"], found["moves_per_conversation"]) == (0.2, 0.5)
    written = io.StringIO()
    print_outcomes([outcome], "a title", Console(file=written, width=160))
    assert all(text in written.getvalue() for text in ("a title", "ours", "50.0%", "1.50", "1.25"))


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--users", "10", "--turns", "3", "--servers", "2", "--seed", "5", "--json"]) in (0, 1)
    told = json.loads(capsys.readouterr().out)
    assert (told["seed"], told["servers"], len(told["policies"])) == (5, 2, 5)
    assert told["affinity_bytes"] > 1000
    assert main(["--users", "4", "--turns", "2", "--servers", "1", "--uneven"]) == 0
    assert "4 conversations of 2 turns" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--users", "0"], ["--servers", "65"], ["--through-gateway"]])
def test_options_that_make_no_sense(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "error" in capsys.readouterr().err


def test_sizes_are_added_up_once() -> None:
    shared = "x" * 1000
    assert deep_size([shared, shared]) < 2 * deep_size([shared])
    assert deep_size({"a": (1, [shared])}) > 1000
    assert deep_size(Speed()) > deep_size(1.0)
