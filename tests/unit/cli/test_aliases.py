"""Do the commands on aliases ask the gateway for the right thing, and tell what it said?"""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from app.cli.alias_table import alias_sentence, alias_table, alias_warnings, bounded, parsed_targets
from app.cli.aliases import aliases_app
from app.cli.exits import CommandFailed, ExitCode

PATH = "/admin/aliases"
FAST = {
    "name": "org/fast",
    "targets": [{"model": "llama", "weight": 3.0}, {"model": "qwen", "weight": 1.0, "max_context_tokens": 8000}],
    "fallbacks": ["mistral", {"model": "phi", "min_context_tokens": 5}],
    "missing": ["mistral"],
    "hides_model": False,
    "decided_by": "admin",
    "created_at": "2030-01-01T00:00:00Z",
    "updated_at": "2030-01-01T00:00:00Z",
}
SAID = "org/fast: llama 75%, qwen 25% (up to 8,000 tokens), else mistral, phi (from 5 tokens)."


@pytest.fixture
def known(gateway, monkeypatch):
    handler = gateway._http.RequestHandlerClass
    handler.do_PUT = handler.handle_any
    gateway.answers["GET", PATH] = 200, {"aliases": [FAST]}
    gateway.answers["POST", PATH] = 201, FAST
    for method, status, answer in (("GET", 200, FAST), ("PUT", 200, FAST), ("DELETE", 204, None)):
        gateway.answers[method, f"{PATH}/org%2Ffast"] = status, answer
    monkeypatch.setenv("GATEWAY_URL", gateway.url)
    monkeypatch.setenv("GATEWAY_KEY", gateway.key)
    return gateway


def run(*arguments: str):
    """Run a command on a page that is wide enough for one line a row, whatever terminal the tests run in."""
    return CliRunner().invoke(aliases_app, list(arguments), env={"COLUMNS": "160"})


def test_list_shows_shares_bounds_fallbacks_and_what_is_missing(known) -> None:
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["Alias", "Leads", "to", "Fallbacks", "Warning"]
    row = " ".join(lines[1].split())
    assert row == (
        "org/fast llama 75%, qwen 25% (up to 8,000 tokens) mistral, phi (from 5 tokens) No server has mistral now."
    )
    assert json.loads(run("list", "--json").stdout) == [FAST]
    known.answers["GET", PATH] = 200, {"aliases": []}
    assert "multiverse aliases create" in run("list").stdout


@pytest.mark.usefixtures("known")
def test_no_column_is_there_for_warnings_that_nobody_has() -> None:
    assert len(alias_table([FAST | {"missing": []}]).columns) == 3
    assert len(alias_table([FAST]).columns) == 4


def test_create_says_weights_fallbacks_and_bounds(known) -> None:
    result = run(
        "create",
        "org/fast",
        "llama=3",
        "qwen",
        "--fallback",
        "mistral",
        "--fallback",
        "phi",
        "--max-context",
        "qwen=8000",
        "--min-context",
        "phi=5",
    )
    assert result.stdout.splitlines() == [f"Created {SAID}", "Warning: No server has mistral now."]
    assert known.requests[-1] == (
        "POST",
        PATH,
        {
            "name": "org/fast",
            "targets": [{"model": "llama", "weight": 3.0}, {"model": "qwen", "max_context_tokens": 8000}],
            "fallbacks": [{"model": "mistral"}, {"model": "phi", "min_context_tokens": 5}],
        },
    )
    assert json.loads(run("create", "org/fast", "llama", "--json").stdout) == FAST


def test_change_keeps_what_is_not_named(known) -> None:
    assert run("change", "org/fast", "--rename", "quick").stdout.startswith(f"Changed {SAID}")
    method, path, body = known.requests[-1]
    assert (method, path) == ("PUT", f"{PATH}/org%2Ffast")
    fallbacks = [{"model": "mistral"}, {"model": "phi", "min_context_tokens": 5}]
    assert body == {"name": "quick", "targets": FAST["targets"], "fallbacks": fallbacks}
    run("change", "org/fast", "x=2", "--fallback", "y", "--max-context", "x=9")
    assert known.requests[-1][2] == {
        "name": "org/fast",
        "targets": [{"model": "x", "weight": 2.0, "max_context_tokens": 9}],
        "fallbacks": [{"model": "y"}],
    }
    run("change", "org/fast", "--no-fallbacks")
    assert known.requests[-1][2] == {"name": "org/fast", "targets": FAST["targets"], "fallbacks": []}


@pytest.mark.usefixtures("known")
def test_change_refuses_what_contradicts_itself() -> None:
    result = run("change", "org/fast", "--fallback", "x", "--no-fallbacks")
    assert isinstance(result.exception, CommandFailed)
    assert result.exception.code == ExitCode.USAGE


def test_remove(known) -> None:
    assert run("remove", "org/fast").stdout.startswith("Removed org/fast.")
    assert known.requests[-1] == ("DELETE", f"{PATH}/org%2Ffast", None)
    assert json.loads(run("remove", "org/fast", "--json").stdout) == {"name": "org/fast", "removed": True}


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("llama", {"model": "llama"}),
        ("llama=3", {"model": "llama", "weight": 3.0}),
        ("llama=0.5", {"model": "llama", "weight": 0.5}),
        ("llama=big", {"model": "llama=big"}),
        ("llama=nan", {"model": "llama=nan"}),
        ("llama=1=2", {"model": "llama=1", "weight": 2.0}),
        ("=3", {"model": "=3"}),
        ("llama=", {"model": "llama="}),
    ],
)
def test_a_target_is_a_name_and_perhaps_a_weight(word: str, target: dict) -> None:
    assert parsed_targets([word]) == [target]


@pytest.mark.parametrize("word", ["llama", "llama=", "=5", "llama=x", "llama=-1", "llama=0", "llama=1.5", "llama=²"])
def test_what_is_no_bound_is_refused(word: str) -> None:
    body = {"name": "fast", "targets": [{"model": "llama"}], "fallbacks": []}
    with pytest.raises(CommandFailed, match="is no bound") as refused:
        bounded(body, [], [word])
    assert refused.value.code == ExitCode.USAGE


def test_a_bound_of_another_model_is_refused_with_those_that_there_are() -> None:
    body = {"name": "fast", "targets": [{"model": "llama"}], "fallbacks": ["phi"]}
    with pytest.raises(CommandFailed, match="does not lead to qwen") as refused:
        bounded(body, ["qwen=5"], [])
    assert refused.value.fix == "It leads to: llama, phi."
    assert len(str(bounded(body, [f"llama={'9' * 5000}"], [])["targets"][0]["min_context_tokens"])) == 12


def test_words_for_each_kind_of_bound_and_warning() -> None:
    target = {"model": "a", "weight": 1.0, "min_context_tokens": 1000, "max_context_tokens": 2000}
    alias = {"name": "fast", "targets": [target], "fallbacks": [], "missing": [], "hides_model": True}
    assert alias_sentence(alias) == "fast: a 100% (1,000 to 2,000 tokens)"
    assert list(alias_warnings(alias)) == ["It hides a model that is called fast too."]


def test_help_has_examples() -> None:
    assert "multiverse aliases create fast llama-3-8b=3 qwen=1 --fallback mistral" in run("create", "--help").stdout
