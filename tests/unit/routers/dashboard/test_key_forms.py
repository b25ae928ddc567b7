"""Do the forms on keys say what the API would be told, and name at its field what it would refuse?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routers.dashboard.forms import Form
from app.routers.dashboard.key_forms import (
    KEY_FIELDS,
    LIMIT_NAMES,
    FormInvalid,
    changed_fields,
    checked,
    faults_of,
    given_fields,
    group_fields,
    key_fields,
    shown_form,
    shown_group,
    shown_key,
)
from app.routers.dashboard.once import MAX_FORMS, AlreadySent, SentForms, new_form_id
from app.routers.key_schemas import ChangeKey, MakeKey, RotateKey
from app.services.core.errors import Conflict, FieldsInvalid, RequestInvalid
from app.services.core.people.principal import Limits, Role, Trust
from app.services.registry.people.records import GroupRecord, KeyRecord

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
COUNTS = st.none() | st.integers(1, 10**12)
LIMITS = st.builds(Limits, *(COUNTS for _name in LIMIT_NAMES))
RECORDS = st.builds(
    KeyRecord,
    id=st.just("id"), name=NAMES, role=st.sampled_from(Role), created_at=st.just(NOW), updated_at=st.just(NOW),
    person=st.none() | NAMES, models=st.none() | st.frozensets(NAMES, min_size=1, max_size=3),
    reach=st.sampled_from(Trust), routes=st.none() | st.just(frozenset({"/v1/models"})),
    tools_anywhere=st.booleans(), names_people=st.booleans(),
    background=st.booleans(), weight=st.sampled_from([0.5, 1.0, 2.0]), limits=LIMITS,
    model_limits=st.dictionaries(NAMES, LIMITS.filter(bool), max_size=2), expires_at=st.none() | st.just(NOW),
)  # fmt: skip


def form(**fields: str) -> Form:
    return Form({name.replace("__", "."): [value] for name, value in fields.items()})


def test_a_form_says_what_the_api_would_be_told():
    fields = key_fields(
        form(
            name=" Ada ",
            role="user",
            group="",
            models="b\r\n\r\n a \r\n",
            weight="2",
            expires_at="2031-01-01",
            limits__tokens_per_day="5 000",
            model_limits="family/one two requests_per_minute=10  concurrency=2",
            background="on",
        )
    )
    assert given_fields(fields) == {
        "name": "Ada",
        "role": "user",
        "models": ["b", "a"],
        "weight": 2.0,
        "expires_at": "2031-01-01",
        "limits": {"tokens_per_day": 5000},
        "model_limits": {"family/one two": {"requests_per_minute": 10, "concurrency": 2}},
        "background": True,
    }
    body = checked(MakeKey, given_fields(fields))
    assert (body.name, body.expires_at) == ("Ada", datetime(2031, 1, 1, 23, 59, 59, tzinfo=UTC))


def test_a_zero_that_is_meant_is_told():
    assert given_fields({"overlap_seconds": 0.0}) == {"overlap_seconds": 0.0}
    assert checked(RotateKey, given_fields({"overlap_seconds": 0.0})).overlap_seconds == 0


@given(RECORDS)
def test_what_was_not_touched_is_no_change(record: KeyRecord):
    shown = shown_key(record, GroupRecord("g", "physics", NOW, NOW))
    assert set(shown) == set(KEY_FIELDS)
    sent = Form({name: [value.replace("\n", "\r\n")] for name, value in shown.items()})
    fields = key_fields(sent)
    assert changed_fields(key_fields(sent), fields) == {}
    assert checked(ChangeKey, given_fields(fields)).limits == (fields["limits"] and checked(ChangeKey, fields).limits)
    assert shown_form(sent, KEY_FIELDS) == shown


def test_what_is_emptied_is_cleared_but_for_what_cannot_be_without():
    before = {"models": ["a"], "limits": {"concurrency": 1}, "weight": 2.0, "background": True, "name": "n"}
    wanted = {"models": None, "limits": None, "weight": None, "background": False, "name": "n"}
    assert changed_fields(wanted, before) == {"models": None, "limits": None, "background": False}


def test_a_group_is_shown_and_read_back():
    group = GroupRecord("g", "physics", NOW, NOW, "Spring", frozenset({"b", "a"}), limits=Limits(1, 2, 3, 4, 5))
    fields = group_fields(Form({name: [value] for name, value in shown_group(group).items()}))
    assert (fields["name"], fields["description"], fields["models"]) == ("physics", "Spring", ["a", "b"])
    assert fields["limits"] == dict(zip(LIMIT_NAMES, (1, 2, 3, 4, 5), strict=True))
    assert fields["person_limits"] is None


@pytest.mark.parametrize(
    "lines", ["llama", "llama rpm=1", "requests_per_minute=1", "a concurrency=1\na concurrency=2", "a concurrency=-1",
              "a concurrency=" + "9" * 30, "a concurrency=1 and more"],
)  # fmt: skip
def test_limits_of_models_that_are_none_are_refused_in_words(lines: str):
    with pytest.raises(FieldsInvalid, match="requests_per_minute=10") as caught:
        key_fields(form(model_limits=lines))
    assert faults_of(caught.value).keys() == {"model_limits"}


def test_each_fault_stands_at_its_field():
    with pytest.raises(FormInvalid) as caught:
        checked(
            MakeKey, {"limits": {"tokens_per_day": 0}, "weight": 1000.0, "models": ["x" * 300], "expires_at": "soon"}
        )
    faults = faults_of(caught.value)
    assert faults.keys() == {"name", "limits.tokens_per_day", "weight", "models", "expires_at"}
    assert faults["name"] == "Is needed."
    assert all(words.endswith(".") and words[0].isupper() for words in faults.values())
    assert faults_of(FieldsInvalid("no such route", param="routes[3]")) == {"routes": "no such route"}
    assert faults_of(Conflict("too many")) == {"": "too many"}


@given(st.dictionaries(st.sampled_from(KEY_FIELDS), st.text(max_size=30)))
def test_whatever_is_sent_is_read_or_refused_by_name(fields: dict[str, str]):
    assert refused({name: [value] for name, value in fields.items()}) <= {*KEY_FIELDS, "limits"}


def refused(fields: dict[str, list[str]]) -> set[str]:
    """The fields that are refused; another error than that of a field is a bug."""
    try:
        checked(MakeKey, given_fields(key_fields(Form(fields))))
    except FieldsInvalid as error:
        return set(faults_of(error))
    return set()


class TestOnce:
    def test_a_form_is_done_once_for_each_sender(self):
        sent = SentForms()
        form_id = new_form_id()
        with sent.once("ada", form_id):
            pass
        with pytest.raises(AlreadySent, match="once"), sent.once("ada", form_id):
            pytest.fail("it was done again")
        with sent.once("grace", form_id):
            pass

    def test_while_it_is_done_it_is_not_done_again(self):
        sent, form_id = SentForms(), new_form_id()
        with sent.once("ada", form_id), pytest.raises(AlreadySent), sent.once("ada", form_id):
            pytest.fail("it was done twice at a time")

    def test_what_failed_in_words_may_be_sent_again_and_what_broke_off_may_not(self):
        sent, refused, broken = SentForms(), new_form_id(), new_form_id()
        with pytest.raises(Conflict), sent.once("ada", refused):
            raise Conflict("no room")
        with sent.once("ada", refused):
            pass
        with pytest.raises(KeyboardInterrupt), sent.once("ada", broken):
            raise KeyboardInterrupt
        with pytest.raises(AlreadySent), sent.once("ada", broken):
            pytest.fail("nobody knows whether it was made")

    @pytest.mark.parametrize("form_id", ["", "short", "x" * 65])
    def test_a_form_without_an_id_is_not_done(self, form_id: str):
        with pytest.raises(RequestInvalid), SentForms().once("ada", form_id):
            pytest.fail("it was done")

    def test_it_remembers_no_more_than_it_may(self):
        sent = SentForms()
        for number in range(MAX_FORMS + 5):
            with sent.once("ada", f"form-{number:032}"):
                pass
        with sent.once("ada", f"form-{0:032}"):
            pass
        with pytest.raises(AlreadySent), sent.once("ada", f"form-{MAX_FORMS:032}"):
            pytest.fail("it was done again")


@pytest.mark.parametrize("line", ["a" + " " * 200_000 + "b", "m" + " concurrency=2" * 20_000, "m " + "x=1 " * 50_000])
def test_a_line_of_any_length_is_judged_by_its_last_words(line):
    with pytest.raises(FieldsInvalid, match="no model with its limits"):
        key_fields(form(model_limits=f"{line} y=1"))
