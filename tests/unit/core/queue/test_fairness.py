"""Who gets how much, and who waits how long? Simulated with real queues, under a clock of their own."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.core.queue.service import Service, jain

pytestmark = pytest.mark.no_cover  # the same lines thousands of times: other tests tell which are reached
PEOPLE = [f"person-{number}" for number in range(10)]
GUESSES = [None, 1.0, 1000.0]
"""What a request is taken to use before it is known: the truth, far too little, far too much."""


def shares(service: Service, *people: str) -> list[float]:
    return [service.got[person] for person in people]


@pytest.mark.parametrize("guess", GUESSES)
@pytest.mark.parametrize("places", [1, 6])
def test_ten_people_with_unequal_demand_get_the_same(places: int, guess: float | None) -> None:
    service, random = Service({"m": places}), Random(places)
    for rank, person in enumerate(PEOPLE, 1):
        for _request in range((40 + 20 * rank) * places):
            size = random.choice([20, 50, 100, 400]) if rank % 2 else 60
            service.ask(person, size, at=random.uniform(0, 5), expected=guess)
    service.run(300.0)
    assert jain(shares(service, *PEOPLE)) >= 0.98
    assert all(any(asked.person == person for asked in service.queue) for person in PEOPLE), "nobody has it all"


def test_who_asks_for_less_than_a_fair_share_gets_all_of_it() -> None:
    """And the others share the rest evenly: max-min fairness."""
    service = Service({"m": 4})  # 400 tokens a second
    for second in range(200):
        service.ask("light", 20, at=float(second))
    for person in PEOPLE[:4]:
        service.ask_many(person, [80] * 500)
    service.run(200.0)
    assert service.got["light"] == pytest.approx(4000, abs=40)
    assert jain(shares(service, *PEOPLE[:4])) > 0.999
    assert sum(shares(service, *PEOPLE[:4])) == pytest.approx(76_000, rel=0.01)


@pytest.mark.parametrize("guess", GUESSES)
def test_an_idle_persons_first_request_waits_at_most_one_service_time(guess: float | None) -> None:
    """Once those that came together at the start have each had their first turn."""
    service, size = Service({"m": 1}), 250.0
    for person in PEOPLE:
        service.ask_many(person, [size] * 100, expected=guess)
    for number in range(50):
        service.ask(f"idle-{number}", size, at=30.0 + 7.31 * number, expected=guess)
    service.run(500.0)
    one_service = size / service.tokens_per_second
    assert max(service.waits[f"idle-{number}"][0] for number in range(50)) <= one_service
    assert all(len(service.waits[f"idle-{number}"]) == 1 for number in range(50))


@pytest.mark.parametrize("guess", GUESSES)
def test_who_comes_back_after_a_pause_is_next_too(guess: float | None) -> None:
    service = Service({"m": 2})
    for person in PEOPLE:
        service.ask_many(person, [100] * 300, expected=guess)
    service.ask("pausing", 100, at=5.0, expected=guess)
    service.ask("pausing", 100, at=300.0, expected=guess)
    service.run(320.0)
    assert max(service.waits["pausing"]) <= 1.0


@pytest.mark.parametrize("guess", GUESSES)
def test_one_with_a_thousand_requests_does_not_hold_up_another_with_one(guess: float | None) -> None:
    service = Service({"m": 4})
    service.ask_many("flood", [100] * 1000, expected=guess)
    for number in range(20):
        service.ask("other", 100, at=3.3 + 5.7 * number, expected=guess)
    service.run(1000.0)
    assert max(service.waits["other"]) <= 1.0
    assert service.got["flood"] == 100_000
    assert [asked.number for asked in service.served if asked.person == "flood"] == list(range(1000))


def test_a_flood_that_goes_on_does_not_either() -> None:
    service = Service({"m": 2}, most=100)
    for tick in range(6000):
        service.ask("flood", 100, at=tick / 100)
    for number in range(10):
        service.ask("other", 100, at=5.05 + 5 * number)
    service.run(60.0)
    assert {asked.person for asked in service.refused} == {"flood"}
    assert len(service.waits["other"]) == 10
    assert max(service.waits["other"]) <= 1.0


@pytest.mark.parametrize(("places", "guess"), [(1, None), (4, 1.0), (4, 200.0)])
def test_weights_are_shares_of_tokens(places: int, guess: float | None) -> None:
    service, random = Service({"m": places}), Random(7)
    weights = {"one": 1.0, "two": 2.0, "four": 4.0}
    for person, weight in weights.items():
        for _request in range(600 * places):
            service.ask(person, random.choice([5, 20, 40, 60]), weight=weight, expected=guess)
    service.run(250.0)
    one, two, four = shares(service, *weights)
    assert two / one == pytest.approx(2.0, rel=0.03)
    assert four / one == pytest.approx(4.0, rel=0.03)


@pytest.mark.parametrize("guess", GUESSES)
def test_it_is_tokens_that_are_shared_and_not_requests(guess: float | None) -> None:
    service = Service({"m": 4})
    service.ask_many("long", [800] * 200, expected=guess)
    service.ask_many("short", [20] * 5000, expected=guess)
    service.run(200.0)
    assert service.got["short"] == pytest.approx(service.got["long"], abs=4 * 800)
    assert len(service.waits["short"]) > 30 * len(service.waits["long"])


def test_who_idled_has_saved_nothing_up() -> None:
    """Ten minutes of others' work do not make up for a flood afterwards."""
    service = Service({"m": 2})
    for person in PEOPLE[:4]:
        service.ask_many(person, [100] * 500)
    service.ask_many("idled", [100] * 400, at=600.0)
    service.run(600.0)
    before = dict(service.got)
    service.run(650.0)
    gained = [service.got[person] - before.get(person, 0.0) for person in (*PEOPLE[:4], "idled")]
    assert sum(gained) == pytest.approx(10_000, rel=0.03)
    assert jain(gained) > 0.99


def test_a_crowd_of_newcomers_does_not_starve_who_waits() -> None:
    service = Service({"m": 1})
    service.ask_many("patient", [100] * 200)
    for second in range(300):
        service.ask(f"newcomer-{second}", 100, at=2.0 + second / 2)  # two a second, where one can be served
    service.run(100.0)
    served_at = [number for number, asked in enumerate(service.served) if asked.person == "patient"]
    assert max(two - one for one, two in pairwise(served_at)) <= 40


def test_the_background_yields_at_once_and_gets_all_that_is_left() -> None:
    service = Service({"m": 2})
    service.ask_many("titles", [100] * 400, background=True)
    service.ask_many("person", [100] * 50, at=20.05)
    service.run(100.0)
    first = next(number for number, asked in enumerate(service.served) if asked.person == "person")
    among = service.served[first : first + 50]
    assert {asked.person for asked in among} == {"person"}, "from the first place on that came free"
    assert service.waits["person"][0] <= 1.0
    assert service.got["titles"] == pytest.approx(20_000 - 5000, abs=400)


def test_a_background_for_what_nobody_else_wants_is_not_held_up() -> None:
    service = Service({"m": 1, "other": 1})
    service.ask_many("person", [100] * 100)
    service.ask_many("titles", [100] * 100, line="other", background=True)
    service.run(50.0)
    assert service.got["titles"] == service.got["person"]


def test_lines_that_share_a_server_share_it_between_people() -> None:
    """Three models, one of which has a server of its own, and one server for all."""
    service = Service({"any": 3, "other": 1})
    service.ask_many("ann", [100] * 500, line="m")
    service.ask_many("ben", [100] * 500, line="m")
    service.ask_many("cid", [100] * 500, line="other")
    service.run(200.0)
    assert shares(service, "ann", "ben", "cid") == pytest.approx([80_000 / 3] * 3, rel=0.03)


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(PEOPLE[:4]), st.floats(1, 2000), st.floats(0, 60), st.sampled_from(GUESSES),
        st.sampled_from(["m", "other"]), st.sampled_from([0.5, 1.0, 3.0]), st.booleans(),
    ),
    max_size=60,
)  # fmt: skip


@settings(deadline=None)
@given(REQUESTS, st.integers(0, 2), st.integers(0, 2), st.integers(1, 2), st.integers(1, 30))
def test_nobody_is_lost_and_no_place_is_left_free(
    requests: list[tuple[str, float, float, float | None, str, float, bool]],
    for_m: int, for_other: int, for_any: int, most: int,
) -> None:  # fmt: skip
    service = Service({"m": for_m, "other": for_other, "any": for_any}, most=most)
    asked = [
        service.ask(person, tokens, at=at, expected=guess, line=line, weight=weight, background=background)
        for person, tokens, at, guess, line, weight, background in requests
    ]
    for now in range(0, 61, 3):
        service.run(float(now))
        waiting = list(service.queue)
        assert not any(service._place_for(one) for one in waiting), "work is conserved"
    service.run(1e6)
    assert len(service.served) == len(set(service.served))
    assert set(service.served).isdisjoint(service.refused)
    assert set(service.served) | set(service.refused) == set(asked)
    assert len(service.queue) == 0
    for person in PEOPLE[:4]:
        total = sum(one.tokens for one in service.served if one.person == person)
        assert service.got[person] == pytest.approx(total)
        assert service.use.pending(person) == 0.0


@settings(deadline=None, max_examples=8)
@given(st.lists(st.sampled_from([10.0, 60.0, 300.0]), min_size=10, max_size=10), st.integers(1, 8), st.randoms())
def test_whatever_the_sizes_are_all_get_the_same(sizes: list[float], places: int, random: Random) -> None:
    """Within a request or two for each place: what is in flight cannot be shared out."""
    service = Service({"m": places})
    for person, size in zip(PEOPLE, sizes, strict=True):
        service.ask_many(
            person, [size * random.choice([0.5, 1.0, 1.5]) for _request in range(int(1000 * places / size) + 9)]
        )
    service.run(40.0)
    got = shares(service, *PEOPLE)
    assert max(got) - min(got) <= 2 * 450.0 * (1 + places / 10) + 0.05 * max(got)
