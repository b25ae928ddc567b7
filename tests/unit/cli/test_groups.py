"""Do the commands on groups ask the gateway for the right thing?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import console
from app.cli.root import build

PATH = "/admin/groups"
NO_LIMITS: dict[str, Any] = dict.fromkeys(
    ("requests_per_minute", "tokens_per_minute", "tokens_per_day", "tokens_per_month", "concurrency")
)
PHYSICS = {
    "id": "aaaa-1",
    "name": "physics-101",
    "description": "Spring term",
    "models": ["llama-3-8b"],
    "reach": "public",
    "weight": 1.0,
    "limits": {**NO_LIMITS, "tokens_per_day": 5_000_000},
    "person_limits": {**NO_LIMITS, "requests_per_minute": 20},
    "model_limits": {},
    "created_at": "2030-01-01T00:00:00Z",
    "updated_at": "2030-01-01T00:00:00Z",
}
LAB = {**PHYSICS, "id": "bbbb-2", "name": "aaaa", "models": None, "limits": NO_LIMITS, "person_limits": NO_LIMITS}


@pytest.fixture
def known(gateway):
    handler = gateway._http.RequestHandlerClass
    handler.do_PATCH = handler.handle_any
    gateway.answers["GET", PATH] = 200, {"groups": [PHYSICS, LAB], "total": 2}
    gateway.answers["POST", PATH] = 201, PHYSICS
    gateway.answers["PATCH", f"{PATH}/aaaa-1"] = 200, PHYSICS
    gateway.answers["DELETE", f"{PATH}/aaaa-1"] = 204, None
    gateway.answers["GET", "/admin/keys"] = 200, {"keys": [{}, {}], "total": 2}
    return gateway


def test_create_sends_what_was_given_and_says_how_to_go_on(run_here, known) -> None:
    result = run_here(
        *("groups", "create", "physics-101", "--description", "Spring term", "--model", "llama-3-8b", "--weight", "2"),
        *("--reach", "trusted", "--tokens-per-day", "5000000", "--person-requests-per-minute", "20"),
        *("--person-tokens-per-day", "7", "--person-concurrency", "1"),
    )
    assert "multiverse keys import FILE.csv --group physics-101" in result.stdout
    assert known.requests[-1] == (
        "POST",
        PATH,
        {
            "name": "physics-101",
            "description": "Spring term",
            "models": ["llama-3-8b"],
            "reach": "trusted",
            "weight": 2.0,
            "limits": {"tokens_per_day": 5_000_000},
            "person_limits": {"requests_per_minute": 20, "tokens_per_day": 7, "concurrency": 1},
        },
    )
    assert json.loads(run_here("groups", "create", "x", "--json").stdout) == PHYSICS
    assert known.requests[-1][2] == {"name": "x"}


def test_list_shows_models_and_limits(run_here, known) -> None:
    lines = run_here("groups", "list").stdout.splitlines()
    assert lines[0].split() == ["Id", "Name", "Models", "Limits", "together", "Limits", "a", "person"]
    assert "5,000,000 tokens/day" in lines[1]
    assert "20 requests/min" in lines[1]
    assert lines[2].split() == ["bbbb-2", "aaaa", "all", "-", "-"]
    assert json.loads(run_here("groups", "list", "--json").stdout) == [PHYSICS, LAB]
    known.answers["GET", PATH] = 200, {"groups": [], "total": 0}
    assert "multiverse groups create" in run_here("groups", "list").stdout


def test_change_keeps_other_limits(run_here, known) -> None:
    result = run_here("groups", "change", "physics-101", "--concurrency", "9", "--person-concurrency", "2")
    assert "Spring term" in result.stdout
    assert known.requests[-1] == (
        "PATCH",
        f"{PATH}/aaaa-1",
        {
            "limits": {**PHYSICS["limits"], "concurrency": 9},
            "person_limits": {**PHYSICS["person_limits"], "concurrency": 2},
        },
    )


def test_each_limit_of_a_person_and_of_a_model_may_be_said(run_here, known) -> None:
    person = ["--person-tokens-per-minute", "3", "--person-tokens-per-month", "9"]
    run_here("groups", "create", "x", *person, "--model-limit", "big:concurrency=1,tokens_per_day=5")
    assert known.requests[-1][2] == {
        "name": "x",
        "person_limits": {"tokens_per_minute": 3, "tokens_per_month": 9},
        "model_limits": {"big": {"concurrency": 1, "tokens_per_day": 5}},
    }
    run_here("groups", "change", "physics-101", *person, "--model-limit", "big:concurrency=1")
    assert known.requests[-1][2] == {
        "person_limits": {**PHYSICS["person_limits"], "tokens_per_minute": 3, "tokens_per_month": 9},
        "model_limits": {"big": {"concurrency": 1}},
    }
    assert run_here("groups", "create", "x", "--model-limit", "big").exit_code == 2
    run_here("groups", "change", "physics-101", "--clear", "model_limits")
    assert known.requests[-1][2] == {"model_limits": None}


def test_change_clears(run_here, known) -> None:
    run_here(
        "groups", "change", "physics-101", "--clear", "models", "--clear", "limits", "--concurrency", "3", "--json"
    )
    assert known.requests[-1][2] == {"models": None, "limits": {"concurrency": 3}}
    assert run_here("groups", "change", "physics-101").exit_code == 2


@pytest.mark.usefixtures("known")
def test_a_name_goes_before_the_beginning_of_an_id(run_here) -> None:
    assert run_here("groups", "remove", "aaaa", "--yes").exit_code == 1, (
        "the small gateway knows no DELETE of aaaa's id"
    )
    result = run_here("groups", "change", "nothing", "--name", "x")
    assert result.exit_code == 1
    assert "physics-101" in result.stderr


def test_remove_asks_unless_told_not_to(run_here, known, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_here("groups", "remove", "physics-101").exit_code == 2
    monkeypatch.setattr(console, "is_interactive", lambda: True)
    asked = run_here("groups", "remove", "physics-101", stdin="n\n")
    assert (asked.exit_code, "with its 2 keys" in asked.stderr) == (1, True)
    assert all(method == "GET" for method, _, _ in known.requests)
    assert "Removed the group physics-101" in run_here("groups", "remove", "physics-101", "-y").stdout
    assert known.requests[-1] == ("DELETE", f"{PATH}/aaaa-1", None)
    assert json.loads(run_here("groups", "remove", "physics-101", "-y", "--json").stdout)["removed"] is True


@pytest.mark.parametrize("command", ["create", "list", "change", "remove"])
def test_every_command_has_help_with_exit_codes_and_an_example(command: str) -> None:
    result = CliRunner().invoke(build(), ["groups", command, "--help"])
    assert result.exit_code == 0
    assert "Exit codes" in result.stdout
    assert f"multiverse groups {command}" in result.stdout
