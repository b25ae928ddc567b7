"""Sums and histograms of outcomes."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.services.core.answer.usage import Usage
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.tallies import REMOVED_SERVER, TIME_BOUNDS_SECONDS, UNKNOWN_MODEL, Tallies

OUTCOME = Outcome(
    request_id="r", client="", key_id="k", path="/v1/completions", model="m", server_id="s", status=200,
    error_code=None, stream=True, attempts=1, duration_seconds=0.3, first_token_seconds=0.02, usage=Usage(7, 3),
    events=4,
)  # fmt: skip
seconds = st.floats(0, 10_000)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    return replace(
        OUTCOME,
        model=draw(st.sampled_from(["m", "n", "unheard of", "", UNKNOWN_MODEL])),
        server_id=draw(st.sampled_from([None, "s", "t"])),
        status=draw(st.sampled_from([200, 404, 502])),
        attempts=draw(st.integers(0, 3)),
        duration_seconds=draw(seconds),
        first_token_seconds=draw(st.none() | seconds),
        usage=Usage(draw(st.integers(0, 100)), draw(st.integers(0, 100))),
        events=draw(st.integers(0, 100)),
    )


@given(st.lists(outcomes(), max_size=30), st.integers(0, 30))
def test_nothing_is_lost_however_it_is_cut_into_batches(given: list[Outcome], cut: int) -> None:
    tallies = Tallies()
    for batch in (given[:cut], given[cut:]):
        tallies.count(batch, {"m", "n"}, {"s", "t"})
    every = tallies.by_key.values()
    assert sum(tally.requests for tally in every) == len(given)
    assert sum(tally.attempts for tally in every) == sum(outcome.attempts for outcome in given)
    assert sum(tally.retries for tally in every) == sum(max(0, outcome.attempts - 1) for outcome in given)
    assert sum(tally.events for tally in every) == sum(outcome.events for outcome in given)
    assert sum(tally.prompt_tokens for tally in every) == sum(outcome.usage.prompt_tokens for outcome in given)
    assert sum(tally.completion_tokens for tally in every) == sum(outcome.usage.completion_tokens for outcome in given)
    assert set(tallies.by_model) <= {"m", "n", UNKNOWN_MODEL}
    for (model, server, _status), tally in tallies.by_key.items():
        assert tally.times is tallies.by_place[model, server]


@given(st.lists(seconds, min_size=1, max_size=30))
def test_times_fall_into_their_buckets(durations: list[float]) -> None:
    tallies = Tallies()
    tallies.count([replace(OUTCOME, duration_seconds=duration) for duration in durations], {"m"}, {"s"})
    times = tallies.by_model["m"]
    for place, count in enumerate(times.durations):
        assert count == sum(bisect_left(TIME_BOUNDS_SECONDS, duration) == place for duration in durations)
    assert times.first_tokens[bisect_left(TIME_BOUNDS_SECONDS, 0.02)] == len(durations)


def test_a_time_on_a_bound_is_within_it() -> None:
    tallies = Tallies()
    tallies.count([replace(OUTCOME, duration_seconds=0.5)], {"m"}, {"s"})
    assert tallies.by_model["m"].durations[TIME_BOUNDS_SECONDS.index(0.5)] == 1


def test_names_that_no_server_has_share_one_label() -> None:
    tallies = Tallies()
    tallies.count([replace(OUTCOME, model=f"made-up-{number}", status=404) for number in range(100)], {"m"}, {"s"})
    assert {key: tally.requests for key, tally in tallies.by_key.items()} == {(UNKNOWN_MODEL, "s", 404): 100}


def test_a_model_that_was_removed_keeps_its_figures() -> None:
    tallies = Tallies()
    tallies.count([OUTCOME], {"m"}, {"s"})
    tallies.count([OUTCOME, replace(OUTCOME, status=503)], {}, {"s"})
    assert {key: tally.requests for key, tally in tallies.by_key.items()} == {("m", "s", 200): 2, ("m", "s", 503): 1}


def test_a_thousand_models_are_told_apart_and_no_more() -> None:
    names = [f"model-{number}" for number in range(1500)]
    tallies = Tallies()
    tallies.count([replace(OUTCOME, model=name) for name in names], set(names), {"s"})
    assert len(tallies.by_model) == 1001
    assert tallies.by_key[UNKNOWN_MODEL, "s", 200].requests == 500


def test_only_streams_have_a_first_token() -> None:
    tallies = Tallies()
    tallies.count([OUTCOME, replace(OUTCOME, stream=False, first_token_seconds=9.0)], {"m"}, {"s"})
    times = tallies.by_model["m"]
    assert (sum(times.first_tokens), times.first_token_seconds_total) == (1, 0.02)
    assert sum(times.durations) == 2


def test_what_no_server_had_a_part_in_is_counted_without_a_duration() -> None:
    tallies = Tallies()
    replied = replace(OUTCOME, model="", server_id=None, status=401, attempts=0, duration_seconds=0.0)
    waited = replace(replied, status=503, duration_seconds=2.0)
    tallies.count([replied, waited], {"m"}, {"s"})
    assert tallies.by_key[UNKNOWN_MODEL, None, 401].requests == 1
    times = tallies.by_model[UNKNOWN_MODEL]
    assert (sum(times.durations), times.duration_seconds_total) == (1, 2.0)


def test_servers_that_come_and_go_are_folded_and_nothing_is_lost() -> None:
    tallies = Tallies()
    for number in range(5000):
        outcome = replace(OUTCOME, server_id=f"s-{number}", attempts=2)
        tallies.count([OUTCOME, outcome], {"m"}, {"s", f"s-{number}"})
    assert len(tallies.by_key) <= 1002
    assert tallies.by_key["m", "s", 200].requests == 5000
    folded = tallies.by_key["m", REMOVED_SERVER, 200]
    others = [tally for key, tally in tallies.by_key.items() if key[1] != "s"]
    assert folded in others
    assert sum(tally.requests for tally in others) == 5000
    assert sum(tally.attempts for tally in others) == 10_000
    assert sum(tally.retries for tally in others) == 5000
    assert sum(tally.events for tally in others) == 20_000
    assert sum(tally.prompt_tokens for tally in others) == 35_000
    assert sum(tally.completion_tokens for tally in others) == 15_000
    assert folded.times is tallies.by_place["m", REMOVED_SERVER]
    assert len(tallies.by_place) <= 1002
    assert sum(tallies.by_model["m"].durations) == sum(tallies.by_model["m"].first_tokens) == 10_000


def test_the_times_of_a_server_are_its_own() -> None:
    tallies = Tallies()
    slow = replace(OUTCOME, server_id="t", first_token_seconds=4.0)
    tallies.count([OUTCOME, slow, replace(slow, status=502)], {"m"}, {"s", "t"})
    assert {place: sum(times.first_tokens) for place, times in tallies.by_place.items()} == {
        ("m", "s"): 1,
        ("m", "t"): 2,
    }
    assert tallies.by_model["m"].first_token_seconds_total == 8.02


def test_servers_that_stay_are_told_apart_however_many() -> None:
    names = [f"s-{number}" for number in range(1500)]
    tallies = Tallies()
    tallies.count([replace(OUTCOME, server_id=name) for name in names], {"m"}, set(names))
    assert len(tallies.by_key) == 1500
