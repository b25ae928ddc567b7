"""Does routing get every server as it stands at that moment?"""

from __future__ import annotations

from datetime import timedelta

from app.services.core.checks.health import HealthState
from app.services.core.continuation.ability import Ability, Rung
from app.services.core.network.addresses import parse_endpoint
from app.services.core.types import HealthStatus, ModelEntry, Server
from app.services.registry.publisher import Publisher
from app.services.registry.records import NO_FACTS, EngineFacts, Finding, Hold, ServerRecord
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


def test_facts_may_be_left_out_and_holds_run_out():
    installed: list[tuple[Server, ...]] = []
    publisher = Publisher(States(), installed.append)
    until = START + timedelta(minutes=1)
    publisher.publish([record("one", paused=Hold(active=True, until=until))], START)
    assert (installed[0][0].paused, installed[0][0].places) == (True, None)
    assert not publisher.is_due(START)
    assert publisher.is_due(until)
