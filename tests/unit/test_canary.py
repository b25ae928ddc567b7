"""Who is tried when: servers that exist only in a table, in a time of its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from app.services.canary import Canary
from app.services.core.continuation.ability import Ability, Rung
from app.services.core.continuation.asking import Failed
from app.services.core.errors import EndpointRefused
from app.services.core.live.board import Board
from app.services.core.network.addresses import parse_endpoint
from app.services.core.retry import Failure
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server
from app.services.dataplane.fetch import AnswerBroken, FetchedAnswer
from app.services.dataplane.link import ConnectFailed, ConnectFailure
from app.services.places import BoardPlaces
from app.services.registry.records import Finding, Findings
from app.utils.tasks import TaskKeeper
from tests.fakes.moved_clock import NOON, MovedClock, settle
from tests.fakes.speaker import Speaker

ABLE = Ability(chat=Rung.FLAGS, text=Rung.TEXT)
LOST = Failed("the connection was reset")


class Pool:
    """All servers: what routing knows of them, what is found of them, and what they answer."""

    def __init__(self) -> None:
        self.clock = MovedClock()
        self.tasks = TaskKeeper()
        self.board = Board()
        self.freed = 0
        self.speakers: dict[str, Speaker] = {}
        self.servers: dict[str, Server] = {}
        self.found: dict[str, dict[str, Finding]] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.running: Counter[str] = Counter()
        self.most_running = 0
        self.most_on_one = 0
        self.keys: list[str | None] = []
        self.asked_at: list[float] = []
        places = BoardPlaces(self.board, self.clock.monotonic, self._free)
        self.canary = Canary(self, self, self.tasks, places=places, clock=self.clock, draw=lambda: 0.5)

    def add(self, name: str, speaker: Speaker | None = None, **fields: Any) -> Speaker:
        """Register a server."""
        endpoint = parse_endpoint(f"http://{name}.example:8000")
        self.speakers[endpoint.host] = speaker or Speaker()
        ordinary = {"models": (ModelEntry("public", "m"),), "health": HealthStatus.HEALTHY}
        self.servers[name] = Server(name, endpoint, **(ordinary | fields))
        self.publish()
        return self.speakers[endpoint.host]

    def change(self, name: str, **fields: Any) -> None:
        self.servers[name] = replace(self.servers[name], **fields)
        self.publish()

    def publish(self) -> None:
        """Tell routing, as the registry does."""
        self.servers = {
            name: replace(
                server, abilities={model: finding.ability for model, finding in self.found.get(name, {}).items()}
            )
            for name, server in self.servers.items()
        }
        self.board.keep(self.servers)
        self.canary.review(self.servers.values())

    def ability(self, name: str, model: str = "m") -> Ability:
        return self.servers[name].abilities.get(model, Ability())

    async def post(self, endpoint: Endpoint, path: str, body: bytes, **options: Any) -> FetchedAnswer:
        host = endpoint.host
        self.keys.append(options["api_key"])
        self.asked_at.append(self.clock.seconds)
        self.running[host] += 1
        self.most_running = max(self.most_running, self.running.total())
        self.most_on_one = max(self.most_on_one, self.running[host])
        try:
            if host in self.gates:
                await self.gates[host].wait()
            reply = self.speakers[host].respond(path, body)
        finally:
            self.running[host] -= 1
        if isinstance(reply, Failed):
            raise AnswerBroken(reply.reason)
        return FetchedAnswer(reply[0], {}, reply[1], 1.0)

    def findings(self, server_id: str) -> Findings:
        return self.found.get(server_id, {})

    async def keep_finding(self, server_id: str, upstream_name: str, finding: Finding) -> None:
        self.found.setdefault(server_id, {})[upstream_name] = finding
        self.publish()

    async def drop_findings(self, server_id: str) -> None:
        self.found.pop(server_id, None)
        self.publish()

    def _free(self) -> None:
        self.freed += 1


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool()
    made.tasks.spawn(made.canary.run(), name="canary")
    yield made
    await made.tasks.close()


async def test_a_new_server_is_tried_at_once(pool):
    pool.add("one", api_key="sk-1")
    await settle()
    assert pool.ability("one") == ABLE
    assert pool.found["one"]["m"].probed_at == NOON
    assert set(pool.keys) == {"sk-1"}
    assert pool.board.in_flight("one") == 0
    assert pool.freed == len(pool.keys)


async def test_what_is_known_is_not_tried_again(pool):
    pool.found["one"] = {"m": Finding(ABLE, NOON)}
    pool.publish()
    speaker = pool.add("one")
    await pool.clock.advance(3600)
    assert speaker.asked == []


async def test_only_what_is_not_known_is_tried(pool):
    pool.found["one"] = {"m": Finding(replace(ABLE, text=Rung.UNJUDGED, trims=True), NOON)}
    speaker = pool.add("one")
    await settle()
    assert {path for path, _ in speaker.asked} == {"/v1/completions"}
    assert pool.ability("one") == replace(ABLE, trims=True)


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
    ],
)
async def test_a_server_that_takes_no_work_is_tried_at_once_when_it_does(pool, fields):
    speaker = pool.add("one", **fields)
    await pool.clock.advance(100)
    assert speaker.asked == []
    pool.change("one", **{name: HealthStatus.HEALTHY if name == "health" else False for name in fields})
    await settle()
    assert pool.ability("one") == ABLE


async def test_a_full_server_is_tried_when_it_has_room(pool):
    speaker = pool.add("one", max_concurrency=1, health=HealthStatus.UNKNOWN)
    pool.board.lane("one").take(1000.0)
    pool.change("one", health=HealthStatus.HEALTHY)
    await pool.clock.advance(100)
    assert speaker.asked == []
    pool.board.lane("one").give_back(pool.clock.seconds, 1000.0)
    await pool.clock.advance(1)
    assert pool.ability("one") == ABLE


async def test_a_model_that_is_put_out_in_the_midst_of_a_trial_is_not_loaded_for_it(pool):
    pool.gates["one.example"] = asyncio.Event()
    speaker = pool.add("one", engine="ollama", swaps_models=True, loaded=frozenset({"m"}))
    await settle()
    residence = pool.board.lane("one").residence
    residence.take("another", pool.clock.seconds)
    residence.began("another", pool.clock.seconds)
    pool.gates["one.example"].set()
    await pool.clock.advance(100)
    assert len(speaker.asked) == 1
    residence.take("m", pool.clock.seconds)
    residence.began("m", pool.clock.seconds)
    await pool.clock.advance(1)
    assert pool.ability("one") == ABLE


async def test_the_only_model_is_loaded_into_an_empty_memory_once(pool):
    speaker = pool.add("one", Speaker(faults=[LOST]), engine="ollama", swaps_models=True, loaded=frozenset())
    await pool.clock.advance(1000)
    assert len(speaker.asked) == 1
    pool.change("one", loaded=frozenset({"m"}))
    pool.board.lane("one").residence.told(frozenset({"m"}), pool.clock.seconds)
    await settle()
    assert pool.ability("one") == ABLE


@pytest.mark.parametrize("seconds", [20, 100])
async def test_a_server_that_fills_up_in_the_midst_of_a_trial_is_waited_for(pool, seconds):
    pool.gates["one.example"] = asyncio.Event()
    speaker = pool.add("one", max_concurrency=1)
    await settle()
    assert pool.board.in_flight("one") == 1
    pool.board.lane("one").take(1000.0)  # traffic beyond the cap, from before it was lowered
    pool.gates["one.example"].set()
    await pool.clock.advance(seconds)
    assert len(speaker.asked) == 1
    assert pool.found == {}
    pool.board.lane("one").give_back(pool.clock.seconds, 1000.0)
    await pool.clock.advance(1)
    assert pool.ability("one") == ABLE


async def test_a_server_that_asks_to_be_left_alone_is(pool):
    speaker = pool.add("one", health=HealthStatus.UNKNOWN)
    pool.board.lane("one").cool(pool.clock.seconds, 20)
    pool.change("one", health=HealthStatus.HEALTHY)
    await pool.clock.advance(19)
    assert speaker.asked == []
    await pool.clock.advance(2)
    assert pool.ability("one") == ABLE


async def test_the_trial_of_an_ejected_server_is_left_to_traffic(pool):
    speaker = pool.add("one", health=HealthStatus.UNKNOWN)
    for _failure in range(3):
        pool.board.lane("one").failed(Failure.DIAL, pool.clock.seconds, lambda: 0.5, pool.clock.seconds)
    pool.change("one", health=HealthStatus.HEALTHY)
    await pool.clock.advance(30)
    assert speaker.asked == []


async def test_few_are_tried_at_a_time_and_one_model_per_server(pool):
    for number in range(6):
        gate = pool.gates[f"n{number}.example"] = asyncio.Event()
        models = (ModelEntry("a", "a"), ModelEntry("b", "b"), ModelEntry("again", "b"))
        pool.add(f"n{number}", models=models)
    await settle()
    assert pool.running.total() == 2
    for gate in pool.gates.values():
        gate.set()
    await pool.clock.advance(5)
    assert (pool.most_running, pool.most_on_one) == (2, 1)
    assert all(pool.ability(f"n{number}", model) == ABLE for number in range(6) for model in ("a", "b"))
    assert {len(speaker.asked) for speaker in pool.speakers.values()} == {10}


async def test_a_fault_is_tried_again_after_ever_longer_pauses(pool):
    pool.add("one", Speaker(faults=[LOST] * 1000))
    await pool.clock.advance(3000)
    pauses = [round(later - earlier) for earlier, later in pairwise(pool.asked_at)]
    assert pauses[:7] == [5, 10, 20, 40, 80, 160, 320]
    assert max(pauses) <= 601
    found = pool.ability("one")
    assert (found.chat, found.text) == (Rung.UNJUDGED, Rung.UNJUDGED)
    assert found.reason == "chats: not known yet: the connection was reset"
    assert pool.found["one"]["m"].probed_at is None


async def test_after_a_fault_the_verdict_comes_when_the_server_is_back_and_the_reason_goes(pool):
    pool.add("one", Speaker(faults=[LOST]))
    await settle()
    assert "not known yet" in pool.ability("one").reason
    pool.change("one", health=HealthStatus.UNHEALTHY)
    await pool.clock.advance(60)
    assert pool.ability("one").chat is Rung.UNJUDGED
    pool.change("one", health=HealthStatus.HEALTHY)
    await settle()
    assert pool.ability("one") == ABLE


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectFailed("connection refused", ConnectFailure.REFUSED), "connection refused"),
        (EndpointRefused("The address is private."), "The address is private."),
    ],
)
async def test_a_dial_that_fails_decides_nothing(pool, error, reason, monkeypatch):
    async def fail(*_arguments: object, **_options: object) -> FetchedAnswer:
        raise error

    monkeypatch.setattr(pool, "post", fail)
    pool.add("one")
    await settle()
    assert pool.ability("one").reason.startswith(f"chats: not known yet: {reason}")


async def test_refusals_before_and_after_a_fault_count_together(pool):
    speaker = pool.add("one", Speaker(flags="refuses", trailing="refuses", completions="refuses"))
    speaker.faults = []
    await settle()
    assert (pool.ability("one").chat, pool.ability("one").text) == (Rung.NONE, Rung.NONE)
    assert pool.ability("one").reason == (
        "chats: with continue_final_message: answered 400: the last message must not be the assistant's; with a "
        "trailing message alone: answered 400: the last message must not be the assistant's | completions: asked for "
        "an answer: answered 404: no completions here"
    )


async def test_a_new_version_makes_what_was_found_void(pool):
    pool.add("one")
    pool.canary.versioned("one", "1.0")
    await settle()
    assert pool.ability("one") == replace(ABLE, version="1.0")
    asked = len(pool.speakers["one.example"].asked)
    pool.canary.versioned("one", "1.0")
    pool.canary.versioned("one", "")
    await settle()
    assert len(pool.speakers["one.example"].asked) == asked
    pool.gates["one.example"] = asyncio.Event()
    pool.canary.versioned("one", "2.0")
    await settle()
    assert pool.ability("one").chat is Rung.UNJUDGED
    pool.speakers["one.example"].flags = "refuses"
    pool.gates["one.example"].set()
    await settle()
    assert pool.ability("one") == Ability(chat=Rung.TRAILING, text=Rung.TEXT, version="2.0")


async def test_a_version_that_changes_during_a_trial_begins_it_anew(pool):
    pool.gates["one.example"] = asyncio.Event()
    pool.add("one")
    pool.canary.versioned("one", "1.0")
    await settle()
    pool.canary.versioned("one", "2.0")
    await settle()
    pool.gates["one.example"].set()
    await settle()
    assert pool.ability("one") == replace(ABLE, version="2.0")
    assert pool.board.in_flight("one") == 0


async def test_a_version_told_after_a_verdict_without_one_has_it_tried_again_while_it_stands(pool):
    pool.add("one")
    await settle()
    assert pool.ability("one") == ABLE
    pool.gates["one.example"] = asyncio.Event()
    pool.canary.versioned("one", "1.0")
    await settle()
    assert pool.ability("one") == ABLE
    pool.gates["one.example"].set()
    await settle()
    assert pool.ability("one") == replace(ABLE, version="1.0")


async def test_what_traffic_was_refused_is_tried_again_at_most_once_a_minute(pool):
    speaker = pool.add("one")
    await settle()
    once = len(speaker.asked)
    speaker.flags = "refuses"
    for _refused in range(5):
        pool.canary.refused("one", "m")
        await settle()
    assert pool.ability("one").chat is Rung.TRAILING
    twice = len(speaker.asked)
    assert once < twice <= 2 * once + 2
    await pool.clock.advance(61)
    pool.canary.refused("one", "m")
    await settle()
    assert len(speaker.asked) > twice


async def test_a_doubt_that_a_fault_left_open_changes_nothing_until_it_is_settled(pool):
    speaker = pool.add("one")
    await settle()
    speaker.faults = [LOST]
    speaker.flags = "refuses"
    pool.canary.refused("one", "m")
    await settle()
    assert pool.ability("one") == ABLE
    await pool.clock.advance(6)
    assert pool.ability("one").chat is Rung.TRAILING


@pytest.mark.parametrize(("server_id", "model"), [("none", "m"), ("one", "other")])
async def test_a_refusal_of_what_is_not_there_is_nothing(pool, server_id, model):
    speaker = pool.add("one")
    await settle()
    asked = len(speaker.asked)
    pool.canary.refused(server_id, model)
    await settle()
    assert len(speaker.asked) == asked


async def test_new_models_are_tried_and_missing_ones_when_they_are_back(pool):
    pool.add("one", missing_models=frozenset({"m"}))
    await pool.clock.advance(10)
    assert pool.ability("one") == Ability()
    pool.change("one", missing_models=frozenset())
    await settle()
    assert pool.ability("one") == ABLE
    pool.change("one", models=(ModelEntry("public", "m"), ModelEntry("more", "m2")))
    await settle()
    assert pool.ability("one", "m2") == ABLE


@pytest.mark.parametrize("change", ["moved", "removed", "another engine"])
async def test_a_server_that_is_changed_in_the_midst_of_a_trial_is_not_judged_by_it(pool, change):
    pool.gates["one.example"] = asyncio.Event()
    pool.add("one")
    await settle()
    speaker = pool.speakers["two.example"] = Speaker(flags="refuses")
    if change == "removed":
        del pool.servers["one"]
        pool.publish()
    elif change == "moved":
        pool.change("one", endpoint=parse_endpoint("http://two.example:8000"))
    else:
        pool.change("one", engine="vllm")
    pool.gates["one.example"].set()
    await settle()
    assert pool.running.total() == 0
    assert pool.board.in_flight("one") == 0
    if change == "removed":
        assert pool.found == {}
    elif change == "moved":
        assert pool.ability("one").chat is Rung.TRAILING
        assert speaker.asked
    else:
        assert pool.ability("one") == ABLE


async def test_switched_off_nothing_is_ever_tried():
    pool = Pool()
    places = BoardPlaces(pool.board, pool.clock.monotonic, lambda: None)
    pool.canary = Canary(pool, pool, pool.tasks, places=places, enabled=False, clock=pool.clock)
    pool.tasks.spawn(pool.canary.run(), name="canary")
    speaker = pool.add("one")
    pool.canary.versioned("one", "2.0")
    pool.canary.refused("one", "m")
    await pool.clock.advance(1000)
    assert speaker.asked == []
    await pool.tasks.close()


async def test_a_key_that_a_server_echoes_is_not_kept(pool):
    echo = (400, b'{"error":{"message":"wrong key sk-canary-4711"}}')
    pool.add("one", Speaker(faults=[echo] * 4), api_key="sk-canary-4711")
    await settle()
    assert pool.ability("one").reason == (
        "chats: asked for an answer: answered 400: wrong key [redacted] | "
        "completions: asked for an answer: answered 400: wrong key [redacted]"
    )


async def test_a_bug_in_a_trial_is_logged_and_does_not_spin(pool, monkeypatch):
    calls = 0

    async def broken(*_arguments: object, **_options: object) -> FetchedAnswer:
        nonlocal calls
        calls += 1
        raise RuntimeError("a bug")

    monkeypatch.setattr(pool, "post", broken)
    pool.add("one")
    await pool.clock.advance(100)
    assert pool.ability("one") == Ability()
    assert calls == 1
