"""Due times and places, driven by hand."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from app.services.agenda import Agenda, Slot


def names(slots: list[Slot]) -> list[str]:
    return [slot.server_id for slot in slots]


def agenda_of(*server_ids: str, places: int = 10, due: float = 0.0) -> Agenda:
    agenda = Agenda(places, lambda _: False)
    for server_id in agenda.keep_only(server_ids):
        agenda.add(server_id, due)
    return agenda


def test_servers_are_taken_when_their_time_comes() -> None:
    agenda = agenda_of("a", due=5.0)
    assert agenda.next_due == 5.0
    assert list(agenda.take(4.9)) == []
    assert names(list(agenda.take(5.0))) == ["a"]
    assert agenda.next_due == math.inf


def test_a_due_time_that_was_brought_forward_replaces_the_old_one() -> None:
    agenda = agenda_of("a", due=5.0)
    assert agenda.bring_forward("a", 1.0)
    [slot] = agenda.take(1.0)
    agenda.finish(slot, 11.0)
    assert list(agenda.take(10.9)) == []
    assert names(list(agenda.take(11.0))) == ["a"]


def test_bringing_forward_never_postpones() -> None:
    agenda = agenda_of("a", due=0.0)
    [slot] = agenda.take(0.0)
    agenda.finish(slot, 0.5)
    assert not agenda.bring_forward("a", 0.1)
    assert names(list(agenda.take(0.5))) == ["a"]


def test_a_server_that_was_started_by_hand_while_it_queued_is_not_taken_again() -> None:
    agenda = agenda_of("a", "b", places=1)
    [first] = agenda.take(0.0)
    second = agenda.slot("b")
    assert second is not None
    agenda.start(second, 1.0)
    agenda.finish(first, 50.0)
    agenda.finish(second, 60.0)
    assert list(agenda.take(2.0)) == []
    assert names(list(agenda.take(50.0))) == ["a"]


def test_a_server_that_comes_back_gets_a_slot_of_its_own() -> None:
    agenda = agenda_of("a")
    [former] = agenda.take(0.0)
    assert agenda.keep_only([]) == []
    assert agenda.keep_only(["a"]) == ["a"]
    agenda.add("a", 7.0)
    agenda.finish(former, 1.0)
    assert not agenda.is_current(former)
    assert not agenda.is_busy
    assert list(agenda.take(6.0)) == []
    assert names(list(agenda.take(7.0))) == ["a"]


steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "finish", "forward", "start", "remove", "add"]),
        st.sampled_from(["a", "b", "c", "d"]),
        st.floats(0, 3),
    ),
    max_size=60,
)


@given(steps, st.integers(1, 3), st.frozensets(st.sampled_from(["a", "b", "c", "d"])))
def test_no_server_is_checked_twice_at_a_time_and_none_is_forgotten(
    script: list[tuple[str, str, float]], places: int, down: frozenset[str]
) -> None:
    agenda = Agenda(places, down.__contains__)
    now, present, running = 0.0, set[str](), list[Slot]()
    for action, server_id, seconds in script:
        now += seconds
        slot = agenda.slot(server_id)
        match action:
            case "take":
                before = len(running)
                for taken in agenda.take(now):
                    assert taken not in running
                    running.append(taken)
                assert len(running) <= max(places, before)
            case "finish" if running:
                agenda.finish(running.pop(0), now + seconds)
            case "forward":
                agenda.bring_forward(server_id, now)
            case "start" if slot is not None and not slot.running:
                agenda.start(slot, now)
                running.append(slot)
            case "remove":
                present.discard(server_id)
                agenda.keep_only(present)
            case "add" if server_id not in present:
                present.add(server_id)
                for new in agenda.keep_only(present):
                    agenda.add(new, now + seconds)
    _drain(agenda, running, present, now)


def _drain(agenda: Agenda, running: list[Slot], present: set[str], now: float) -> None:
    """Finish everything: each server that is there has its turn, whatever happened before."""
    seen: set[str] = set()
    for slot in running:
        agenda.finish(slot, now)
    for _ in range(20):
        now += 10
        for slot in agenda.take(now):
            seen.add(slot.server_id)
            agenda.finish(slot, now + 500)
    assert seen == present
    assert not agenda.is_busy
