"""Do the commands on models ask the gateway for the right thing, and tell what it said?"""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from app.cli.model_table import class_lines, with_classes
from app.cli.root import build

LLAMA = "llama3.1:8b"
HUB = "meta-llama/Llama-3.1-8B-Instruct"
PATH = "/admin/model-classes"
REASON = "same family, version and size; quantizations differ: FP16, Q4_K_M"
NAME = "llama-3.1-8b-instruct"
PROPOSAL = {"name": NAME, "members": [LLAMA, HUB], "reason": REASON, "extends": False}
CONFIRMED = {"name": "org/house", "members": ["a", "b"], "decided_by": "admin", "created_at": "2030-01-01T00:00:00Z"}


def model(name: str, servers: int, healthy: int, context: int | None) -> dict:
    return {"id": name, "object": "model", "servers": servers, "healthy_servers": healthy, "context_length": context}


@pytest.fixture
def known(gateway):
    handler = gateway._http.RequestHandlerClass
    handler.do_PUT = handler.handle_any
    gateway.add("id-1", "http://10.0.0.5:8000", models=["a"], engine="vllm")
    gateway.add("id-2", "http://10.0.0.6:8000", models=["b", LLAMA], engine="ollama")
    gateway.answers["GET", "/v1/models"] = (
        200,
        {
            "object": "list",
            "data": [model(name, 2, 1, 131072) for name in ("a", "b", "org/house")] + [model(LLAMA, 1, 1, None)],
        },
    )
    gateway.answers["GET", PATH] = 200, {"confirmed": [CONFIRMED], "proposals": [PROPOSAL]}
    gateway.answers["POST", PATH] = 201, CONFIRMED | PROPOSAL
    gateway.answers["PUT", f"{PATH}/org%2Fhouse"] = 200, CONFIRMED
    gateway.answers["POST", f"{PATH}/dismiss"] = 204, None
    gateway.answers["DELETE", f"{PATH}/org%2Fhouse"] = 204, None
    return gateway


@pytest.mark.usefixtures("known")
def test_list_shows_servers_context_engines_and_class(run_here) -> None:
    lines = [line.split() for line in run_here("models", "list").stdout.splitlines()]
    assert lines[0] == ["Model", "Healthy", "Context", "Engines", "Class"]
    assert ["a", "1", "of", "2", "131,072", "ollama,", "vllm", "org/house"] in lines
    assert ["org/house", "1", "of", "2", "131,072", "ollama,", "vllm", "org/house"] in lines
    assert [LLAMA, "1", "of", "1", "-", "ollama", "-"] in lines


@pytest.mark.usefixtures("known")
def test_list_as_json_is_json_alone(run_here) -> None:
    listed = json.loads(run_here("models", "list", "--json").stdout)
    assert listed[-1] == {
        "name": LLAMA,
        "servers": 1,
        "healthy_servers": 1,
        "context_length": None,
        "engines": ["ollama"],
        "class": None,
    }


def test_an_empty_list_says_how_to_go_on(run_here, known) -> None:
    known.answers["GET", "/v1/models"] = 200, {"data": []}
    assert "multiverse servers add" in run_here("models", "list").stdout


@pytest.mark.usefixtures("known")
def test_classes_tells_what_is_confirmed_and_what_is_proposed_and_why(run_here) -> None:
    assert run_here("models", "classes").stdout.splitlines() == [
        "Confirmed:",
        "  org/house",
        "    a",
        "    b",
        "Proposed:",
        "  llama-3.1-8b-instruct",
        f"    {LLAMA}",
        f"    {HUB}",
        f"    Why: {REASON}",
        f"Confirm one: multiverse models confirm {NAME}    Or: multiverse models dismiss {NAME}",
    ]
    found = json.loads(run_here("models", "classes", "--json").stdout)
    assert found == {"confirmed": [CONFIRMED], "proposals": [PROPOSAL]}


def test_nothing_to_decide_says_how_to_go_on() -> None:
    assert "multiverse models confirm" in "\n".join(class_lines([], []))
    grown = PROPOSAL | {"extends": True}
    assert "  llama-3.1-8b-instruct (would grow)" in list(class_lines([], [grown]))


def test_a_proposal_is_confirmed_by_its_name_alone(run_here, known) -> None:
    result = run_here("models", "confirm", PROPOSAL["name"])
    assert result.stdout == f"Confirmed {PROPOSAL['name']}: {LLAMA}, {HUB}.\n"
    assert known.requests[-1] == ("POST", PATH, {"name": PROPOSAL["name"], "members": [LLAMA, HUB]})


def test_members_may_be_named(run_here, known) -> None:
    assert json.loads(run_here("models", "confirm", "mine", "x", "y", "--json").stdout)["name"] == PROPOSAL["name"]
    assert known.requests[-1] == ("POST", PATH, {"name": "mine", "members": ["x", "y"]})
    run_here("models", "confirm", "org/house", "x", "y")
    assert known.requests[-1] == ("PUT", f"{PATH}/org%2Fhouse", {"name": "org/house", "members": ["x", "y"]})


def test_a_proposal_is_dismissed(run_here, known) -> None:
    assert "Dismissed llama-3.1-8b-instruct" in run_here("models", "dismiss", PROPOSAL["name"]).stdout
    assert known.requests[-1] == ("POST", f"{PATH}/dismiss", {"members": [LLAMA, HUB]})
    assert json.loads(run_here("models", "dismiss", PROPOSAL["name"], "--json").stdout)["dismissed"] is True


def test_a_class_is_dissolved(run_here, known) -> None:
    assert "Dissolved org/house" in run_here("models", "dissolve", "org/house").stdout
    assert known.requests[-1] == ("DELETE", f"{PATH}/org%2Fhouse", None)
    assert json.loads(run_here("models", "dissolve", "org/house", "--json").stdout)["dissolved"] is True


@pytest.mark.parametrize("command", ["confirm", "dismiss"])
def test_what_is_not_proposed_names_what_is(run_here, known, command: str) -> None:
    result = run_here("models", command, "nothing")
    assert (result.exit_code, result.stdout) == (1, "")
    assert PROPOSAL["name"] in result.stderr
    known.answers["GET", PATH] = 200, {"confirmed": [], "proposals": []}
    assert "Name the members too" in run_here("models", command, "nothing").stderr


def test_what_the_gateway_refuses_is_told(run_here, known) -> None:
    known.answers["POST", PATH] = 409, {"error": {"message": "x is in the class y already."}}
    result = run_here("models", "confirm", "mine", "x", "z")
    assert result.exit_code == 1
    assert "x is in the class y already." in result.stderr
    known.answers["DELETE", f"{PATH}/gone"] = 404, {"error": {"message": "There is no confirmed class."}}
    assert run_here("models", "dissolve", "gone").exit_code == 1


@pytest.mark.usefixtures("known")
def test_a_wrong_key_ends_with_its_exit_code(run_here) -> None:
    assert run_here("models", "dissolve", "org/house", GATEWAY_KEY="wrong").exit_code in {0, 4}
    assert run_here("models", "list", GATEWAY_KEY="wrong").exit_code == 4


@pytest.mark.parametrize("command", ["list", "classes", "confirm", "dismiss", "dissolve"])
def test_every_command_has_help_with_exit_codes(command: str) -> None:
    result = CliRunner().invoke(build(), ["models", command, "--help"])
    assert result.exit_code == 0
    assert "Exit codes" in result.stdout


def test_servers_that_tell_little_are_listed_all_the_same() -> None:
    (one,) = with_classes([{"id": "m"}], [{"models": None}, {"models": ["m"]}], [])
    assert (one["engines"], one["class"], one["servers"]) == (["unknown"], None, None)
