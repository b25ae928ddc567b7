"""Do the commands on limits of models ask the gateway for the right thing, and say what counts?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli.limits import limits_app, unserved_words

PATH = "/admin/model-limits"
BIG: dict[str, Any] = {"requests_per_minute": 60, "tokens_per_minute": None, "concurrency": None}
SET = {"name": "org/big", "limits": BIG | {"concurrency": 4}}


@pytest.fixture
def known(gateway):
    handler = gateway._http.RequestHandlerClass
    handler.do_PUT = handler.handle_any
    gateway.answers["GET", PATH] = 200, {"model_limits": [{"name": "org/big", "limits": BIG}]}
    gateway.answers["GET", "/v1/models"] = 200, {"data": [{"id": "org/big"}, {"id": "small"}]}
    for name in ("org%2Fbig", "bgi"):
        gateway.answers["PUT", f"{PATH}/{name}"] = 200, SET
        gateway.answers["DELETE", f"{PATH}/{name}"] = 204, None
    return gateway


def run(gateway: Any, *arguments: str) -> Any:
    environment = {"COLUMNS": "160", "GATEWAY_URL": gateway.url, "GATEWAY_KEY": gateway.key}
    return CliRunner().invoke(limits_app, list(arguments), env=environment)


def test_list_shows_each_model_with_its_limits(known) -> None:
    lines = [" ".join(line.split()) for line in run(known, "list").stdout.splitlines()]
    assert lines == ["Model Limits", "org/big 60 requests/min"]
    assert json.loads(run(known, "list", "--json").stdout) == [{"name": "org/big", "limits": BIG}]
    known.answers["GET", PATH] = 200, {"model_limits": []}
    assert "multiverse limits set MODEL" in run(known, "list").stdout


def test_set_keeps_other_limits_unless_they_are_to_be_replaced(known) -> None:
    said = run(known, "set", "org/big", "--concurrency", "4")
    assert (said.stdout, said.stderr) == ("Limited org/big to 60 requests/min, 4 at once.\n", "")
    put = next(request for request in known.requests if request[0] == "PUT")
    assert put == ("PUT", f"{PATH}/org%2Fbig", {"limits": BIG | {"concurrency": 4}})
    assert json.loads(run(known, "set", "org/big", "--tokens-per-day", "9", "--replace", "--json").stdout) == SET
    assert known.requests[-1] == ("PUT", f"{PATH}/org%2Fbig", {"limits": {"tokens_per_day": 9}})


def test_a_name_that_nothing_serves_is_told(known) -> None:
    said = run(known, "set", "bgi", "--requests-per-minute", "5")
    assert said.exit_code == 0
    assert "Nothing is served under the name bgi" in said.stderr
    assert "There are: org/big, small." in said.stderr
    assert unserved_words("x", []).endswith("the limit waits for it.")
    assert unserved_words("x", [f"m{number}" for number in range(12)]).endswith("m9 and 2 more.")


@pytest.mark.parametrize("options", [[], ["--replace"], ["--concurrency", "0"], ["--concurrency", "many"]])
def test_no_limit_is_wrong_usage_before_anything_is_asked(known, options: list[str]) -> None:
    result = run(known, "set", "org/big", *options)
    assert (getattr(result.exception, "code", None), known.requests) == (2, [])


def test_clear(known) -> None:
    assert run(known, "clear", "org/big").stdout == "org/big is limited for everybody no more.\n"
    assert known.requests[-1] == ("DELETE", f"{PATH}/org%2Fbig", None)
    assert json.loads(run(known, "clear", "org/big", "--json").stdout) == {"name": "org/big", "cleared": True}
    refused = run(known, "clear", "small").exception
    assert (refused.message, refused.fix) == ("small is not limited for everybody.", "Limited are: org/big.")
    known.answers["GET", PATH] = 200, {"model_limits": []}
    assert run(known, "clear", "small").exception.fix == "No model is."


@pytest.mark.parametrize("command", ["list", "set", "clear"])
def test_every_command_has_help_with_exit_codes_and_an_example(command: str) -> None:
    result = CliRunner().invoke(limits_app, [command, "--help"])
    assert result.exit_code == 0
    assert "Exit codes" in result.stdout
    assert f"multiverse limits {command}" in result.stdout
