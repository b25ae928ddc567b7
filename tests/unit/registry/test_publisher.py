"""Does routing get every server as it stands at that moment?"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from app.services.core.checks.health import HealthState
from app.services.core.continuation.ability import Ability, Rung
from app.services.core.network.addresses import parse_endpoint
from app.services.core.people.hours import Day, Hours, Window
from app.services.core.people.principal import Role, Trust
from app.services.core.types import HealthStatus, ModelEntry, Server
from app.services.registry import publisher as publishing
from app.services.registry.publisher import Publisher
from app.services.registry.records import NO_FACTS, EngineFacts, Finding, Hold, ServerRecord
from app.services.registry.terms import Owners
from tests.fakes.registry import START


class States:
    """One server is well, of the others nothing is known."""

    def state(self, server_id: str) -> HealthState:
        return HealthState(HealthStatus.HEALTHY) if server_id == "one" else HealthState()


def record(server_id: str, **other) -> ServerRecord:
    models = (ModelEntry("a", "b"),)
    return ServerRecord(server_id, parse_endpoint(f"http://{server_id}.example"), models, START, START, **other)


def test_record_health_findings_and_facts_meet_in_one_server():
    installed: list[tuple[Server, ...]] = []
    said = {"one": EngineFacts(places=4, contexts={"b": 4096})}
    publisher = Publisher(States(), installed.append, lambda server_id: said.get(server_id, NO_FACTS))
    ability = Ability(chat=Rung.TRAILING)
    publisher.publish([record("one"), record("two")], START, {"one": {"b": Finding(ability)}})
    one, two = installed[0]
    assert (one.health, one.abilities, one.places, one.contexts) == (
        HealthStatus.HEALTHY,
        {"b": ability},
        4,
        {"b": 4096},
    )
    assert (two.health, two.abilities, two.places, two.contexts) == (HealthStatus.UNKNOWN, {}, None, {})
    said["two"] = EngineFacts(swaps_models=True)
    publisher.publish([record("one"), record("two")], START)
    assert installed[1][1].swaps_models


def test_routing_hears_nothing_of_a_server_that_waits_for_approval_until_that_is_over():
    installed: list[tuple[Server, ...]] = []
    publisher = Publisher(States(), installed.append)
    until = START + timedelta(minutes=1)
    waiting = [record("one", pending=Hold(active=True)), record("two", pending=Hold(active=True, until=until))]
    publisher.publish([*waiting, record("three")], START)
    assert [server.id for server in installed[-1]] == ["three"]
    assert not publisher.is_due(START)
    assert publisher.is_due(until)
    publisher.publish([*waiting, record("three")], until)
    assert [(server.id, server.pending) for server in installed[-1]] == [("two", False), ("three", False)]


def test_facts_may_be_left_out_and_holds_run_out():
    installed: list[tuple[Server, ...]] = []
    publisher = Publisher(States(), installed.append)
    until = START + timedelta(minutes=1)
    publisher.publish([record("one", paused=Hold(active=True, until=until))], START)
    assert (installed[0][0].paused, installed[0][0].places) == (True, None)
    assert not publisher.is_due(START)
    assert publisher.is_due(until)


def test_whose_server_it_is_is_asked_each_time():
    installed: list[tuple[Server, ...]] = []
    roles, groups = {"ada": Role.OWNER}, {"ada": "lab"}
    publisher = Publisher(States(), installed.append, owners=Owners(roles.get, groups.get))
    publisher.publish([record("one", owner="ada")], START)
    roles["ada"] = Role.ADMIN
    groups["ada"] = "class"
    publisher.publish([record("one", owner="ada")], START)
    seen = [(server.group, server.trust) for (server,) in installed]
    assert seen == [("lab", Trust.PUBLIC), ("class", Trust.TRUSTED)]


def test_when_hours_turn_is_found_once_for_each_turn(monkeypatch):
    asked: list[datetime] = []
    real = publishing.changes_at

    def counted(known: ServerRecord, now: datetime) -> datetime | None:
        asked.append(now)
        return real(known, now)

    monkeypatch.setattr(publishing, "changes_at", counted)
    hours = Hours("UTC", (Window(frozenset(Day), time(18), time(8)),), UTC)
    publisher = Publisher(States(), lambda _servers: None)
    records = [record("one", hours=hours), record("two")]
    for minutes in range(3):
        publisher.publish(records, START + timedelta(minutes=minutes))
    assert asked == [START]
    closes_at = START + timedelta(hours=8)
    assert not publisher.is_due(closes_at - timedelta(microseconds=1))
    assert publisher.is_due(closes_at)
    publisher.publish(records, closes_at)
    assert publisher.is_due(START + timedelta(hours=18))
    earlier = START - timedelta(hours=1)
    publisher.publish(records, earlier)  # somebody has put the clock back
    assert asked == [START, closes_at, earlier]
    changed = [record("one", hours=Hours("UTC", hours.windows[:0], UTC))]
    publisher.publish(changed, earlier)
    assert not publisher.is_due(START + timedelta(days=9))
    publisher.publish([], earlier)
    publisher.publish(changed, earlier)
    assert len(asked) == 5
