"""The waiting room, with guests that take places as the test says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from app.services.core.choice.snapshot import Route
from app.services.core.queue.use import Charge
from app.services.dataplane.exchange import Exchange
from app.services.dataplane.waiting_room import WaitingRoom

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"


@dataclass(eq=False)
class Hotel:
    """Servers with so many places free, by model; longer prompts than ``longest`` fit nowhere."""

    room: WaitingRoom
    running: list[Guest] = field(default_factory=list)
    free: dict[str, int] = field(default_factory=dict)
    longest: int = 10**9
    routed: list[Guest] = field(default_factory=list)
    servers: dict[str, Collection[str]] = field(default_factory=dict)

    def guest(self, person: str, model: str = "m", **fields: Any) -> Guest:
        guest = Guest(self, person, model, **fields)
        self.running.append(guest)
        return guest

    def waiting(self, person: str, model: str = "m", **fields: Any) -> Guest:
        guest = self.guest(person, model, **fields)
        assert self.room.join(cast("Exchange", guest))
        return guest

    def freed(self, model: str = "m", places: int = 1, *, for_all: bool = False) -> list[Guest]:
        """Free places; return those that were routed, whether they found one or not."""
        self.free[model] = self.free.get(model, 0) + places
        self.routed.clear()
        self.room.place_freed(for_all=for_all)
        return list(self.routed)


@dataclass
class _Call:
    person: str
    weight: float = 1.0
    background: bool = False
    path: str = CHAT


@dataclass
class _Peek:
    answer_tokens: int = 0


@dataclass(eq=False)
class Guest:
    """What the waiting room sees of an exchange."""

    hotel: Hotel
    person: str
    model: str = "m"
    need: tuple[int, int] = (0, 0)
    leg: object = None
    awaits: tuple[str, ...] = ()
    has_tried: bool = False
    background: bool = False
    weight: float = 1.0
    path: str = CHAT
    body: bytes = b"x" * 400
    charge: Charge | None = None
    is_sent: bool = False
    is_done: bool = False
    is_broken: bool = False
    was_turned_away: bool = False
    on_route: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.call = _Call(self.person, self.weight, self.background, self.path)
        self.seen = _Peek()

    @property
    def kind(self) -> Hashable:
        return self.model

    @property
    def waits(self) -> bool:
        return not (self.is_sent or self.is_done)

    def known_route(self) -> Route | None:
        servers = dict.fromkeys(self.hotel.servers.get(self.model, ()), cast("Any", None))
        return Route(self.model, (), (), (), 0, None, by_id=servers, family=self.model)

    def route(self) -> None:
        self.hotel.routed.append(self)
        self.on_route()
        if self.is_broken:
            raise RuntimeError("a bug")
        if self.hotel.free.get(self.model, 0) > 0 and self.need[0] <= self.hotel.longest and not self.awaits:
            self.hotel.free[self.model] -= 1
            self.is_sent = True
        else:
            self.hotel.room.join(cast("Exchange", self))

    def end(self, tokens: int) -> None:
        self.is_sent, self.is_done = False, True
        self.hotel.running.remove(self)
        self.hotel.room.ended(cast("Exchange", self), tokens)

    def crashed(self) -> None:
        self.end(0)

    def turned_away(self) -> None:
        self.was_turned_away = True
        self.end(0)


def opened(most: int = 100) -> Hotel:
    running: list[Guest] = []
    room = WaitingRoom(most, cast("Any", running))
    room.turn(1000.0)
    return Hotel(room, running)


def test_a_place_goes_to_the_first_in_turn_and_one_more_is_asked() -> None:
    hotel = opened()
    guests = [hotel.waiting("ann") for _guest in range(50)]
    assert hotel.freed() == guests[:2]
    assert (guests[0].is_sent, hotel.room.count) == (True, 49)
    assert list(hotel.room) == [cast("Exchange", guest) for guest in guests[1:]]


def test_begun_streams_come_first_and_the_background_last() -> None:
    hotel = opened()
    titles, person, begun = hotel.waiting("t", background=True), hotel.waiting("p"), hotel.waiting("b", leg="begun")
    assert [guest for guest in hotel.freed(places=3) if guest.is_sent] == [begun, person, titles]


def test_those_with_begun_streams_may_always_wait() -> None:
    hotel = opened(most=0)
    assert not hotel.room.join(cast("Exchange", hotel.guest("ann")))
    hotel.waiting("ann", leg="begun")


def test_who_has_to_make_room_is_told() -> None:
    hotel = opened(most=2)
    first, second = hotel.waiting("ann"), hotel.waiting("ann")
    hotel.waiting("ben")
    assert (first.was_turned_away, second.was_turned_away) == (False, True)
    assert hotel.room.count == 2


def test_a_shorter_prompt_may_fit_where_a_longer_one_did_not() -> None:
    hotel = opened()
    hotel.longest = 1000
    hotel.waiting("ann", need=(5000, 100))
    hotel.waiting("ben", need=(6000, 200))
    short = hotel.waiting("cid", need=(900, 100))
    longer = hotel.waiting("dan", need=(6000, 10))
    routed = hotel.freed()
    assert [guest.person for guest in routed] == ["ann", "cid", "dan"]
    assert short.is_sent
    assert longer.waits


def test_who_was_sent_somewhere_says_nothing_of_others() -> None:
    hotel = opened()
    tried = hotel.waiting("ann", has_tried=True, need=(0, 0))
    tried.on_route = lambda: None
    tried.awaits = ("s1",)
    fresh = hotel.waiting("ben")
    assert hotel.freed(for_all=True) == [tried, fresh]
    assert fresh.is_sent


def test_a_place_means_nothing_to_those_who_wait_for_a_server() -> None:
    hotel = opened()
    hotel.waiting("ann", awaits=("s1", "s2"))
    hotel.waiting("ben", awaits=("s2", "s3"))
    assert hotel.room.awaited() == ["s1", "s2", "s3"]
    assert hotel.freed(places=0) == []
    assert len(hotel.freed(places=0, for_all=True)) == 1


def test_a_bug_of_one_does_not_hold_up_the_others(caplog: pytest.LogCaptureFixture) -> None:
    hotel = opened()
    broken, other = hotel.waiting("ann", is_broken=True), hotel.waiting("ben")
    hotel.freed()
    assert (broken.is_done, other.is_sent, hotel.room.count) == (True, True, 0)
    assert "An exchange that waited failed" in caplog.text


def test_what_comes_free_meanwhile_is_for_the_first_in_turn_again() -> None:
    hotel = opened()
    hotel.waiting("ann", "full")
    person = hotel.waiting("ben")
    titles = hotel.waiting("cid", "other", background=True)

    def another_ends() -> None:
        titles.on_route = lambda: None
        hotel.free["m"] = 1
        hotel.room.place_freed()

    titles.on_route = another_ends
    hotel.freed("other")
    assert (titles.is_sent, person.is_sent) == (True, True)


def test_places_that_come_free_without_end_do_not_hold_up_the_loop() -> None:
    hotel = opened()
    guest = hotel.waiting("ann")
    guest.on_route = hotel.room.place_freed
    assert len(hotel.freed(places=0)) < 20


def test_who_comes_while_others_wait_lets_them_try_first() -> None:
    hotel = opened()
    waits, comes = hotel.waiting("ann"), hotel.guest("ben")
    assert hotel.room.is_busy
    hotel.free["m"] = 1
    hotel.room.let_in(cast("Exchange", comes))
    assert (waits.is_sent, comes.is_sent) == (True, False)
    assert hotel.room.count == 1


def test_when_the_first_begins_to_wait_what_runs_is_charged() -> None:
    hotel = opened()
    running = hotel.guest("ann", is_sent=True)
    assert running.charge is None
    hotel.waiting("ann")
    hotel.waiting("ben")
    use = hotel.room.people
    assert use.tokens("ann") == 100 + 256, "the prompt by its size, and a usual answer"
    assert hotel.freed()[0].person == "ben", "ann's first is running"
    running.end(40)
    assert (use.tokens("ann"), use.pending("ann")) == (40, 0)


def test_while_it_is_busy_all_that_begins_is_charged() -> None:
    hotel = opened()
    hotel.waiting("ann", "full")
    comes = hotel.guest("ben")
    hotel.free["m"] = 1
    hotel.room.let_in(cast("Exchange", comes))
    assert hotel.room.people.pending("ben") == 356
    comes.end(7)
    assert hotel.room.people.tokens("ben") == 7


def test_when_nobody_waits_it_costs_what_was_used() -> None:
    hotel = opened()
    guest = hotel.waiting("ann")
    hotel.freed()
    guest.end(10)
    hotel.room.turn(1000.1)
    assert not hotel.room.is_busy
    calm = hotel.guest("ann", is_sent=True)
    calm.end(90)
    assert hotel.room.people.tokens("ann") == pytest.approx(100, rel=0.01)
    hotel.guest("nobody").end(0)
    assert len(hotel.room.people) == 1


def test_the_usual_answer_is_learnt_and_what_is_asked_for_bounds_it() -> None:
    hotel = opened()
    for _answer in range(100):
        guest = hotel.waiting("ann")
        hotel.freed()
        guest.end(100 + 1000)
    guest = hotel.waiting("ben")
    hotel.freed()
    assert hotel.room.people.pending("ben") == pytest.approx(1100, rel=0.02)
    short = hotel.waiting("cid")
    short.seen.answer_tokens = 16
    embedding = hotel.waiting("dan", path=EMBEDDINGS)
    assert [hotel.room._expected(cast("Exchange", guest)) for guest in (short, embedding)] == [116, 100]


def test_who_waits_again_is_not_charged_twice() -> None:
    hotel = opened()
    guest = hotel.waiting("ann")
    hotel.freed()
    charge = guest.charge
    guest.is_sent, guest.has_tried = False, True
    assert hotel.room.join(cast("Exchange", guest))
    hotel.freed()
    assert guest.is_sent
    assert guest.charge is charge
    assert hotel.room.people.tokens("ann") == 356


def test_a_newcomer_to_a_line_is_lifted_beside_lines_with_the_same_servers() -> None:
    hotel = opened()
    hotel.servers = {"one": {"s1", "s2"}, "two": {"s2"}, "three": {"s3"}}
    hotel.room.people.charge("ann", 10_000)
    hotel.waiting("ann", "one")
    for model in ("two", "three"):
        hotel.waiting("ben", model)
    lines = hotel.room._fresh._lines[0]
    assert lines["two"]._lifts == {"ben": 10_000}
    assert lines["three"]._lifts == {}


def test_positions_are_those_of_ones_own_model() -> None:
    hotel = opened()
    titles = hotel.waiting("t", background=True)
    others = [hotel.waiting("ann", "other") for _guest in range(5)]
    first, second = hotel.waiting("ann"), hotel.waiting("ben")
    begun = hotel.waiting("cid", leg="begun")
    places = [hotel.room.place_of(cast("Exchange", guest)) for guest in (begun, first, second, titles, others[0])]
    assert places == [(1, 4), (2, 4), (3, 4), (4, 4), (1, 5)]
    assert hotel.room.place_of(cast("Exchange", hotel.guest("ann"))) is None


def test_how_long_to_stay_away_follows_the_position_and_the_pace() -> None:
    hotel = opened(most=1000)
    assert hotel.room.wait_seconds(cast("Exchange", hotel.guest("ann"))) == 5, "nothing is known yet"
    for _guest in range(300):
        hotel.waiting("ann")
    for tick in range(300):
        if tick % 2 == 0:
            hotel.freed()
        hotel.room.turn(1000.0 + tick / 10)
    last = list(hotel.room)[-1]
    assert hotel.room.count == 150
    assert hotel.room.wait_seconds(last) == pytest.approx(30, abs=1), "five find a place in a second"
    assert hotel.room.wait_seconds(next(iter(hotel.room))) == 1
    assert hotel.room.wait_seconds(cast("Exchange", hotel.guest("ann"))) == pytest.approx(30, abs=1)


def test_all_are_forgotten_when_the_gateway_goes_down() -> None:
    hotel = opened()
    for _guest in range(3):
        hotel.waiting("ann")
        hotel.waiting("ben", leg="begun")
    hotel.room.clear()
    assert (hotel.room.count, list(hotel.room)) == (0, [])
