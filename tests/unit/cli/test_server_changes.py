"""Do ``servers set``, ``approve`` and ``trust`` ask for the right thing, and do hours read as they are written?"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.exits import CommandFailed
from app.cli.server_hours import DAYS, hours_in_words, parse_hours
from app.cli.server_table import server_state

ID = "3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri"]
NIGHTS = {"timezone": "Europe/Berlin", "windows": [{"days": WEEKDAYS, "from": "18:00", "to": "08:00"}]}


@pytest.fixture
def registered(gateway):
    handler = gateway._http.RequestHandlerClass
    handler.do_PATCH = handler.handle_any
    gateway.add(ID, "http://10.0.0.5:8000")
    return gateway


def test_set_sends_what_was_named_and_nothing_else(run_here, registered) -> None:
    options = ["--share", "me", "--hours", "mon-fri 18:00-08:00 Europe/Berlin", "--max-concurrency", "4"]
    options += ["--priority", "-1", "--weight", "0.5", "--model", "a=b", "--api-key-env", "VLLM_KEY"]
    result = run_here("servers", "set", "3f0c", *options, "--url", "http://10.0.0.6", VLLM_KEY="the-servers-key")
    assert result.stdout == "Changed http://10.0.0.5:8000: healthy.\n"
    assert registered.requests[-1] == (
        "PATCH",
        f"/admin/register/{ID}",
        {
            "endpoint_url": "http://10.0.0.6",
            "models": [{"name": "a", "upstream_name": "b"}],
            "api_key": "the-servers-key",
            "share": "me",
            "hours": NIGHTS,
            "max_concurrency": 4,
            "priority": -1,
            "weight": 0.5,
        },
    )


def test_set_keeps_what_else_is_noted_beside_a_description(run_here, registered) -> None:
    registered.servers[0]["metadata"] = {"owner": "ada", "description": "old"}
    run_here("servers", "set", "3f0c", "--description", "new")
    assert registered.requests[-1][2] == {"metadata": {"owner": "ada", "description": "new"}}


def test_set_clears_what_a_server_can_be_without(run_here, registered) -> None:
    names = ["api-key", "hours", "max-concurrency", "models"]
    run_here("servers", "set", "3f0c", *(word for name in names for word in ("--clear", name)))
    assert registered.requests[-1][2] == dict.fromkeys(["api_key", "hours", "max_concurrency", "models"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Nothing was named"),
        (["--clear", "hours", "--hours", "18:00-08:00 UTC"], "contradicts"),
        (["--clear", "models", "--model", "a"], "contradicts"),
        (["--clear", "max-concurrency", "--max-concurrency", "3"], "contradicts"),
        (["--clear", "api-key", "--api-key-env", "VLLM_KEY"], "contradicts"),
        (["--clear", "priority"], "clear"),
        (["--hours", "18:00-08:00"], "names no time zone"),
        (["--hours", "18:00-08:00 UTC", "--hours", "sat 08:00-18:00 Europe/Berlin"], "names 2 time zones"),
        (["--hours", "nights UTC"], "can't be read"),
        (["--hours", "someday 18:00-08:00 UTC"], "can't be read"),
        (["--hours", "mon 18:00-08:00 UTC please"], "can't be read"),
        (["--hours", ""], "can't be read"),
        (["--share", "nobody"], "share"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(run_here, registered, options: list[str], said: str) -> None:
    result = run_here("servers", "set", "3f0c", *options, VLLM_KEY="the-servers-key")
    assert result.exit_code == 2
    assert said in result.stderr
    assert all(method != "PATCH" for method, *_rest in registered.requests)


def test_what_a_change_did_beside_is_told(run_here, registered) -> None:
    changed = {**registered.servers[0], "pending": True, "note": "It takes no requests until the operator approves it."}
    registered.answers["PATCH", f"/admin/register/{ID}"] = (200, changed)
    said = run_here("servers", "set", "3f0c", "--url", "http://10.0.0.5:8000").stdout
    assert said == (
        "Changed http://10.0.0.5:8000: pending (healthy). It takes no requests until the operator approves it.\n"
    )
    assert json.loads(run_here("servers", "set", "3f0c", "--priority", "1", "--json").stdout)["pending"] is True


def test_approve_and_trust(run_here, registered) -> None:
    assert run_here("servers", "approve", "3f0c").stdout == "Approved http://10.0.0.5:8000: healthy.\n"
    assert registered.requests[-1] == ("POST", f"/admin/servers/{ID}/approve", {})
    run_here("servers", "approve", "3f0c", "--trust", "group")
    assert registered.requests[-1][2] == {"trust": "group"}
    for word, sent in (("trusted", "trusted"), ("public", "public"), ("implied", None)):
        registered.servers[0]["trust"] = sent or "group"
        said = run_here("servers", "trust", "3f0c", word).stdout
        assert said == f"Trust is {sent or 'group'} for http://10.0.0.5:8000: healthy.\n"
        assert registered.requests[-1] == ("POST", f"/admin/servers/{ID}/trust", {"trust": sent})
    assert run_here("servers", "trust", "3f0c", "utterly").exit_code == 2


def test_add_lends_at_hours_and_says_what_it_waits_for(run_here, gateway) -> None:
    waiting = {"registration_id": "new-id", "health_status": "healthy", "models": ["a"], "engine": "vllm"}
    gateway.answers["POST", "/admin/register"] = (201, {**waiting, "pending": True, "note": "It waits."})
    result = run_here("servers", "add", "http://10.0.0.5:8000", "--hours", "Mon-Fri 18:00-8:00 Europe/Berlin")
    assert gateway.requests[-1][2] == {"endpoint_url": "http://10.0.0.5:8000", "hours": NIGHTS}
    assert result.stdout == "Registered new-id: healthy, vllm\nModels: a\nIt waits.\n"


def test_list_and_show_tell_the_terms(run_here, registered) -> None:
    registered.servers[0] |= {
        "pending": True,
        "off_hours": True,
        "reason": "pending: waits for the operator's approval",
        "hours": NIGHTS,
        "trust": "public",
        "owner": "ada-key",
        "quarantined": True,
        "quarantined_until": "2030-01-01T00:10:00Z",
    }
    listed = run_here("servers", "list").stdout
    assert "pending, quarantined, off hours (healthy)" in listed
    assert "3f0c4a52: pending: waits for the operator's approval" in listed
    shown = [" ".join(line.split()) for line in run_here("servers", "show", "3f0c").stdout.splitlines()]
    for line in (
        "Hours mon-fri 18:00-08:00 Europe/Berlin",
        "Trust public",
        "Owner's key ada-key",
        "Quarantined until 2030-01-01T00:10:00Z",
    ):
        assert line in shown


def test_what_an_older_gateway_does_not_tell_of_terms_is_left_out(run_here, registered) -> None:
    del registered
    shown = run_here("servers", "show", "3f0c").stdout
    assert not any(word in shown for word in ("Hours", "Trust", "Quarantined", "Owner's key"))


def test_a_server_of_another_key_has_no_url(run_here, registered) -> None:
    registered.servers[0]["endpoint_url"] = None
    assert "3f0c4a52 (of another key)" in run_here("servers", "show", "ffff").stderr


@pytest.mark.parametrize(
    ("texts", "windows"),
    [
        (["18:00-08:00 UTC"], [(list(DAYS), "18:00", "08:00")]),
        (["daily 9:00-24:00 UTC"], [(list(DAYS), "09:00", "24:00")]),
        (["fri-mon 18:00-08:00 UTC"], [(["mon", "fri", "sat", "sun"], "18:00", "08:00")]),
        (["Monday,Wed 18:00-08:00 UTC"], [(["mon", "wed"], "18:00", "08:00")]),
        (
            ["mon-fri 18:00-08:00", "sat,sun 00:00-24:00 UTC"],
            [(WEEKDAYS, "18:00", "08:00"), (["sat", "sun"], "00:00", "24:00")],
        ),
    ],
)
def test_hours_are_read_as_people_write_them(texts, windows) -> None:
    expected = [{"days": days, "from": begin, "to": end} for days, begin, end in windows]
    assert parse_hours(texts) == {"timezone": "UTC", "windows": expected}
    assert parse_hours(None) is None


times = st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda at: f"{at[0]:02}:{at[1]:02}")
some_days = st.sets(st.sampled_from(DAYS), min_size=1).map(lambda days: [day for day in DAYS if day in days])
windows_of = st.fixed_dictionaries({"days": some_days, "from": times, "to": times})


@given(windows_of)
def test_what_is_shown_can_be_written_again(window) -> None:
    hours = {"timezone": "Europe/Berlin", "windows": [window]}
    assert parse_hours([hours_in_words(hours)]) == hours


@given(st.text(max_size=40))
def test_any_other_text_is_refused_in_words(text: str) -> None:
    with pytest.raises(CommandFailed, match="--hours"):
        parse_hours([f"{text}; at night"])


def test_off_hours_are_told_like_a_hold() -> None:
    assert str(server_state({"health_status": "healthy", "off_hours": True})) == "off hours (healthy)"
