"""Types: how an endpoint is written, who takes work, and that no key is shown."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from app.services.core.types import CheckFailure, Endpoint, HealthStatus, Inspection, ModelEntry, Server

BOX = Endpoint("http", "box.example", 8000)


@pytest.mark.parametrize(
    ("endpoint", "authority", "url"),
    [
        (BOX, "box.example:8000", "http://box.example:8000"),
        (Endpoint("http", "box.example", 80), "box.example", "http://box.example"),
        (Endpoint("https", "box.example", 443), "box.example", "https://box.example"),
        (Endpoint("https", "box.example", 80), "box.example:80", "https://box.example:80"),
        (Endpoint("http", "box.example", 443), "box.example:443", "http://box.example:443"),
        (Endpoint("http", "::1", 80), "[::1]", "http://[::1]"),
        (Endpoint("http", "::1", 8000, "/a/b"), "[::1]:8000", "http://[::1]:8000/a/b"),
        (Endpoint("http", "10.0.0.5", 8000, "/llm"), "10.0.0.5:8000", "http://10.0.0.5:8000/llm"),
    ],
)
def test_an_endpoint_is_written_in_one_way(endpoint: Endpoint, authority: str, url: str) -> None:
    assert endpoint.authority == authority
    assert endpoint.url == url


def server(**members: object) -> Server:
    return Server(id="one", endpoint=BOX, models=(ModelEntry("llama", "llama"),), **members)  # type: ignore[arg-type]


HOLDS = ("paused", "quarantined", "blocked", "draining")


@pytest.mark.parametrize("held", [held for count in range(5) for held in itertools.combinations(HOLDS, count)])
@pytest.mark.parametrize("health", HealthStatus)
def test_a_server_takes_work_unless_something_holds_it(held: tuple[str, ...], health: HealthStatus) -> None:
    assert server(health=health, **dict.fromkeys(held, True)).accepts_work is (not held)


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(server(api_key="secret-key"))


def test_values_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        server().paused = True  # type: ignore[misc]


def test_an_inspection_passed_unless_it_failed() -> None:
    assert Inspection(None, "").passed
    assert not any(Inspection(failure, "why").passed for failure in CheckFailure)


def test_words_for_machines_are_the_contract() -> None:
    assert [status.value for status in HealthStatus] == ["healthy", "unhealthy", "unknown"]
