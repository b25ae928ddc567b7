"""Do the commands that steer a server ask for the right thing, and say how it is then?"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from app.cli.root import build

ID = "3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"
URL = "http://10.0.0.5:8000"


@pytest.fixture
def registered(gateway):
    gateway.add(ID, URL)
    return gateway


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("check", "Checked"),
        ("resume", "Resumed"),
        ("unblock", "Unblocked"),
        ("pause", "Paused"),
        ("drain", "Draining"),
        ("block", "Blocked"),
    ],
)
def test_an_action_is_said_by_its_name_alone(run_here, registered, action: str, said: str) -> None:
    assert run_here("servers", action, "3f0c").stdout.startswith(f"{said} {URL}: ")
    assert registered.requests[-1] == ("POST", f"/admin/servers/{ID}/{action}", None)
    assert json.loads(run_here("servers", action, URL, "--json").stdout)["registration_id"] == ID


@pytest.mark.parametrize("action", ["pause", "drain", "block"])
def test_what_holds_a_server_has_a_reason_and_an_end(run_here, registered, action: str) -> None:
    blocked = {**registered.servers[0], "blocked": True, "reason": "blocked: rogue answers"}
    registered.answers["POST", f"/admin/servers/{ID}/{action}"] = 200, blocked
    options = ["--reason", "rogue answers", "--until", "2099-01-01T08:00:00Z"]
    assert "blocked (healthy), blocked: rogue answers." in run_here("servers", action, "3f0c", *options).stdout
    assert registered.requests[-1][2] == {"reason": "rogue answers", "until": "2099-01-01T08:00:00Z"}
    run_here("servers", action, "3f0c", "--until", "12h")
    left = datetime.fromisoformat(registered.requests[-1][2]["until"]) - datetime.now(UTC)
    assert timedelta(hours=11) < left <= timedelta(hours=12)


@pytest.mark.parametrize("until", ["soon", "2001-01-01", "0h"])
def test_an_end_that_is_none_is_refused_before_anything_is_asked(run_here, registered, until: str) -> None:
    result = run_here("servers", "block", "3f0c", "--until", until)
    assert (result.exit_code, registered.requests) == (2, [])
    assert f"--until {until}" in result.stderr


def test_what_is_no_hold_has_neither(run_here, registered) -> None:
    assert run_here("servers", "unblock", "3f0c", "--reason", "x").exit_code == 2
    assert registered.requests == []


@pytest.mark.parametrize("action", ["check", "pause", "resume", "drain", "block", "unblock"])
def test_every_action_has_help(action: str) -> None:
    result = CliRunner().invoke(build(), ["servers", action, "--help"], env={"COLUMNS": "160"})
    assert result.exit_code == 0
    assert f"multiverse servers {action} 3f2a" in result.stdout
    assert "Exit codes" in result.stdout
