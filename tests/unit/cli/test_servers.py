"""Do the commands on servers ask the gateway for the right thing, and tell what it said?"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from app.cli.ages import describe_age
from app.cli.exits import CommandFailed
from app.cli.server_options import parse_model
from app.cli.server_table import describe_load, server_state

ID = "3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"
OTHER_ID = "3f99aaaa-8c1e-4c55-9d0b-5a7d0f9c2b11"


@pytest.fixture
def registered(gateway):
    gateway.add(ID, "http://10.0.0.5:8000")
    gateway.add(OTHER_ID, "https://gpu.example.org", health_status="unhealthy", reason="connection refused")
    return gateway


@pytest.mark.usefixtures("registered")
def test_list_shows_states_in_words(run_here) -> None:
    result = run_here("servers", "list")
    assert result.exit_code == 0
    for text in ("3f0c4a52", "http://10.0.0.5:8000", "healthy", "unhealthy", "connection refused", "vllm", "llama"):
        assert text in result.stdout
    assert "3f99aaaa: connection refused\n" in result.stdout


def test_list_is_one_line_a_server_in_eighty_columns(run_here, gateway) -> None:
    gateway.add(ID, "http://192.168.100.200:8000", paused=True)
    listed = run_here("servers", "list", COLUMNS="80").stdout.splitlines()
    assert [line.split() for line in listed] == [
        ["Id", "Endpoint", "State", "Models", "In", "flight"],
        ["3f0c4a52", "http://192.168.100.200:8000", "paused", "(healthy)", "llama", "3"],
    ]
    assert max(map(len, listed)) <= 80


def test_list_as_json_is_json_alone(run_here, registered) -> None:
    result = run_here("servers", "list", "--json", "--model", "llama", "--status", "healthy")
    assert json.loads(result.stdout) == registered.servers
    assert registered.requests[-1][1] == "/admin/servers?model=llama&status=healthy"


def test_an_empty_list_says_how_to_go_on(run_here) -> None:
    assert "multiverse servers add" in run_here("servers", "list").stdout
    assert "No server matches" in run_here("servers", "list", "--owner", "nobody").stdout


@pytest.mark.usefixtures("registered")
def test_show_tells_everything(run_here) -> None:
    result = run_here("servers", "show", "3f0c")
    for text in (ID, "llama (there: meta/llama, 8,192 tokens)", "lab box", "connection refused", "d ago"):
        assert text in result.stdout
    assert json.loads(run_here("servers", "show", ID, "--json").stdout)["registration_id"] == ID


@pytest.mark.parametrize(
    ("continuation", "said"),
    [
        ({"chat": "continue_final_message", "text": "completions"}, "takes over broken answers"),
        (
            {"chat": "none", "text": "completions", "reason": "chats: it begins anew"},
            "takes over broken completions: chats: it begins anew",
        ),
        ({"chat": "trailing_message", "text": "unjudged"}, "takes over broken chats"),
        ({"chat": "none", "text": "none", "reason": "no chats"}, "takes over no broken answers: no chats"),
        ({"chat": "unjudged", "text": "none"}, "not known yet whether it takes over broken answers"),
        ({"chat": "unjudged", "text": "unjudged"}, "not known yet whether it takes over broken answers"),
    ],
)
@pytest.mark.usefixtures("registered")
def test_show_tells_whether_a_model_takes_over_broken_answers(run_here, gateway, continuation, said) -> None:
    gateway.servers[0]["model_details"][0]["continuation"] = continuation
    shown = " ".join(run_here("servers", "show", "3f0c").stdout.split())
    assert f"tokens, {said})" in shown


@pytest.mark.parametrize("wanted", ["3f0c", ID.upper(), "http://10.0.0.5:8000", "HTTP://10.0.0.5:8000/v1/"])
def test_a_server_is_meant_by_prefix_or_url(run_here, registered, wanted: str) -> None:
    assert run_here("servers", "pause", wanted).exit_code == 0
    assert registered.requests[-1][:2] == ("POST", f"/admin/servers/{ID}/pause")


@pytest.mark.usefixtures("registered")
def test_an_ambiguous_prefix_is_refused(run_here) -> None:
    result = run_here("servers", "pause", "3f")
    assert result.exit_code == 1
    assert "fits 2 servers" in result.stderr
    assert ID in result.stderr


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("wanted", ["ffff", "http://10.9.9.9", "http://[bad"])
def test_an_unknown_server_names_those_that_exist(run_here, wanted: str) -> None:
    result = run_here("servers", "show", wanted)
    assert result.exit_code == 1
    assert "3f0c4a52 (http://10.0.0.5:8000)" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("action", ["check", "pause", "resume", "drain"])
def test_actions(run_here, registered, action: str) -> None:
    said = run_here("servers", action, "3f0c").stdout
    assert re.fullmatch(r"[A-Z][a-z]+ http://10\.0\.0\.5:8000: (paused \()?healthy\)?\.\n", said)
    assert registered.requests[-1][:2] == ("POST", f"/admin/servers/{ID}/{action}")
    assert json.loads(run_here("servers", action, "3f0c", "--json").stdout)["registration_id"] == ID


def test_remove_needs_a_yes(run_here, registered) -> None:
    refused = run_here("servers", "remove", "3f0c")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert run_here("servers", "remove", "3f0c", "--yes").stdout == "Removed http://10.0.0.5:8000.\n"
    assert registered.requests[-1][:2] == ("DELETE", f"/admin/register/{ID}")


def test_add_sends_what_was_said(run_here, gateway) -> None:
    options = [
        "--model",
        "a",
        "--model",
        "b=org/b:q4=x",
        "--max-concurrency",
        "8",
        "--priority",
        "-1",
        "--weight",
        "0.5",
    ]
    options += ["--share", "group", "--description", "lab box", "--api-key-env", "VLLM_KEY", "--json"]
    result = run_here("servers", "add", "http://10.0.0.5:8000", *options, VLLM_KEY="the-servers-key")
    assert json.loads(result.stdout)["registration_id"] == "new-id"
    assert gateway.requests[-1][2] == {
        "endpoint_url": "http://10.0.0.5:8000",
        "models": [{"name": "a", "upstream_name": "a"}, {"name": "b", "upstream_name": "org/b:q4=x"}],
        "api_key": "the-servers-key",
        "max_concurrency": 8,
        "priority": -1,
        "weight": 0.5,
        "share": "group",
        "metadata": {"description": "lab box"},
    }


def test_add_with_a_url_alone_sends_a_url_alone(run_here, gateway) -> None:
    result = run_here("servers", "add", "http://10.0.0.5:8000")
    assert gateway.requests[-1][2] == {"endpoint_url": "http://10.0.0.5:8000"}
    assert result.stdout == "Registered new-id: healthy, vllm\nModels: llama\n"


def test_the_servers_key_may_come_by_stdin(run_here, gateway) -> None:
    run_here("servers", "add", "http://10.0.0.5:8000", "--api-key-stdin", stdin="from-stdin\n")
    assert gateway.requests[-1][2]["api_key"] == "from-stdin"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--api-key-stdin"], "No key came"),
        (["--api-key-env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set"),
        (["--api-key-stdin", "--api-key-env", "X"], "either"),
        (["--model", "=x"], "incomplete"),
        (["--model", "x="], "incomplete"),
        (["--max-concurrency", "0"], "max-concurrency"),
    ],
)
def test_wrong_options_are_wrong_usage(run_here, gateway, options: list[str], said: str) -> None:
    result = run_here("servers", "add", "http://10.0.0.5:8000", *options, stdin="")
    assert result.exit_code == 2
    assert said in result.stderr
    assert gateway.requests == []


def test_the_gateways_refusal_is_shown_as_it_is(run_here, gateway) -> None:
    words = "10.0.0.5 is a private address. Set ALLOWED_SERVER_NETWORKS=10.0.0.0/8 to allow it."
    gateway.answers["POST", "/admin/register"] = (400, {"error": {"message": words}})
    result = run_here("servers", "add", "http://10.0.0.5:8000", "--json")
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stdout == ""


def test_a_wrong_key_ends_with_four(run_here) -> None:
    result = run_here("servers", "list", "--key", "wrong")
    assert result.exit_code == 4
    assert "This key is not known." in result.stderr
    assert "GATEWAY_KEY; unset it" not in result.stderr


def test_a_wrong_key_of_the_environment_is_told_to_be_from_there(run_here) -> None:
    result = run_here("servers", "list", GATEWAY_KEY="wrong")
    assert result.exit_code == 4
    assert "The key came from GATEWAY_KEY; unset it to use data/admin.key." in result.stderr


def test_no_gateway_ends_with_three(run_here) -> None:
    assert run_here("servers", "list", "--gateway", "http://127.0.0.1:1").exit_code == 3


def test_parse_model_keeps_slashes_and_colons() -> None:
    assert parse_model("org/m:7b") == {"name": "org/m:7b", "upstream_name": "org/m:7b"}
    with pytest.raises(CommandFailed):
        parse_model(" ")


def test_holds_come_before_health() -> None:
    assert (
        str(server_state({"health_status": "healthy", "paused": True, "blocked": True})) == "blocked, paused (healthy)"
    )
    assert str(server_state({"health_status": "unhealthy"})) == "unhealthy"


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(seconds=3), "3 s ago"),
        (timedelta(seconds=59.9), "60 s ago"),
        (timedelta(minutes=2, seconds=50), "2 min ago"),
        (timedelta(hours=5), "5 h ago"),
        (timedelta(days=9), "9 d ago"),
        (timedelta(seconds=-5), "0 s ago"),
    ],
)
def test_ages(ago: timedelta, words: str) -> None:
    now = datetime(2026, 1, 10, tzinfo=UTC)
    assert describe_age((now - ago).isoformat(), now) == words
    assert describe_age((now - ago).replace(tzinfo=None).isoformat(), now) == words


def test_ages_that_are_none() -> None:
    now = datetime(2026, 1, 10, tzinfo=UTC)
    assert describe_age(None, now) == "never"
    assert describe_age("yesterday", now) == "yesterday"


@pytest.mark.parametrize(
    "options",
    [
        ("--weight", "0"),
        ("--weight", "-1"),
        ("--weight", "nan"),
        ("--weight", "1001"),
        ("--priority", "1001"),
        ("--priority", "-1001"),
        ("--max-concurrency", "0"),
        ("--max-concurrency", "100001"),
        ("--share", "nobody"),
    ],
)
def test_add_refuses_what_the_gateway_would_refuse(run_here, gateway, options: tuple[str, str]) -> None:
    result = run_here("servers", "add", "http://10.0.0.5:8000", *options)
    assert result.exit_code == 2
    assert options[0] in result.stderr
    assert gateway.requests == []


LOAD = {"running": 3, "waiting": 2, "places": 4, "cache_used": 0.451, "told_at": "2026-01-01T00:00:05+00:00"}
NOW = datetime(2026, 1, 1, 0, 0, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("load", "shown", "in_full"),
    [
        (LOAD, "3/4 busy, 2 waiting", "3/4 busy, 2 waiting, 45% of its cache used, told 4 s ago"),
        ({**LOAD, "places": None, "waiting": 0, "cache_used": None}, "3 busy", "3 busy, told 4 s ago"),
        ({**LOAD, "running": None, "waiting": None, "cache_used": None}, "4 places", "4 places, told 4 s ago"),
        (
            {**LOAD, "running": 0, "waiting": None, "cache_used": 0.0},
            "0/4 busy",
            "0/4 busy, 0% of its cache used, told 4 s ago",
        ),
        (None, "", ""),
    ],
)
def test_an_engines_load_is_told_in_words(load, shown: str, in_full: str) -> None:
    server = {"load": load}
    assert describe_load(server) == shown
    assert describe_load(server, NOW) == in_full


def test_the_list_tells_of_busy_engines_and_marks_models_in_memory(run_here, gateway) -> None:
    models = [{"name": name, "upstream_name": name, "loaded": name == "a", "listed": True} for name in ("a", "b")]
    gateway.add(ID, "http://10.0.0.5:8000", models=["a", "b"], model_details=models, load=LOAD)
    gateway.add(OTHER_ID, "http://10.0.0.6:8000", load={**LOAD, "running": 0, "waiting": 0})
    listed = run_here("servers", "list", COLUMNS="80").stdout.splitlines()
    assert listed[1].split() == ["3f0c4a52", "http://10.0.0.5:8000", "healthy", "a*,", "b", "3"]
    assert listed[3:] == ["", "3f0c4a52: 3/4 busy, 2 waiting", "* in memory now"]
    assert max(map(len, listed)) <= 80


def test_show_tells_what_the_engine_says(run_here, gateway) -> None:
    model = {
        "name": "llama",
        "upstream_name": "llama:8b",
        "context_length": 131072,
        "context_in_effect": 4096,
        "loaded": True,
        "capabilities": ["chat", "tools"],
        "listed": True,
    }
    gateway.add(ID, "http://10.0.0.5:8000", model_details=[model], load=LOAD, loaded_models=["llama:8b", "other"])
    shown = [" ".join(line.split()) for line in run_here("servers", "show", "3f0c", COLUMNS="160").stdout.splitlines()]
    assert next(line for line in shown if line.startswith("Engine's load")).startswith("Engine's load 3/4 busy, 2 wait")
    assert "In memory llama:8b, other" in shown
    words = "there: llama:8b, 4,096 tokens in effect, 131,072 registered, in memory, chat/tools"
    assert f"Model llama ({words})" in shown
    gateway.servers[0] |= {"load": None, "loaded_models": []}
    shown = " ".join(run_here("servers", "show", "3f0c").stdout.split())
    assert "In memory no model" in shown
    assert "Engine's load" not in shown


@pytest.mark.usefixtures("registered")
def test_what_an_older_gateway_does_not_tell_is_left_out(run_here) -> None:
    for command in (("list",), ("show", "3f0c")):
        said = run_here("servers", *command).stdout
        assert "memory" not in said
        assert "load" not in said
