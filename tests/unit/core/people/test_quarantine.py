"""Is a server taken out that passes its checks and fails requests, and never one that somebody needs?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.choice.sight import Sight, sees
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.network.addresses import parse_endpoint
from app.services.core.people.principal import Trust
from app.services.core.people.quarantine import (
    LONGEST_SECONDS,
    WINDOW_SECONDS,
    Ejection,
    fault_of,
    is_needed,
    may_be_taken_out,
    out_for_seconds,
    verdict,
)
from app.services.core.retry import Failure
from app.services.core.types import HealthStatus, ModelEntry, Server


def server(server_id: str, *models: str, **fields) -> Server:
    entries = tuple(ModelEntry(model, model) for model in models or ("m",))
    known = Server(server_id, parse_endpoint(f"http://{server_id}.example"), entries, health=HealthStatus.HEALTHY)
    return replace(known, **fields)


def ejections(*times: float, fault: str = "it answered 500", good: int = 0) -> list[Ejection]:
    return [Ejection(at, fault, 5 if number == 0 else 1, good) for number, at in enumerate(times)]


def never(_server_id: str) -> bool:
    return False


@pytest.mark.parametrize(
    ("failure", "status", "begun", "words"),
    [
        (Failure.FAILED, 500, False, "it answered 500"),
        (Failure.BROKEN, 200, False, "its answer made no sense"),
        (Failure.BROKEN, 200, True, "its answer broke off"),
        (Failure.DIAL, 0, False, None),
        (Failure.RESET, 0, False, None),
        (Failure.SILENT, 200, True, None),
        (Failure.DEAD, 200, True, None),
        (Failure.OVERLOADED, 503, False, None),
        (Failure.CREDENTIALS, 401, False, None),
    ],
)
def test_only_its_own_bad_answers_speak_against_a_server(failure, status, begun, words) -> None:
    assert fault_of(failure, status, begun=begun) == words


def test_five_ejections_in_ten_minutes_are_enough_and_told_in_words() -> None:
    assert verdict(ejections(0, 5, 15, 35), 35) is None
    said = verdict(ejections(0, 5, 15, 35, 75), 75)
    assert said == "9 of its last 9 answers were no good (it answered 500), though its checks pass"


def test_old_ejections_do_not_count() -> None:
    times = (0, 5, 15, 35)
    assert verdict(ejections(*times, WINDOW_SECONDS), WINDOW_SECONDS) is not None
    assert verdict(ejections(*times, WINDOW_SECONDS + 1), WINDOW_SECONDS + 1) is None


def test_one_that_also_serves_well_stays() -> None:
    known = ejections(0, 5, 15, 35, 75, good=100)
    assert verdict(known, 75, good=103) is not None
    assert verdict(known, 75, good=104) is None
    assert "9 of its last 12" in str(verdict(known, 75, good=103))


def test_several_faults_are_told_the_most_frequent_first() -> None:
    mixed = [*ejections(0, 5), *ejections(15, 35, 75, fault="its answer broke off")]
    assert "(its answer broke off, it answered 500)" in str(verdict(mixed, 75))


def test_it_is_out_ever_longer_up_to_six_hours() -> None:
    seconds = [out_for_seconds(times) for times in range(20)]
    assert seconds[:3] == [600, 1200, 2400]
    assert seconds == sorted(seconds)
    assert seconds[-1] == LONGEST_SECONDS == 6 * 3600


def test_one_of_three_may_be_out_and_no_second_one() -> None:
    first, second, third = server("a"), server("b"), server("c")
    assert may_be_taken_out(first, build_snapshot([first, second, third]), never)
    assert not may_be_taken_out(first, build_snapshot([first, second]), never)
    assert not may_be_taken_out(first, build_snapshot([first, replace(second, quarantined=True), third]), never)
    six = [server(name) for name in "abcdef"]
    assert may_be_taken_out(six[0], build_snapshot([*six[:5], replace(six[5], quarantined=True)]), never)


def test_the_last_ready_one_of_any_of_its_models_stays() -> None:
    both = server("a", "m", "n")
    rest = [server("b"), server("c")]
    assert not may_be_taken_out(both, build_snapshot([both, *rest]), never)
    assert may_be_taken_out(both, build_snapshot([both, *rest, server("d", "n"), server("e", "n")]), never)


@pytest.mark.parametrize("trouble", [{"health": HealthStatus.UNHEALTHY}, {"paused": True}, {"missing_models": {"m"}}])
def test_others_that_are_not_ready_do_not_replace_it(trouble) -> None:
    first, rest = server("a"), [server(name, **trouble) for name in "bc"]
    assert not may_be_taken_out(first, build_snapshot([first, *rest]), never)


def test_others_that_the_breaker_holds_back_do_not_replace_it() -> None:
    servers = [server(name) for name in "abc"]
    assert not may_be_taken_out(servers[0], build_snapshot(servers), lambda server_id: server_id != "a")


@pytest.mark.parametrize(
    ("fields", "others", "expected"),
    [
        ({}, {"share": "me", "owner": "else"}, False),
        ({}, {"trust": Trust.PUBLIC}, False),
        ({"trust": Trust.PUBLIC}, {"trust": Trust.PUBLIC}, True),
        ({"trust": Trust.PUBLIC}, {"trust": Trust.TRUSTED}, True),
        ({"share": "group", "group": "g", "trust": Trust.GROUP}, {"share": "group", "group": "h"}, False),
        ({"share": "group", "group": "g", "trust": Trust.GROUP}, {"trust": Trust.PUBLIC}, False),
        ({"share": "group", "group": "g", "trust": Trust.GROUP}, {"trust": Trust.TRUSTED}, True),
        ({"share": "me", "owner": "o", "trust": Trust.GROUP}, {"share": "me", "owner": "p"}, False),
        ({"share": "me", "owner": "o", "trust": Trust.GROUP}, {"share": "me", "owner": "o"}, True),
        ({"share": "me", "owner": "o", "trust": Trust.GROUP}, {"trust": Trust.PUBLIC}, True),
    ],
)
def test_all_who_may_use_it_must_be_able_to_use_another(fields, others, expected) -> None:
    first, rest = server("a", **fields), [server(name, **others) for name in "bc"]
    assert may_be_taken_out(first, build_snapshot([first, *rest]), never) is expected


def test_one_that_is_out_is_needed_when_the_others_fail() -> None:
    out, rest = server("a", quarantined=True), [server("b"), server("c")]
    assert not is_needed(out, build_snapshot([out, *rest]))
    unknown = [replace(one, health=HealthStatus.UNKNOWN) for one in rest]
    assert not is_needed(out, build_snapshot([out, *unknown]))
    down = [replace(one, health=HealthStatus.UNHEALTHY) for one in rest]
    assert is_needed(out, build_snapshot([out, *down]))


kinds = st.fixed_dictionaries(
    {
        "share": st.sampled_from(["everyone", "group", "me"]),
        "group": st.sampled_from([None, "g", "h"]),
        "owner": st.sampled_from(["o", "p"]),
        "trust": st.sampled_from(Trust),
    }
)
sights = st.builds(Sight, st.sampled_from(["", "q"]), st.sampled_from([None, "g", "h", "i"]), st.sampled_from(Trust))


@given(st.lists(kinds, min_size=3, max_size=8), sights)
def test_whoever_could_use_it_can_use_another_when_it_is_out(fields, sight) -> None:
    servers = [server(f"s{number}", **kind) for number, kind in enumerate(fields)]
    snapshot = build_snapshot(servers)
    if may_be_taken_out(servers[0], snapshot, never) and sees(sight, servers[0]):
        assert any(sees(sight, other) for other in servers[1:])
