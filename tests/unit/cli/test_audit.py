"""Does the command on the audit ask for the right lines, page by page, and tell them in one line each?"""

from __future__ import annotations

import csv
import io
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from app.cli.root import build
from app.routers.usage_views import AuditView


def line(number: int, **fields) -> dict:
    return {
        "id": number, "at": "2030-01-01T08:09:10.5Z", "actor_id": "admin", "actor_name": "operator",
        "client": "192.0.2.7", "request_id": "r", "action": "key.changed", "kind": "key", "object_id": "k1",
        "name": "ann\x1b]0;x", "before": {"models": None, "role": "user", "same": 1},
        "after": {"models": ["m"], "role": "owner", "same": 1},
    } | fields  # fmt: skip


@pytest.fixture
def known(gateway):
    gateway.answers["GET", "/admin/audit"] = 200, {"rows": [line(2), line(1, before=None, client="", name="")],
                                                   "next_before": None}  # fmt: skip
    return gateway


def test_a_change_is_one_line(run_here, known) -> None:
    first, second, third = run_here("audit").stdout.splitlines()
    assert first.split() == ["Id", "When", "Who", "From", "What", "Of", "Change"]
    assert second.split()[:6] == ["2", "2030-01-01T08:09:10", "operator", "192.0.2.7", "key.changed", "ann?]0;x"]
    assert second.rstrip().endswith('models: null -> ["m"], role: user -> owner')
    assert third.split()[3:6] == ["-", "key.changed", "k1"]
    assert third.rstrip().endswith('models: ["m"], role: owner, same: 1')


def test_a_long_change_is_cut(run_here, known) -> None:
    known.answers["GET", "/admin/audit"] = 200, {"rows": [line(1, after={"x": "y" * 500})], "next_before": None}
    assert "..." in run_here("audit", COLUMNS="400").stdout


def test_what_is_asked_goes_to_the_gateway(run_here, known) -> None:
    run_here("audit", "--kind", "key", "--action", "key.created", "--actor", "ann", "--object", "k1",
             "--since", "2030-01-01", "--until", "2030-02-01", "--lines", "7")  # fmt: skip
    assert parse_qs(urlsplit(known.requests[-1][1]).query) == {
        "kind": ["key"], "action": ["key.created"], "actor": ["ann"], "object": ["k1"], "since": ["2030-01-01"],
        "until": ["2030-02-01"], "limit": ["7"],
    }  # fmt: skip


def test_pages_are_put_together(run_here, known) -> None:
    known.answers["GET", "/admin/audit"] = 200, {"rows": [line(2), line(1)], "next_before": 1}
    rows = json.loads(run_here("audit", "--json", "--lines", "5").stdout)
    assert len(rows) == 6
    queries = [parse_qs(urlsplit(path).query) for _method, path, _body in known.requests]
    assert [(query["limit"], query.get("before")) for query in queries] == [
        (["5"], None),
        (["3"], ["1"]),
        (["1"], ["1"]),
    ]


def test_as_csv_a_name_is_never_a_formula(run_here, known) -> None:
    known.answers["GET", "/admin/audit"] = 200, {"rows": [line(2, name="=cmd()"), line(1, before=None)],
                                                   "next_before": None}  # fmt: skip
    first, second = csv.DictReader(io.StringIO(run_here("audit", "--csv").stdout, newline=""))
    assert (first["id"], first["at"], first["name"]) == ("2", "2030-01-01T08:09:10.5Z", "'=cmd()")
    assert json.loads(first["after"]) == {"models": ["m"], "role": "owner", "same": 1}
    assert (second["before"], second["object_id"]) == ("", "k1")
    assert list(first) == list(AuditView.model_fields)
    known.answers["GET", "/admin/audit"] = 200, {"rows": [], "next_before": None}
    assert run_here("audit", "--csv").stdout.startswith("id,at,actor_id,")


def test_nothing_is_told_as_such(run_here, known) -> None:
    known.answers["GET", "/admin/audit"] = 200, {"rows": [], "next_before": None}
    assert run_here("audit").stdout == "Nothing was changed yet.\n"
    assert run_here("audit", "--kind", "key").stdout == "No change matches.\n"
    assert json.loads(run_here("audit", "--json").stdout) == []


def test_who_may_not_read_it_ends_with_4(run_here, known) -> None:
    known.answers["GET", "/admin/audit"] = 403, {"error": {"message": "Only an admin key may do this."}}
    assert run_here("audit").exit_code == 4


def test_help_names_exit_codes() -> None:
    result = CliRunner().invoke(build(), ["audit", "--help"])
    assert result.exit_code == 0
    assert "Exit codes" in result.stdout
