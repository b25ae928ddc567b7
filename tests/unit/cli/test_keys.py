"""Do the commands on keys ask the gateway for the right thing, and print a key where a script can take it?"""

from __future__ import annotations

import csv
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from typer.testing import CliRunner

from app.cli import console, key_import
from app.cli.exits import CommandFailed
from app.cli.key_import import output_file, read_list, sheet
from app.cli.key_options import parse_duration, parse_expiry
from app.cli.key_table import key_lines, limits_in_words
from app.cli.root import build

PATH = "/admin/keys"
NOW = datetime(2030, 1, 1, tzinfo=UTC)
SECRET = "mvk_0123456789abcdefghijklmnopqrst4Zw5dE"
NO_LIMITS: dict[str, Any] = dict.fromkeys(
    ("requests_per_minute", "tokens_per_minute", "tokens_per_day", "tokens_per_month", "concurrency")
)


def key_row(key_id: str, name: str, **fields: Any) -> dict[str, Any]:
    row = {
        "id": key_id,
        "name": name,
        "role": "user",
        "state": "active",
        "group": None,
        "group_id": None,
        "person": None,
        "secrets": [{"shown": f"mvk_...{key_id[:4]}", "created_at": "2030-01-01T00:00:00Z", "expires_at": None}],
        "models": None,
        "routes": None,
        "reach": "public",
        "tools_anywhere": False,
        "names_people": False,
        "background": False,
        "weight": 1.0,
        "limits": dict(NO_LIMITS),
        "model_limits": {},
        "expires_at": None,
        "minted_by": "admin",
        "created_at": "2030-01-01T00:00:00Z",
        "updated_at": "2030-01-01T00:00:00Z",
        "revoked_at": None,
    }
    return row | fields


ADA = key_row(
    "aaaa1111-0000",
    "ada",
    group="physics",
    person="ada@example.org",
    models=["llama-3-8b"],
    limits={**NO_LIMITS, "requests_per_minute": 60, "concurrency": 4},
    expires_at="2030-06-30T23:59:59Z",
)
GRACE = key_row("bbbb2222-0000", "grace", background=True, model_limits={"big": {**NO_LIMITS, "concurrency": 1}})
OLD = key_row("cccc3333-0000", "ada", state="revoked", secrets=[], revoked_at="2030-01-01T00:00:00Z")


@pytest.fixture
def known(gateway):
    handler = gateway._http.RequestHandlerClass
    handler.do_PATCH = handler.handle_any
    gateway.answers["GET", PATH] = 200, {"keys": [ADA, GRACE, OLD], "total": 3}
    gateway.answers["POST", PATH] = 201, {**ADA, "key": SECRET}
    for row in (ADA, GRACE, OLD):
        gateway.answers["PATCH", f"{PATH}/{row['id']}"] = 200, row
        gateway.answers["DELETE", f"{PATH}/{row['id']}"] = 204, None
        gateway.answers["POST", f"{PATH}/{row['id']}/rotate"] = 200, {**row, "key": SECRET}
    return gateway


def test_create_prints_the_key_alone_on_stdout_and_words_on_stderr(run_here, known) -> None:
    result = run_here("keys", "create", "--name", "ada")
    assert result.stdout == f"{SECRET}\n"
    assert "cannot be shown again" in result.stderr
    assert "group physics" in result.stderr
    assert SECRET not in result.stderr
    assert known.requests[-1] == ("POST", PATH, {"name": "ada"})


@pytest.mark.usefixtures("known")
def test_create_is_silent_for_scripts(run_here) -> None:
    result = run_here("keys", "create", "--name", "ada", "--quiet")
    assert (result.stdout, result.stderr) == (f"{SECRET}\n", "")
    assert json.loads(run_here("keys", "create", "--name", "ada", "--json").stdout)["key"] == SECRET


def test_create_sends_what_was_given(run_here, known) -> None:
    run_here(
        *("keys", "create", "--name", "x", "--role", "owner", "--group", "physics", "--person", "p", "--model", "m1"),
        *("--model", "m2", "--route", "/v1/models", "--requests-per-minute", "60", "--tokens-per-day", "1000"),
        *("--concurrency", "2", "--reach", "group", "--tools-anywhere", "--background", "--weight", "2"),
        *(
            "--expires",
            "2099-02-28T12:00:00Z",
            "--no-names-people",
            "--tokens-per-minute",
            "5",
            "--tokens-per-month",
            "9",
        ),
    )
    assert known.requests[-1][2] == {
        "name": "x",
        "role": "owner",
        "group": "physics",
        "person": "p",
        "models": ["m1", "m2"],
        "routes": ["/v1/models"],
        "limits": {
            "requests_per_minute": 60,
            "tokens_per_minute": 5,
            "tokens_per_day": 1000,
            "tokens_per_month": 9,
            "concurrency": 2,
        },
        "reach": "group",
        "tools_anywhere": True,
        "names_people": False,
        "background": True,
        "weight": 2.0,
        "expires_at": "2099-02-28T12:00:00Z",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["--expires", "soon"],
        ["--expires", "2001-01-01"],
        ["--expires", "0d"],
        ["--expires", "999999999w"],
        ["--expires", "2030-13-01"],
        ["--requests-per-minute", "0"],
        ["--weight", "0"],
        ["--role", "king"],
        ["--model-limit", "llama"],
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_asked(run_here, known, arguments: list[str]) -> None:
    result = run_here("keys", "create", "--name", "x", *arguments)
    assert (result.exit_code, result.stdout, known.requests) == (2, "", [])


@pytest.mark.usefixtures("known")
def test_list_shows_what_a_key_may_and_never_a_key(run_here) -> None:
    lines = [line.split() for line in run_here("keys", "list").stdout.splitlines()]
    assert lines[0] == ["Id", "Name", "Role", "Group", "State", "Key", "Expires", "Limits"]
    assert lines[1][:7] == ["aaaa1111", "ada", "user", "physics", "active", "mvk_...aaaa", "2030-06-30"]
    assert " ".join(lines[1][7:]) == "60 requests/min, 4 at once"
    assert lines[3][4:6] == ["revoked", "-"]
    assert "Expires" not in run_here("keys", "list", COLUMNS="80").stdout
    assert json.loads(run_here("keys", "list", "--json").stdout) == [ADA, GRACE, OLD]


def test_list_filters_and_says_how_to_go_on(run_here, known) -> None:
    known.answers["GET", PATH] = 200, {"keys": [], "total": 0}
    assert "No key matches" in run_here("keys", "list", "--group", "a b", "--role", "user", "--state", "active").stdout
    assert known.requests[-1][1] == f"{PATH}?group=a+b&role=user&state=active"
    said = run_here("keys", "list").stdout
    assert "You see no key beside" in said, "an owner's key that made none sees none, whatever others there are"
    assert "multiverse keys create" in said


def test_list_follows_the_pages(run_here, known) -> None:
    pages = {
        None: ([ADA], "aaaa1111-0000"),
        "aaaa1111-0000": ([GRACE], "bbbb2222-0000"),
        "bbbb2222-0000": ([OLD], None),
    }

    def answer(method: str, path: str, body: Any, authorization: str | None) -> tuple[int, Any]:
        known.requests.append((method, path, body))
        after = parse_qs(path.partition("?")[2]).get("after", [None])[0]
        keys, following = pages[after]
        return 200, {"keys": keys, "total": 3, "next_after": following}

    known.answer = answer
    assert json.loads(run_here("keys", "list", "--search", "a b", "--json").stdout) == [ADA, GRACE, OLD]
    assert [path for _method, path, _body in known.requests] == [
        f"{PATH}?q=a+b",
        f"{PATH}?q=a+b&after=aaaa1111-0000",
        f"{PATH}?q=a+b&after=bbbb2222-0000",
    ]


def test_a_key_is_looked_for_by_the_gateway(run_here, known) -> None:
    assert run_here("keys", "show", "ada").exit_code == 0
    assert [path for _method, path, _body in known.requests] == [f"{PATH}?q=ada"]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("which", ["aaaa", "ada", "aaaa1111-0000", "mvk_...aaaa"])
def test_a_key_is_named_by_id_name_or_what_is_shown_of_it(run_here, which: str) -> None:
    shown = run_here("keys", "show", which).stdout
    assert "ada@example.org" in shown
    assert "60 requests/min, 4 at once" in shown
    assert json.loads(run_here("keys", "show", which, "--json").stdout) == ADA


@pytest.mark.usefixtures("known")
def test_show_tells_switches_and_limits_by_model(run_here) -> None:
    shown = run_here("keys", "show", "grace").stdout
    assert "yields to people" in shown
    assert "Limits of big" in shown
    assert "Reach" in shown


def test_what_is_not_there_names_what_is(run_here, known) -> None:
    result = run_here("keys", "show", "nobody")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "aaaa1111 (ada)" in result.stderr
    known.answers["GET", PATH] = 200, {"keys": [ADA, {**ADA, "id": "aaaa9999"}], "total": 2}
    assert "fits 2 keys: aaaa1111-0000, aaaa9999" in run_here("keys", "show", "ada").stderr
    known.answers["GET", PATH] = 200, {"keys": [key_row(f"id-{number}", "n") for number in range(12)], "total": 12}
    assert "and 2 more" in run_here("keys", "show", "nobody").stderr
    known.answers["GET", PATH] = 200, {"keys": [], "total": 0}
    assert "multiverse keys create" in run_here("keys", "show", "nobody").stderr


def test_change_keeps_other_limits(run_here, known) -> None:
    run_here("keys", "change", "ada", "--tokens-per-day", "9", "--name", "Ada L.")
    assert known.requests[-1] == (
        "PATCH",
        f"{PATH}/{ADA['id']}",
        {"name": "Ada L.", "limits": {**ADA["limits"], "tokens_per_day": 9}},
    )


def test_change_clears_what_a_key_can_be_without(run_here, known) -> None:
    clear = [part for field in ("expires", "group", "models", "limits") for part in ("--clear", field)]
    run_here("keys", "change", "ada", *clear, "--concurrency", "7", "--json")
    expected = {"expires_at": None, "group": None, "models": None, "limits": {"concurrency": 7}}
    assert known.requests[-1][2] == expected


def test_limits_of_models_are_sent_and_others_stay(run_here, known) -> None:
    limit = ["--model-limit", "big:requests_per_minute=10", "--model-limit", "llama3.1:8b:concurrency=2"]
    run_here("keys", "create", "--name", "x", *limit)
    sent = {"big": {"requests_per_minute": 10}, "llama3.1:8b": {"concurrency": 2}}
    assert known.requests[-1][2] == {"name": "x", "model_limits": sent}
    run_here("keys", "change", "grace", *limit)
    sent["big"] = {**NO_LIMITS, "concurrency": 1, "requests_per_minute": 10}
    assert known.requests[-1][2] == {"model_limits": sent}
    run_here("keys", "change", "grace", "--clear", "model_limits", *limit[2:])
    assert known.requests[-1][2] == {"model_limits": {"llama3.1:8b": {"concurrency": 2}}}
    run_here("keys", "change", "grace", "--clear", "model_limits")
    assert known.requests[-1][2] == {"model_limits": None}


def test_a_change_of_nothing_is_refused(run_here, known) -> None:
    result = run_here("keys", "change", "ada")
    assert (result.exit_code, known.requests) == (2, [])


def test_rotate_prints_the_new_key_alone(run_here, known) -> None:
    result = run_here("keys", "rotate", "ada", "--overlap", "1h", "-q")
    assert (result.stdout, result.stderr) == (f"{SECRET}\n", "")
    assert known.requests[-1] == ("POST", f"{PATH}/{ADA['id']}/rotate", {"overlap_seconds": 3600.0})
    assert run_here("keys", "rotate", "ada", "--overlap", "long").exit_code == 2


def test_a_new_link_is_printed_alone(run_here, known) -> None:
    made = {"id": ADA["id"], "link": "http://gateway/invite/mvi_x", "expires_at": "2030-01-15T00:00:00Z"}
    known.answers["POST", f"{PATH}/{ADA['id']}/invite"] = 201, made
    result = run_here("keys", "invite", "ada", "--days", "7")
    assert (result.stdout, "2030-01-15" in result.stderr) == ("http://gateway/invite/mvi_x\n", True)
    assert known.requests[-1] == ("POST", f"{PATH}/{ADA['id']}/invite", {"invite_days": 7})
    assert json.loads(run_here("keys", "invite", "ada", "--json").stdout) == made


def test_revoke_asks_unless_told_not_to(run_here, known, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_here("keys", "revoke", "ada").exit_code == 2
    assert all(method == "GET" for method, _, _ in known.requests)
    monkeypatch.setattr(console, "is_interactive", lambda: True)
    assert run_here("keys", "revoke", "ada", stdin="n\n").exit_code == 1
    assert all(method == "GET" for method, _, _ in known.requests)
    assert "Revoked ada" in run_here("keys", "revoke", "ada", stdin="y\n").stdout
    assert known.requests[-1] == ("DELETE", f"{PATH}/{ADA['id']}", None)
    assert json.loads(run_here("keys", "revoke", "bbbb", "--yes", "--json").stdout)["revoked"] is True


@pytest.mark.usefixtures("known")
def test_a_wrong_key_ends_with_its_exit_code(run_here, known) -> None:
    known.answers.clear()
    assert run_here("keys", "list", GATEWAY_KEY="wrong").exit_code == 4


@pytest.mark.parametrize("command", ["create", "list", "show", "change", "rotate", "invite", "revoke", "import"])
def test_every_command_has_help_with_exit_codes_and_an_example(command: str) -> None:
    result = CliRunner().invoke(build(), ["keys", command, "--help"])
    assert result.exit_code == 0
    assert "Exit codes" in result.stdout
    assert f"multiverse keys {command}" in result.stdout


# --------------------------------------------------------------------------------------------------- import


CSV = "name,email\nAda,ada@example.org\n=cmd(),grace@example.org\n"
MADE = [
    {"line": 2, "id": "1", "person": "ada@example.org", "name": "Ada", "email": "ada@example.org", "key": SECRET},
    {
        "line": 3,
        "id": "2",
        "person": "grace@example.org",
        "name": "=cmd()",
        "email": "grace@example.org",
        "key": SECRET,
    },
]


@pytest.fixture
def listed(known, empty_directory: Path):
    (empty_directory / "class.csv").write_text(CSV)
    left = [{"line": 9, "person": "p", "reason": "has a key there already"}]
    known.answers["POST", f"{PATH}/import"] = 201, {"as": "keys", "made": MADE, "left_out": left}
    return known


def test_an_import_writes_a_file_for_its_owner_alone(run_here, listed, empty_directory: Path) -> None:
    result = run_here("keys", "import", "class.csv", "--group", "physics", "--expires", "90d", "--output", "keys.csv")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert "left out: line 9: p has a key there already" in result.stderr
    assert "Made 2 keys" in result.stderr
    assert SECRET not in result.stderr
    written = empty_directory / "keys.csv"
    if os.name == "posix":
        assert stat.S_IMODE(written.stat().st_mode) == 0o600
    rows = list(csv.reader(written.read_text().splitlines()))
    assert rows == [
        ["line", "name", "person", "email", "key"],
        ["2", "Ada", "ada@example.org", "ada@example.org", SECRET],
        ["3", "'=cmd()", "grace@example.org", "grace@example.org", SECRET],
    ]
    method, path, body = listed.requests[-1]
    assert (method, path) == ("POST", f"{PATH}/import")
    ends = datetime.fromisoformat(body.pop("expires_at")) - datetime.now(UTC)
    assert timedelta(days=89) < ends <= timedelta(days=90)
    assert body == {"csv": CSV, "as": "keys", "skip_existing": False, "group": "physics"}


def test_a_file_that_is_there_is_not_written_over(run_here, listed, empty_directory: Path) -> None:
    (empty_directory / "keys.csv").write_text("precious")
    result = run_here("keys", "import", "class.csv", "--output", "keys.csv")
    assert result.exit_code == 1
    assert "is there already" in result.stderr
    assert (empty_directory / "keys.csv").read_text() == "precious"
    assert listed.requests == []


def test_a_refused_import_leaves_no_file(run_here, listed, empty_directory: Path) -> None:
    listed.answers["POST", f"{PATH}/import"] = 422, {"error": {"message": "line 3: its email is no address."}}
    result = run_here("keys", "import", "class.csv", "--output", "keys.csv")
    assert result.exit_code == 1
    assert "line 3" in result.stderr
    assert not (empty_directory / "keys.csv").exists()


def test_without_a_file_the_sheet_goes_to_stdout(run_here, listed) -> None:
    result = run_here("keys", "import", "class.csv")
    assert [row[-1] for row in csv.reader(result.stdout.splitlines())] == ["key", SECRET, SECRET]
    assert json.loads(run_here("keys", "import", "class.csv", "--json").stdout)["made"] == MADE


def test_invites_are_asked_for(run_here, listed) -> None:
    link = {"key": None, "link": "http://gateway/invite/mvi_x"}
    made = [{**MADE[0], **link}]
    listed.answers["POST", f"{PATH}/import"] = 201, {"as": "invites", "made": made, "left_out": []}
    result = run_here("keys", "import", "class.csv", "--invites", "--invite-days", "7", "--skip-existing")
    body = listed.requests[-1][2]
    assert (body["as"], body["invite_days"], body["skip_existing"]) == ("invites", 7, True)
    assert next(csv.reader(result.stdout.splitlines())) == ["line", "name", "person", "email", "link"]
    assert "1 invite link." in result.stderr


def test_the_keys_of_a_list_have_all_terms_but_a_persons(run_here, listed) -> None:
    options = ["--route", "/v1/models", "--reach", "group", "--weight", "2", "--background", "--tools-anywhere"]
    options += ["--model-limit", "big:concurrency=1", "--role", "user", "--model", "m", "--concurrency", "3"]
    run_here("keys", "import", "class.csv", *options)
    assert listed.requests[-1][2] == {
        "csv": CSV,
        "as": "keys",
        "skip_existing": False,
        "routes": ["/v1/models"],
        "reach": "group",
        "weight": 2.0,
        "background": True,
        "tools_anywhere": True,
        "model_limits": {"big": {"concurrency": 1}},
        "role": "user",
        "models": ["m"],
        "limits": {"concurrency": 3},
    }
    assert run_here("keys", "import", "class.csv", "--person", "p").exit_code == 2


def test_with_a_file_json_holds_no_key(run_here, listed, empty_directory: Path) -> None:
    result = run_here("keys", "import", "class.csv", "--output", "keys.csv", "--json")
    assert SECRET not in result.stdout
    assert SECRET in (empty_directory / "keys.csv").read_text()
    assert len(json.loads(result.stdout)["made"]) == 2


def test_what_the_disk_does_not_take_goes_to_stdout(
    run_here, listed, empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(key_import.os, "fsync", full)
    result = run_here("keys", "import", "class.csv", "--output", "keys.csv")
    assert result.exit_code == 1
    assert SECRET in result.stdout
    assert "stand above" in result.stderr
    assert not (empty_directory / "keys.csv").exists()


def test_a_dry_run_makes_nothing(run_here, listed) -> None:
    here = key_row("dddd", "whoever", person="GRACE@example.org")
    listed.answers["GET", PATH] = 200, {"keys": [here, {**here, "state": "revoked", "person": "ada@example.org"}]}
    result = run_here("keys", "import", "class.csv", "--dry-run")
    assert result.stdout.splitlines() == [
        "line 2: Ada (ada@example.org)",
        "left out: line 3: grace@example.org has a key there already",
        "1 would get a key; nothing was made.",
    ]
    planned = json.loads(run_here("keys", "import", "class.csv", "--dry-run", "--json").stdout)
    assert (planned["dry_run"], len(planned["people"]), len(planned["left_out"])) == (True, 1, 1)
    assert {method for method, _, _ in listed.requests} == {"GET"}


def test_a_dry_run_tells_bad_lines(run_here, listed, empty_directory: Path) -> None:
    (empty_directory / "class.csv").write_text("name,email\nAda,nowhere\n")
    result = run_here("keys", "import", "class.csv", "--dry-run")
    assert result.exit_code == 1
    assert "line 2: its email is no address" in result.stderr


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("name\nAda\n".encode("utf-8-sig"), "name\nAda\n"),
        ("name\nZoë\n".encode("utf-16"), "name\nZoë\n"),
        ("name\nZoë\n".encode(), "name\nZoë\n"),
    ],
)
def test_lists_come_in_the_encodings_of_spreadsheets(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    assert read_list(tmp_path / "list.csv") == text


@pytest.mark.parametrize(
    ("content", "words"), [("Zoë".encode("latin-1"), "UTF-8"), (b"x" * 900_001, "900,000"), (None, "no such file")]
)
def test_a_list_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(CommandFailed, match=words):
        read_list(tmp_path / "list.csv")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no such file"), output_file(tmp_path / "none" / "keys.csv"):
        pass


def test_a_sheet_has_the_columns_that_hold_something() -> None:
    assert sheet([]) == "\n"
    assert sheet([{"line": 2, "name": "@x", "key": "mvk_y", "email": "", "link": None}]) == (
        "line,name,key\n2,'@x,mvk_y\n"
    )


# --------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("90d", "2030-04-01T00:00:00Z"),
        ("12h", "2030-01-01T12:00:00Z"),
        ("2w", "2030-01-15T00:00:00Z"),
        ("30min", "2030-01-01T00:30:00Z"),
        (" 1.5 H ", "2030-01-01T01:30:00Z"),
        ("2030-02-28T18:00:00+02:00", "2030-02-28T16:00:00Z"),
        ("2030-02-28T18:00Z", "2030-02-28T18:00:00Z"),
    ],
)
def test_ends_are_written_in_utc(text: str, end: str) -> None:
    assert parse_expiry(text, NOW) == end


def test_a_date_means_the_end_of_that_day_here() -> None:
    end = datetime.fromisoformat(parse_expiry("2030-02-28", NOW))
    assert end.astimezone().replace(tzinfo=None).isoformat() == "2030-02-28T23:59:59"
    assert parse_expiry("20300228", NOW) == parse_expiry("2030-02-28", NOW)


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "d", "1y", "-3d", "1e9d", "2029-12-31", "9" * 9 + "w", "٣d", "9999-12-31T23:59:59-23:00"]
)
def test_what_is_no_end_is_refused(text: str) -> None:
    with pytest.raises(CommandFailed) as refused:
        parse_expiry(text, NOW)
    assert refused.value.code == 2


def test_durations() -> None:
    assert parse_duration("45s", "--overlap") == timedelta(seconds=45)
    with pytest.raises(CommandFailed, match="--overlap x"):
        parse_duration("x", "--overlap")


def test_limits_in_words() -> None:
    assert limits_in_words({**NO_LIMITS, "tokens_per_month": 1_000_000}) == "1,000,000 tokens/month"
    assert limits_in_words(None) == ""
    assert next(iter(key_lines(GRACE))) == "grace (bbbb2222): role user; big 1 at once."
