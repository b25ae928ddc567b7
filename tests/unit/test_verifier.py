"""When is who asked whether it does what it says? Servers that exist only in a table, in a time of its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from app.services.core.continuation.ability import Ability, Rung
from app.services.core.errors import EndpointRefused, StorageUnavailable
from app.services.core.live.board import Board
from app.services.core.network.addresses import parse_endpoint
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server
from app.services.core.verification.asking import Look, Lost, Say, Told
from app.services.core.verification.findings import Subject, Verdict, VerificationFinding
from app.services.core.verification.rota import LEAST_GAP_SECONDS, PATIENCE_SECONDS, Rota
from app.services.dataplane.fetch import AnswerBroken, FetchedAnswer
from app.services.dataplane.link import ConnectFailed, ConnectFailure
from app.services.inquiry import Inquiry
from app.services.places import BoardPlaces
from app.services.registry.verifications import Verifications
from app.services.verifier import DAY_SECONDS, Verifier
from app.utils.tasks import TaskKeeper
from tests.fakes.claimant import LOST, Claimant
from tests.fakes.moved_clock import NOON, MovedClock, settle

OTHERWISE = "Bananas grow in warm countries, where farmers cut them green and ship them in cooled holds to far ports."
ABLE = Ability(Rung.FLAGS, Rung.TEXT)
OK, MISMATCH, UNCLEAR = Verdict.OK, Verdict.MISMATCH, Verdict.UNCLEAR


class Shelf:
    """A store in memory, which outlives a restart of what stands before it."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, tuple[VerificationFinding, ...]]] = {}
        self.fails = False

    async def load(self) -> dict[str, dict[str, tuple[VerificationFinding, ...]]]:
        return self.rows

    async def replace(self, server_id: str, findings: Any) -> None:
        if self.fails:
            raise StorageUnavailable("The disk is full.")
        self.rows[server_id] = dict(findings)


class Pool:
    """All servers: what routing knows of them, what is found of them, and what they answer."""

    def __init__(self, shelf: Shelf | None = None, **options: Any) -> None:
        self.clock = MovedClock()
        self.tasks = TaskKeeper()
        self.board = Board()
        self.claimants: dict[str, Claimant] = {}
        self.servers: dict[str, Server] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.running: Counter[str] = Counter()
        self.most_running = 0
        self.asked_at: list[float] = []
        self.keys: list[str | None] = []
        self.timeouts: list[tuple[float, bool]] = []
        self.shelf = shelf or Shelf()
        self.keeps = Verifications(self.shelf)
        after_trials = options.pop("after_trials", False)
        places = BoardPlaces(self.board, self.clock.monotonic, lambda: None)
        rota = Rota(lambda server_id: self.board.in_flight(server_id) == 0, places.has_room, after_trials=after_trials)
        inquiry = Inquiry(self, self, places, self.clock)
        self.verifier = Verifier(inquiry, rota, self.keeps, self.tasks, clock=self.clock, draw=lambda: 0.5, **options)

    def add(self, *names: str, claimant: Claimant | None = None, **fields: Any) -> Claimant:
        """Register servers; return what stands for the last one."""
        for name in names:
            self._place(name, claimant or Claimant(), fields)
        self.publish()
        return self.claimants[f"{names[-1]}.example"]

    def _place(self, name: str, claimant: Claimant, fields: dict[str, Any]) -> None:
        endpoint = parse_endpoint(f"http://{name}.example:8000")
        self.claimants[endpoint.host] = claimant
        ordinary = {"models": (ModelEntry("public", "m", 4096),), "health": HealthStatus.HEALTHY, "engine": "vllm"}
        self.servers[name] = Server(name, endpoint, **(ordinary | fields))

    def change(self, name: str, **fields: Any) -> None:
        self.servers[name] = replace(self.servers[name], **fields)
        self.publish()

    def publish(self) -> None:
        """Tell routing, as the registry does."""
        self.board.keep(self.servers)
        self.verifier.review(self.servers.values())

    def found(self, name: str, model: str = "m") -> dict[Subject, Verdict]:
        return {finding.subject: finding.verdict for finding in self.keeps.of(name).get(model, ())}

    def finding(self, name: str, subject: Subject) -> VerificationFinding:
        return next(finding for finding in self.keeps.of(name)["m"] if finding.subject is subject)

    async def listen(self, endpoint: Endpoint, path: str, body: bytes, **options: Any) -> Told:
        self.keys.append(options["api_key"])
        self.timeouts.append((options["timeout_seconds"], options["only_begin"]))
        self.asked_at.append(self.clock.seconds)
        return await self._answer(endpoint.host, Say(path, body, only_begin=options["only_begin"]))

    async def get(self, endpoint: Endpoint, path: str, **options: Any) -> FetchedAnswer:
        self.keys.append(options["api_key"])
        told = await self._answer(endpoint.host, Look(path))
        return FetchedAnswer(told.status, {}, told.body, 1.0)

    async def _answer(self, host: str, ask: Say | Look) -> Told:
        self.running[host] += 1
        self.most_running = max(self.most_running, self.running.total())
        try:
            if host in self.gates:
                await self.gates[host].wait()
            reply = self.claimants[host].respond(ask)
        finally:
            self.running[host] -= 1
        if isinstance(reply, Lost):
            raise AnswerBroken(reply.reason)
        return reply


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[Pool]:
    made = Pool(**options)
    await made.keeps.load()
    made.tasks.spawn(made.verifier.run(), name="verifier")
    try:
        yield made
    finally:
        await made.tasks.close()


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with opened() as made:
        yield made


async def test_a_new_server_is_looked_at_at_once(pool):
    pool.add("one", api_key="sk-12345678")
    await settle()
    assert pool.found("one") == {
        Subject.NAME: OK,
        Subject.CONTEXT: OK,
        Subject.SPEED: OK,
        Subject.FIRST_TOKEN: OK,
        Subject.CANARY: UNCLEAR,
    }
    assert pool.finding("one", Subject.NAME).found_at == NOON
    assert set(pool.keys) == {"sk-12345678"}
    assert pool.board.in_flight("one") == 0
    assert pool.shelf.rows["one"]["m"] == pool.keeps.of("one")["m"]
    assert sorted(pool.timeouts) == [(10.0, True), (60.0, False)]


async def test_it_is_looked_at_again_once_a_day(pool):
    claimant = pool.add("one")
    await settle()
    once = len(claimant.asked)
    await pool.clock.advance(DAY_SECONDS - 1)
    assert len(claimant.asked) == once
    claimant.context = 1024
    await pool.clock.advance(61)
    assert pool.found("one")[Subject.CONTEXT] is MISMATCH
    assert pool.finding("one", Subject.CONTEXT).found_at > NOON


async def test_without_an_interval_it_is_looked_at_once_for_all():
    async with opened(interval_seconds=0.0) as pool:
        claimant = pool.add("one")
        await pool.clock.advance(3 * DAY_SECONDS)
        assert len(claimant.asked) == 2


async def test_after_a_restart_it_is_looked_at_when_its_time_comes():
    async with opened() as pool:
        pool.add("one")
        await settle()
        shelf = pool.shelf
    async with opened(shelf=shelf) as pool:
        claimant = pool.add("one")
        assert pool.found("one")[Subject.NAME] is OK
        await pool.clock.advance(DAY_SECONDS - 1)
        assert claimant.asked == []
        await pool.clock.advance(61)
        assert len(claimant.asked) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"health": HealthStatus.UNHEALTHY},
        {"health": HealthStatus.UNKNOWN},
        {"paused": True},
        {"blocked": True},
        {"quarantined": True},
        {"draining": True},
        {"misconfigured": True},
        {"missing_models": frozenset({"m"})},
        {"swaps_models": True, "loaded": frozenset({"other"})},
    ],
)
async def test_a_server_that_may_not_be_asked_is_asked_at_once_when_it_may(pool, fields):
    claimant = pool.add("one", **fields)
    await pool.clock.advance(3600)
    assert claimant.asked == []
    good = {"health": HealthStatus.HEALTHY, "missing_models": frozenset(), "loaded": frozenset({"m"})}
    pool.change("one", **{name: good.get(name, False) for name in fields})
    await settle()
    assert pool.found("one")[Subject.NAME] is OK


async def test_a_model_that_is_put_out_in_the_midst_of_a_look_is_not_loaded_for_it(pool):
    pool.gates["one.example"] = asyncio.Event()
    claimant = pool.add("one", engine="ollama", swaps_models=True, loaded=frozenset({"m"}))
    await settle()
    residence = pool.board.lane("one").residence
    residence.take("another", pool.clock.seconds)
    residence.began("another", pool.clock.seconds)
    residence.give_back("another", pool.clock.seconds)
    pool.gates["one.example"].set()
    await pool.clock.advance(100)
    assert len(claimant.asked) == 1
    residence.told(frozenset({"m"}), pool.clock.seconds)
    await pool.clock.advance(3)
    assert pool.found("one")[Subject.NAME] is OK


async def test_a_server_in_use_is_waited_for(pool):
    pool.board.lane("one").take(1000.0)
    claimant = pool.add("one")
    await pool.clock.advance(60)
    assert claimant.asked == []
    pool.board.lane("one").give_back(pool.clock.seconds, 1000.0)
    await pool.clock.advance(3)
    assert pool.found("one")[Subject.NAME] is OK


async def test_a_server_always_in_use_is_looked_at_in_the_end_but_never_beyond_what_it_takes(pool):
    pool.board.lane("one").take(1000.0)
    claimant = pool.add("one", max_concurrency=1)
    await pool.clock.advance(2 * PATIENCE_SECONDS)
    assert claimant.asked == []
    pool.change("one", max_concurrency=2)
    await settle()
    assert pool.found("one")[Subject.NAME] is OK


async def test_a_server_that_fills_up_in_the_midst_of_it_is_left_alone(pool):
    pool.gates["one.example"] = asyncio.Event()
    claimant = pool.add("one", max_concurrency=1)
    await settle()
    assert pool.board.in_flight("one") == 1
    pool.board.lane("one").take(1000.0)
    pool.gates["one.example"].set()
    await pool.clock.advance(100)
    assert len(claimant.asked) == 1
    pool.board.lane("one").give_back(pool.clock.seconds, 1000.0)
    await pool.clock.advance(5)
    assert pool.found("one")[Subject.CONTEXT] is OK


async def test_it_waits_until_the_trial_is_over():
    async with opened(after_trials=True) as pool:
        claimant = pool.add("one")
        await pool.clock.advance(60)
        assert claimant.asked == []
        pool.change("one", abilities={"m": replace(ABLE, thinking_off=True)})
        await settle()
        assert claimant.asked[0][1] is not None
        assert "chat_template_kwargs" in claimant.asked[0][1]


async def test_one_is_asked_at_a_time(pool):
    for number in range(5):
        pool.gates[f"n{number}.example"] = asyncio.Event()
        pool.add(f"n{number}", models=(ModelEntry("a", "a"), ModelEntry("b", "b")))
    await settle()
    for gate in pool.gates.values():
        gate.set()
    await pool.clock.advance(5)
    assert pool.most_running == 1
    assert all(pool.found(f"n{number}", model) for number in range(5) for model in "ab")


async def test_a_fault_is_tried_again_after_ever_longer_pauses(pool):
    pool.add("one", claimant=Claimant(faults=[LOST] * 1000))
    await pool.clock.advance(3 * DAY_SECONDS)
    pauses = [later - earlier for earlier, later in pairwise(pool.asked_at)]
    assert pauses[:6] == [30, 60, 120, 240, 480, 960]
    assert max(pauses) <= DAY_SECONDS + 60
    assert len(pauses) < 16
    assert pool.found("one") == {}


async def test_a_fault_leaves_what_was_found_before(pool):
    claimant = pool.add("one")
    await settle()
    claimant.faults = [LOST] * 3
    await pool.clock.advance(DAY_SECONDS + 61)
    assert pool.found("one")[Subject.NAME] is OK
    assert pool.finding("one", Subject.NAME).found_at == NOON
    await pool.clock.advance(3600)
    assert pool.finding("one", Subject.NAME).found_at > NOON


@pytest.mark.parametrize(
    "error",
    [
        ConnectFailed("connection refused", ConnectFailure.REFUSED),
        EndpointRefused("The address is private."),
        AnswerBroken("no answer within 60 s"),
    ],
)
async def test_a_server_that_can_not_be_reached_is_not_judged(pool, error, monkeypatch):
    async def fail(*_arguments: object, **_options: object) -> Told:
        raise error

    monkeypatch.setattr(pool, "listen", fail)
    pool.add("one")
    await settle()
    assert pool.found("one") == {}
    assert pool.board.in_flight("one") == 0


def moves(pool: Pool) -> None:
    pool.claimants["elsewhere.example"] = Claimant(context=1024)
    pool.change("one", endpoint=parse_endpoint("http://elsewhere.example:8000"))


def is_another_version(pool: Pool) -> None:
    pool.claimants["one.example"].context = 1024
    pool.verifier.versioned("one", "1.0")
    pool.verifier.versioned("one", "2.0")


@pytest.mark.parametrize("become_another", [moves, is_another_version])
async def test_a_server_that_is_another_by_now_is_forgotten_and_looked_at(pool, become_another: Callable[[Pool], None]):
    pool.add("one")
    await settle()
    become_another(pool)
    assert pool.found("one") == {}
    await settle()
    assert pool.found("one")[Subject.CONTEXT] is MISMATCH


async def test_a_version_that_is_told_for_the_first_time_or_again_changes_nothing(pool):
    claimant = pool.add("one")
    await settle()
    asked = len(claimant.asked)
    for version in ("1.0", "", "1.0"):
        pool.verifier.versioned("one", version)
    pool.verifier.versioned("nobody", "1.0")
    await pool.clock.advance(60)
    assert len(claimant.asked) == asked
    assert pool.found("one")[Subject.NAME] is OK


async def test_a_version_is_compared_with_that_which_the_trial_was_made_of(pool):
    pool.add("one", abilities={"m": replace(ABLE, version="1.0")})
    await settle()
    pool.verifier.versioned("one", "2.0")
    assert pool.found("one") == {}


async def test_a_look_at_a_server_that_changes_meanwhile_begins_anew(pool):
    gate = pool.gates["one.example"] = asyncio.Event()
    pool.add("one")
    await settle()
    moves(pool)
    await settle()
    assert pool.running["one.example"] == 0
    gate.set()
    await settle()
    assert pool.found("one")[Subject.CONTEXT] is MISMATCH
    assert pool.board.in_flight("one") == 0


async def test_a_claim_that_changes_during_a_look_is_looked_at_once_more(pool):
    gate = pool.gates["one.example"] = asyncio.Event()
    pool.add("one")
    await settle()
    pool.change("one", models=(ModelEntry("public", "m", 8192),))
    gate.set()
    await settle()
    assert pool.found("one")[Subject.CONTEXT] is OK
    await pool.clock.advance(LEAST_GAP_SECONDS + 61)
    assert pool.found("one")[Subject.CONTEXT] is MISMATCH


async def test_a_paused_server_is_left_alone_in_the_midst_of_it(pool):
    pool.gates["one.example"] = asyncio.Event()
    pool.add("one")
    await settle()
    pool.change("one", paused=True)
    await settle()
    assert pool.running.total() == 0
    assert pool.board.in_flight("one") == 0


async def test_what_was_found_of_a_removed_server_goes_with_it(pool):
    pool.add("one", models=(ModelEntry("a", "a"), ModelEntry("b", "b")))
    await settle()
    pool.change("one", models=(ModelEntry("b", "b"),))
    assert set(pool.keeps.of("one")) == {"b"}
    await settle()
    assert set(pool.shelf.rows["one"]) == {"b"}
    pool.servers.clear()
    pool.publish()
    assert pool.keeps.of("one") == {}
    await settle()
    assert pool.shelf.rows["one"] == {}


async def test_the_odd_one_of_three_is_marked_and_nothing_else_changes(pool):
    for name, text in (("a", None), ("b", None), ("c", OTHERWISE)):
        pool.add(name, claimant=Claimant() if text is None else Claimant(text=text))
    await pool.clock.advance(5)
    assert [pool.found(name)[Subject.CANARY] for name in "abc"] == [OK, OK, MISMATCH]
    assert all(server.accepts_work for server in pool.servers.values())


async def test_two_that_differ_are_told_of_each_other(pool):
    pool.add("a")
    pool.add("b", claimant=Claimant(text=OTHERWISE))
    await pool.clock.advance(5)
    assert [pool.found(name)[Subject.CANARY] for name in "ab"] == [UNCLEAR, UNCLEAR]
    assert " b," in pool.finding("a", Subject.CANARY).detail


async def test_twins_are_what_the_operator_says_they_are():
    async with opened(kind_of=lambda name: name.rpartition("/")[2].lower()) as pool:
        pool.add("a")
        pool.add("b", models=(ModelEntry("m", "org/M"),))
        await pool.clock.advance(5)
        assert pool.found("b", "org/M")[Subject.CANARY] is OK


async def test_after_a_restart_twins_are_heard_again_before_a_verdict_is_changed():
    async with opened() as pool:
        pool.add("a", "b")
        await pool.clock.advance(5)
        shelf = pool.shelf
    async with opened(shelf=shelf) as pool:
        pool.add("a", "b")
        await pool.clock.advance(60)
        assert all(claimant.asked == [] for claimant in pool.claimants.values())
        third = pool.add("c", claimant=Claimant(text=OTHERWISE))
        await pool.clock.advance(5)
        assert third.asked
        assert [pool.found(name)[Subject.CANARY] for name in "abc"] == [OK, OK, MISMATCH]


async def test_a_database_that_fails_keeps_verdicts_in_memory_until_it_works(pool):
    pool.shelf.fails = True
    pool.add("one")
    await settle()
    assert pool.found("one")[Subject.NAME] is OK
    assert pool.shelf.rows == {}
    pool.shelf.fails = False
    await pool.clock.advance(61)
    assert pool.shelf.rows["one"]["m"] == pool.keeps.of("one")["m"]


async def test_nothing_that_was_asked_or_said_is_logged_and_the_key_is_in_no_verdict(pool, caplog):
    key = "sk-secret-0123456789"
    pool.add("one", claimant=Claimant(answers_as=f"other {key}"), api_key=key)
    await settle()
    assert pool.found("one")[Subject.NAME] is MISMATCH
    assert "[redacted]" in pool.finding("one", Subject.NAME).detail
    assert key not in str(pool.keeps.of("one"))
    assert "lighthouse" not in caplog.text.lower()
    assert "lighthouse" not in str(pool.shelf.rows).lower()


async def test_an_end_in_the_midst_of_it_ends_it():
    async with opened() as pool:
        pool.gates["one.example"] = asyncio.Event()
        pool.add("one")
        await settle()
        assert pool.running.total() == 1
    assert pool.running.total() == 0
    assert pool.board.in_flight("one") == 0
