"""Are the terms of a server read as they were written, and its trust derived as people expect?"""

from __future__ import annotations

from datetime import UTC, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.errors import FieldsInvalid
from app.services.core.network.addresses import parse_endpoint
from app.services.core.people.hours import Day, Hours, Window
from app.services.core.people.principal import Role, Trust
from app.services.core.types import ModelEntry
from app.services.registry import terms_zones
from app.services.registry.records import ServerRecord
from app.services.registry.terms import OPERATOR_ALONE, Owners, hours_document, hours_from, trust_of
from app.services.registry.terms_zones import in_its_zone, known_zone, zone_named
from tests.fakes.registry import START

ROLES = {"admin": Role.ADMIN, "second-admin": Role.ADMIN, "ada": Role.OWNER}
OWNERS = Owners(ROLES.get, {"ada": "lab"}.get)


def record(**other) -> ServerRecord:
    models = (ModelEntry("a", "b"),)
    return ServerRecord("id", parse_endpoint("http://10.0.0.5:8000"), models, START, START, **other)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"owner": None}, Trust.TRUSTED),
        ({"owner": "admin"}, Trust.TRUSTED),
        ({"owner": "second-admin", "share": "me"}, Trust.TRUSTED),
        ({"owner": "ada"}, Trust.PUBLIC),
        ({"owner": "ada", "share": "group"}, Trust.GROUP),
        ({"owner": "ada", "share": "me"}, Trust.GROUP),
        ({"owner": "gone"}, Trust.PUBLIC),
        ({"owner": "ada", "trust": Trust.TRUSTED}, Trust.TRUSTED),
        ({"owner": "admin", "trust": Trust.PUBLIC}, Trust.PUBLIC),
    ],
)
def test_trust_is_the_operators_word_or_follows_from_owner_and_share(fields, expected) -> None:
    assert trust_of(record(**fields), OWNERS) is expected


def test_without_keys_there_is_the_operator_alone() -> None:
    assert trust_of(record(owner="admin"), OPERATOR_ALONE) is Trust.TRUSTED
    assert trust_of(record(owner="ada"), OPERATOR_ALONE) is Trust.PUBLIC
    assert (OPERATOR_ALONE.group("ada"), OWNERS.group("ada"), OWNERS.group(None)) == (None, "lab", None)


minutes = st.integers(0, 24 * 60 - 1).map(lambda number: time(number // 60, number % 60))
windows = st.builds(Window, st.frozensets(st.sampled_from(Day), min_size=1), minutes, minutes)


@given(st.lists(windows, min_size=1, max_size=5))
def test_hours_come_back_as_they_were_written(chosen) -> None:
    hours = Hours("Europe/Berlin", tuple(chosen))
    assert hours_from(hours_document(hours)) == hours


def test_midnight_at_the_end_of_the_day_may_be_written_as_24() -> None:
    document = {"timezone": "UTC", "windows": [{"days": ["sat"], "from": "00:00", "to": "24:00"}]}
    hours = hours_from(document, UTC)
    assert hours.windows == (Window(frozenset({Day.SAT}), time(), time()),)
    assert hours_document(hours)["windows"][0]["to"] == "00:00"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"timezone": "UTC"},
        {"timezone": "UTC", "windows": [{"days": ["soon"], "from": "00:00", "to": "01:00"}]},
        {"timezone": "UTC", "windows": [{"days": ["mon"], "from": "25:00", "to": "01:00"}]},
        {"timezone": "UTC", "windows": [{"days": ["mon"], "from": "00:00"}]},
    ],
)
def test_what_are_no_hours_are_refused(document) -> None:
    with pytest.raises((KeyError, ValueError)):
        hours_from(document)


def test_a_zone_is_found_by_its_name() -> None:
    assert zone_named("Europe/Berlin") is ZoneInfo("Europe/Berlin")
    assert zone_named("UTC") is UTC
    assert str(zone_named("Etc/GMT+5")) == "Etc/GMT+5"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"),
        ("Germany/Berlin", "Europe/Berlin"),
        ("new york", "America/New_York"),
        ("right/Europe/Berlin", "Europe/Berlin"),
    ],
)
def test_a_zone_that_is_none_is_told_with_one_that_may_be_meant(name, meant) -> None:
    with pytest.raises(FieldsInvalid, match=meant) as caught:
        zone_named(name)
    assert caught.value.param == "hours.timezone"


@pytest.mark.parametrize(
    "name",
    ["", "../../etc/passwd", "/etc/localtime", "Europe", "Europe/", "tzdata.zi", "a\0b", "x" * 5000, "posix/UTC",
     "localtime", "Europe//Berlin", "ü", "\ud800", "zone.tab"],
)  # fmt: skip
def test_no_file_is_read_for_a_zone_but_a_zones(name) -> None:
    assert known_zone(name) is None
    with pytest.raises(FieldsInvalid) as caught:
        zone_named(name)
    assert len(caught.value.message) < 300


def test_a_machine_without_zones_says_what_is_missing(monkeypatch) -> None:
    monkeypatch.setattr(terms_zones, "known_zone", lambda _name: None)
    monkeypatch.setattr(terms_zones, "available_timezones", set)
    with pytest.raises(FieldsInvalid, match="tzdata"):
        zone_named("Europe/Berlin")


async def test_hours_get_their_zone_once() -> None:
    assert await in_its_zone(None) is None
    asked = Hours("Europe/Berlin", ())
    placed = await in_its_zone(asked)
    assert placed is not None
    assert placed.zone is ZoneInfo("Europe/Berlin")
    assert await in_its_zone(placed) is placed
