"""Do the commands on use ask the gateway for the right thing, and tell what it said?"""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from app.cli.root import build

SUMS = {
    "requests": 1200, "errors": 2, "prompt_tokens": 51200, "completion_tokens": 20480, "total_tokens": 71680,
    "estimated_tokens": 310, "continuations": 1, "seconds": 361.4,
}  # fmt: skip
TABLE = {
    "group_by": "key", "side": None, "from": "2030-01-01T00:00:00Z", "to": "2030-02-01T00:00:00Z",
    "rows": [{"id": "k1", "name": "=Ann\x1b[31m", **SUMS}, {"id": "k2", "name": "(removed)", **SUMS},
             {"id": "k3", "name": "(removed)", **SUMS}],
    "total": 3, "totals": SUMS,
}  # fmt: skip
LIMIT = {
    "subject": "group", "model": "m", "name": "tokens_per_day", "limit": 90000, "used": 10, "remaining": 89990,
    "resets_in_seconds": 5.0,
}  # fmt: skip
OWN = {
    "key_id": "k1", "name": "Ann", "today_since": "2030-01-05T00:00:00Z", "month_since": "2030-01-01T00:00:00Z",
    "today": SUMS, "month": SUMS, "models": [{"model": "llama", **SUMS}], "limits": [LIMIT],
}  # fmt: skip
CONTRIBUTION = {
    "id": "o1", "name": "Ann", "group": "", "served": SUMS, "used": SUMS, "group_used": None, "balance_tokens": -12345,
}  # fmt: skip
KEY_ID = "7d0f1c6e-2b8a-4f0e-9c55-0f4b1f1f6a01"
REFUSED = 403, {"error": {"message": "This key sees its own use alone: GET /v1/usage."}}


@pytest.fixture
def known(gateway):
    gateway.answers["GET", "/admin/usage"] = 200, TABLE
    gateway.answers["GET", "/v1/usage"] = 200, OWN
    gateway.answers["GET", "/admin/usage/contributions"] = 200, {"from": "a", "to": "b", "rows": [CONTRIBUTION]}
    return gateway


def asked(gateway) -> dict[str, list[str]]:
    return parse_qs(urlsplit(gateway.requests[-1][1]).query, keep_blank_values=True)


def test_it_shows_who_used_what_with_the_sum_and_what_is_estimated(run_here, known) -> None:
    lines = run_here("usage").stdout.splitlines()
    assert lines[0].split() == ["Key", "Requests", "Errors", "Prompt", "Answer", "Tokens"]
    assert lines[1].split() == ["=Ann?[31m", "1,200", "2", "51,200", "20,480", "71,680"]
    assert [line.split()[:2] for line in lines[2:4]] == [["(removed)", "(k2)"], ["(removed)", "(k3)"]]
    assert any(line.split()[:2] == ["Total", "1,200"] for line in lines)
    assert "310 of the tokens are estimated: no server counted them" in lines
    assert asked(known) == {"limit": ["10000"]}


def test_rows_that_were_left_out_are_told_of(run_here, known) -> None:
    known.answers["GET", "/admin/usage"] = 200, TABLE | {"total": 12345}
    assert "3 of 12,345 rows" in run_here("usage").stdout


def test_what_is_asked_goes_to_the_gateway(run_here, known) -> None:
    run_here(
        "usage", "--by", "day", "--from", "2030-01-01", "--to", "2030-02-01", "--of-key", KEY_ID,
        "--of-key", "admin", "--model", "m/1", "--model", "m2", "--server", KEY_ID, "--owner", KEY_ID, "--group", "",
        "--person", "p", "--side", "used",
    )  # fmt: skip
    assert asked(known) == {
        "group_by": ["day"], "from": ["2030-01-01"], "to": ["2030-02-01"], "key": [KEY_ID, "admin"],
        "model": ["m/1", "m2"], "server": [KEY_ID], "owner": [KEY_ID], "group": [""], "person": ["p"],
        "side": ["used"], "limit": ["10000"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "ago"), [("7d", timedelta(days=7)), ("12h", timedelta(hours=12)), ("9999w", timedelta(9999 * 7))]
)
def test_a_time_may_be_told_by_how_long_ago_it_was(run_here, known, text: str, ago: timedelta) -> None:
    run_here("usage", "--from", text)
    moment = datetime.fromisoformat(asked(known)["from"][0])
    assert abs(datetime.now(UTC) - ago - moment) < timedelta(minutes=1)


def test_json_and_csv_are_alone(run_here, known) -> None:
    assert json.loads(run_here("usage", "--json").stdout) == TABLE
    rows = list(csv.DictReader(io.StringIO(run_here("usage", "--csv").stdout, newline="")))
    assert [row["name"] for row in rows] == ["'=Ann\x1b[31m", "(removed)", "(removed)"]
    assert rows[0]["total_tokens"] == "71680"


@pytest.mark.parametrize("arguments", [("usage",), ("usage", "--own")])
def test_a_user_sees_its_own_and_what_is_left(run_here, known, arguments) -> None:
    known.answers["GET", "/admin/usage"] = REFUSED
    lines = [line.split() for line in run_here(*arguments).stdout.splitlines()]
    assert lines[1][:2] == ["Today", "1,200"]
    assert lines[2][:3] == ["This", "month", "1,200"]
    assert lines[3][:2] == ["llama", "1,200"]
    assert ["tokens", "per", "day", "group,", "m", "90,000", "10", "89,990"] in lines
    assert json.loads(run_here(*arguments, "--json").stdout) == OWN
    rows = list(csv.DictReader(io.StringIO(run_here(*arguments, "--csv").stdout, newline="")))
    assert [row["model"] for row in rows] == ["(today)", "(this month)", "llama"]


def test_without_limits_it_says_so(run_here, known) -> None:
    known.answers["GET", "/v1/usage"] = 200, OWN | {"limits": []}
    assert "No limits." in run_here("usage", "--own").stdout


def test_what_a_user_may_not_ask_is_refused_and_a_wrong_key_is_told(run_here, known) -> None:
    known.answers["GET", "/admin/usage"] = REFUSED
    result = run_here("usage", "--by", "model")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "GET /v1/usage" in result.stderr
    del known.answers["GET", "/admin/usage"], known.answers["GET", "/v1/usage"]
    assert run_here("usage", GATEWAY_KEY="wrong").exit_code == 4


def test_contributions_are_told_with_their_balance(run_here, known) -> None:
    lines = [line.split() for line in run_here("usage", "contributions", "--from", "2030-01-01").stdout.splitlines()]
    assert lines[1] == ["Ann", "1,200", "71,680", "71,680", "-12,345"]
    assert asked(known) == {"from": ["2030-01-01"]}
    assert json.loads(run_here("usage", "contributions", "--json").stdout)["rows"] == [CONTRIBUTION]
    (row,) = csv.DictReader(io.StringIO(run_here("usage", "contributions", "--csv").stdout, newline=""))
    assert (row["served_requests"], row["balance_tokens"]) == ("1200", "-12345")
    known.answers["GET", "/admin/usage/contributions"] = 200, {"rows": []}
    assert "Nobody" in run_here("usage", "contributions").stdout


@pytest.mark.parametrize("arguments", [("usage",), ("usage", "contributions")])
def test_help_names_exit_codes(arguments) -> None:
    result = CliRunner().invoke(build(), [*arguments, "--help"])
    assert result.exit_code == 0
    assert "Exit codes" in result.stdout
