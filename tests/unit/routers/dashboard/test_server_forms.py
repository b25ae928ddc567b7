"""What would the form of a server change, and what does it refuse?"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from app.routers.dashboard.forms import Form
from app.routers.dashboard.hours_text import lines_of, windows_in
from app.routers.dashboard.pauses import LENGTHS, hold_end, tomorrow
from app.routers.dashboard.server_forms import LABELS, change_in, differences, field_of, texts_in, texts_of, validated
from app.routers.schemas import HoldRequest
from app.services.core.errors import FieldsInvalid
from app.services.core.types import Endpoint, ModelEntry
from app.services.registry.records import ServerRecord
from app.services.registry.terms import hours_from

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri"]
RECORD = ServerRecord(
    "3f0c4a52",
    Endpoint("http", "10.0.0.5", 8000),
    (ModelEntry("llama", "meta/Llama"), ModelEntry("qwen", "qwen")),
    NOON,
    NOON,
    owner="key-of-owner",
    api_key="sk-the-stored-one",
    max_concurrency=8,
    weight=0.5,
    capabilities={"context_length": 8192, "streaming": True, "vision": "yes"},
    metadata={"owner": "alice", "rack": 4},
    hours=hours_from({"timezone": "Europe/Berlin", "windows": [{"days": WEEKDAYS, "from": "18:00", "to": "08:00"}]}),
)


def texts(**changes: str) -> dict[str, str]:
    return texts_of(RECORD) | changes


def given_fields(change: Any) -> dict[str, Any]:
    """What a change says, by field."""
    names = ("endpoint_url", "api_key", "models", "capabilities", "metadata", "max_concurrency", "priority", "weight")
    made = change.change()
    return {name: value for name in (*names, "share", "hours") if (value := getattr(made, name)) is not UNSET}


def test_a_form_as_it_was_shown_changes_nothing() -> None:
    assert differences(texts(), RECORD) == []
    assert given_fields(change_in(texts(), RECORD)) == {}


def test_the_stored_key_is_in_no_field() -> None:
    assert "sk-the-stored-one" not in "".join(texts_of(RECORD).values())
    for difference in differences(texts(api_key="none", endpoint_url="http://10.0.0.6"), RECORD):
        assert "sk-" not in difference.before + difference.after


def test_only_what_differs_is_sent_on() -> None:
    change = change_in(texts(max_concurrency="16", share="me"), RECORD)
    assert given_fields(change) == {"max_concurrency": 16, "share": "me"}


def test_what_the_form_has_no_field_for_stays() -> None:
    change = given_fields(change_in(texts(context_length="4096", streaming="", description="lab box"), RECORD))
    assert change["capabilities"] == {"context_length": 4096, "vision": "yes"}
    assert change["metadata"] == {"rack": 4, "owner": "alice", "description": "lab box"}


def test_an_empty_field_clears_what_can_be_cleared() -> None:
    change = given_fields(
        change_in(texts(max_concurrency="", models="", timezone="", windows="", owner="", metadata=""), RECORD)
    )
    assert change == {"max_concurrency": None, "models": None, "hours": None, "metadata": {}}


def test_models_are_lines() -> None:
    assert texts_of(RECORD)["models"] == "llama => meta/Llama\nqwen"
    change = given_fields(change_in(texts(models="a\nb => org/b"), RECORD))
    assert [(model.name, model.upstream_name) for model in change["models"]] == [("a", "a"), ("b", "org/b")]


def test_a_new_key_is_told_and_not_shown() -> None:
    wanted = texts(api_key="new")
    assert [(one.name, one.after) for one in differences(wanted, RECORD)] == [("api_key", "(a new one)")]
    assert given_fields(change_in(wanted, RECORD, "sk-a-new-one")) == {"api_key": "sk-a-new-one"}
    assert given_fields(change_in(texts(api_key="none"), RECORD)) == {"api_key": None}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"max_concurrency": "many"}, "max_concurrency"),
        ({"max_concurrency": "0"}, "max_concurrency"),
        ({"weight": ""}, "weight"),
        ({"weight": "nan"}, "weight"),
        ({"priority": "1.5"}, "priority"),
        ({"context_length": "-1"}, "context_length"),
        ({"metadata": "[]"}, "metadata"),
        ({"metadata": "{"}, "metadata"),
        ({"metadata": '{"deep": ' + "[" * 2000 + "]" * 2000 + "}"}, "metadata"),
        ({"windows": "whenever"}, "windows"),
        ({"windows": ""}, "windows"),
        ({"timezone": ""}, "timezone"),
        ({"windows": "mon 25:00-26:00"}, "windows"),
        ({"share": "nobody"}, "share"),
        ({"models": "a\na"}, ""),
        ({"models": "a" * 300}, "models"),
        ({"api_key": "new"}, "api_key"),
        ({"description": "x" * 20_000}, "metadata"),
    ],
)
def test_what_can_not_be_is_told_at_its_field(changes: dict[str, str], field: str) -> None:
    with pytest.raises(FieldsInvalid) as refused:
        change_in(texts(**changes), RECORD)
    assert field_of(refused.value.param) == field
    assert refused.value.message
    assert "x" * 100 not in refused.value.message


@given(st.dictionaries(st.sampled_from(list(LABELS)), st.text(max_size=50)))
def test_whatever_is_typed_is_taken_or_refused(changes: dict[str, str]) -> None:
    with suppress(FieldsInvalid):
        change_in(texts() | changes, RECORD, "sk-new")


def test_a_form_that_lacks_fields_changes_only_those_that_it_has() -> None:
    sent = texts_in(Form({"weight": ["2"], "models": ["llama => meta/Llama\r\n\r\n  qwen  "]}), RECORD)
    assert [difference.name for difference in differences(sent, RECORD)] == ["weight"]


def test_notes_of_odd_types_stay_in_the_json_field() -> None:
    record = replace(RECORD, metadata={"owner": ["a"], "description": "two\nlines"})
    shown = texts_of(record)
    assert (shown["owner"], shown["description"]) == ("", "")
    assert differences(shown, record) == []
    assert '"owner"' in shown["metadata"]


@pytest.mark.parametrize(
    ("param", "field"),
    [
        ("capabilities.context_length", "context_length"), ("models[0].name", "models"), ("models.0.name", "models"),
        ("hours.timezone", "timezone"), ("hours.windows.0.from", "windows"), ("api_key", "api_key"), (None, ""),
        ("registration_id", ""), ("hours", ""),
    ],
)  # fmt: skip
def test_errors_find_their_field(param: str | None, field: str) -> None:
    assert field_of(param) == field


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(FieldsInvalid) as refused:
        validated(HoldRequest, {"reason": "canary\x00" * 3})
    assert "canary" not in refused.value.message
    assert refused.value.param == "reason"


windows = st.lists(
    st.fixed_dictionaries(
        {
            "days": st.sets(st.sampled_from([*WEEKDAYS, "sat", "sun"]), min_size=1),
            "from": st.sampled_from(["00:00", "08:30", "18:00"]),
            "to": st.sampled_from(["00:00", "07:15", "24:00"]),
        }
    ),
    max_size=5,
)


@given(windows)
def test_hours_are_read_as_they_are_written(given_windows: list[dict[str, Any]]) -> None:
    order = [*WEEKDAYS, "sat", "sun"]
    expected = [one | {"days": [day for day in order if day in one["days"]]} for one in given_windows]
    assert windows_in(lines_of(expected).splitlines()) == expected


@pytest.mark.parametrize(
    ("line", "days"),
    [
        ("18:00-8:00", 7), ("daily 18:00 - 08:00", 7), ("Mon-Fri 18:00-08:00", 5), ("sat, sun 0:00 to 24:00", 2),
        ("fri-mon 18:00\N{EN DASH}08:00", 4), ("monday 18:00-08:00", 1), ("every day 1:00-2:00", 7),
    ],
)  # fmt: skip
def test_people_write_hours_in_their_way(line: str, days: int) -> None:
    (window,) = windows_in([line])
    assert len(window["days"]) == days
    assert len(window["from"]) == len(window["to"]) == 5


@pytest.mark.parametrize(
    "line", ["", "noon", "mon", "xyz 18:00-08:00", "mon-xyz 18:00-08:00", "a " * 5000, "- 1:00-2:00"]
)
def test_what_are_no_hours_is_refused(line: str) -> None:
    with pytest.raises(FieldsInvalid) as refused:
        windows_in([line])
    assert len(refused.value.message) < 200


@pytest.mark.parametrize("choice", LENGTHS)
def test_a_length_ends_when_it_says(choice: str) -> None:
    assert hold_end(choice, None, "minutes", NOON) == NOON + LENGTHS[choice]


def test_holds_last_as_long_as_was_chosen() -> None:
    assert hold_end("open", 5, "minutes", NOON) is None
    assert hold_end("", None, "", NOON) is None
    assert hold_end("own", 90, "minutes", NOON) == NOON.replace(hour=13, minute=30)
    assert hold_end("own", 2, "days", NOON) == NOON.replace(day=3)
    end = hold_end("tomorrow", None, "minutes", NOON)
    assert end == tomorrow(NOON)
    assert end is not None
    assert end.tzinfo is UTC


@pytest.mark.parametrize(
    ("choice", "number", "unit"),
    [
        ("own", None, "minutes"), ("own", 0, "minutes"), ("own", -5, "hours"), ("own", 1e300, "days"),
        ("own", float("nan"), "days"), ("own", 5, "years"), ("for ever", None, "minutes"),
    ],
)  # fmt: skip
def test_no_such_length(choice: str, number: float | None, unit: str) -> None:
    with pytest.raises(FieldsInvalid):
        hold_end(choice, number, unit, NOON)
