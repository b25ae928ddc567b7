"""Is a form judged as the API judges a registration, field by field, and does it forget the server's key?"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.routers.dashboard.forms import Form
from app.routers.dashboard.register_forms import Draft, ModelRow, WindowRow, drafted, faults_of, judged, plain
from app.routers.schemas import RegisterServer
from app.services.core.errors import EndpointRefused, FieldsInvalid
from app.services.core.network.addresses import parse_endpoint

URL = "http://10.0.0.5:8000"
KEY = "sk-canary-of-the-server"
LATE = WindowRow(("mon",), "18:00", "08:00")
ODD = WindowRow(("mon",), "6pm", "08:00")
NAMES = (
    "endpoint_url", "api_key", "owner", "description", "context_length", "max_concurrency", "priority", "weight",
    "share", "lent", "timezone", "which", "models-0-upstream", "models-0-name", "models-1-name", "hours-0-from",
    "hours-0-to", "hours-1-days",
)  # fmt: skip


def draft(**fields) -> Draft:
    return Draft(endpoint_url=URL, **fields)


def faults(api_key=None, *, is_unfinished=False, **fields):
    return dict(judged(draft(**fields), api_key, is_unfinished=is_unfinished).faults)


def test_a_whole_form_is_what_the_api_takes():
    found = judged(
        draft(
            which="chosen",
            models=(ModelRow("org/Big", "big"), ModelRow(), ModelRow("", "small"), ModelRow("same", "")),
            owner="alice",
            description="lab box",
            context_length="8 192",
            max_concurrency="8",
            priority="-1",
            weight="0.5",
            share="me",
            lent="windows",
            timezone="Europe/Berlin",
            windows=(WindowRow((), "", ""), WindowRow(("mon",), "18:00", "08:00"), WindowRow()),
        ),
        KEY,
    )
    assert found.faults == {}
    body = {
        "endpoint_url": URL,
        "api_key": KEY,
        "models": [{"name": "big", "upstream_name": "org/Big"}, "small", "same"],
        "capabilities": {"context_length": 8192},
        "metadata": {"owner": "alice", "description": "lab box"},
        "max_concurrency": 8,
        "priority": -1,
        "weight": 0.5,
        "share": "me",
        "hours": {"timezone": "Europe/Berlin", "windows": [{"days": ["mon"], "from": "18:00", "to": "08:00"}]},
    }
    assert found.spec == RegisterServer.model_validate(body).spec()


def test_a_url_is_all_that_is_needed():
    assert judged(draft(), None).spec == RegisterServer.model_validate({"endpoint_url": URL}).spec()


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"max_concurrency": "many"}, "max_concurrency"),
        ({"max_concurrency": "0"}, "max_concurrency"),
        ({"max_concurrency": "1.5"}, "max_concurrency"),
        ({"max_concurrency": "9" * 30}, "max_concurrency"),
        ({"context_length": "8k"}, "context_length"),
        ({"context_length": "-1"}, "context_length"),
        ({"priority": "2000"}, "priority"),
        ({"weight": "0"}, "weight"),
        ({"weight": "nan"}, "weight"),
        ({"weight": "x"}, "weight"),
        ({"share": "nobody"}, "share"),
        ({"description": "x" * 20_000}, "description"),
        ({"which": "chosen"}, "models"),
        ({"which": "chosen", "models": (ModelRow("a", "one"), ModelRow("b", "one"))}, "models"),
        ({"which": "chosen", "models": (ModelRow(), ModelRow("", "x" * 300))}, "models-1-name"),
        ({"which": "chosen", "models": (ModelRow("x\u2028y", "one"),)}, "models-0-upstream"),
        ({"lent": "windows", "windows": (LATE,)}, "timezone"),
        ({"lent": "windows", "timezone": "UTC", "windows": (WindowRow(), ODD)}, "hours-1-from"),
        ({"lent": "windows", "timezone": "UTC", "windows": (WindowRow((), "18:00", "08:00"),)}, "hours-0-days"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_its_field(fields, at):
    found = faults(**fields)
    assert set(found) == {at}
    assert found[at].endswith((".", "!"))
    assert found[at][0].isupper()


@pytest.mark.parametrize("api_key", ["two words", "\u00fc", "x" * 5000])
def test_a_key_that_no_header_holds_is_told_without_being_repeated(api_key):
    found = faults(api_key)
    assert set(found) == {"api_key"}
    assert api_key not in found["api_key"]


@pytest.mark.parametrize(
    "url", ["10.0.0.5:8000", "ftp://box", "http://u:p@box", "http://box:99999", "http://0x7f000001"]
)
def test_a_url_is_judged_as_the_registration_judges_it(url):
    (text,) = judged(Draft(endpoint_url=url), None).faults.values()
    assert "endpoint_url" not in text
    with pytest.raises(EndpointRefused):
        parse_endpoint(url)


def test_all_faults_are_told_at_once():
    found = faults("a b", max_concurrency="x", weight="y", which="chosen")
    assert set(found) == {"api_key", "max_concurrency", "weight", "models"}


def test_what_is_only_missing_is_no_fault_while_somebody_types():
    typing = {"which": "chosen", "lent": "windows", "max_concurrency": "x"}
    found = judged(Draft(**typing), None, is_unfinished=True)
    assert found.spec is None
    assert set(found.faults) == {"max_concurrency"}
    assert set(judged(Draft(), None).faults) == {"endpoint_url"}
    half = {"lent": "windows", "timezone": "UTC", "windows": (WindowRow(("mon",), "1", ""),)}
    assert set(faults(is_unfinished=True, **half)) == {"hours-0-from"}


fields = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, st.text(max_size=20)))


@given(fields, st.booleans())
def test_whatever_is_typed_is_a_description_or_a_fault_at_a_field(given_fields, is_unfinished):
    form = Form({name: [text] for name, text in given_fields.items()})
    found = judged(drafted(form), form.optional("api_key"), is_unfinished=is_unfinished)
    if not is_unfinished:
        assert (found.spec is None) is bool(found.faults)
    elif found.faults:
        assert found.spec is None
    for name, text in found.faults.items():
        known = r"endpoint_url|api_key|description|context_length|max_concurrency|priority|weight|share|timezone|models"
        assert re.fullmatch(rf"{known}|models-\d+-(name|upstream)|hours-\d-(from|to|days)", name), name
        assert text


@given(st.dictionaries(st.sampled_from(["max_concurrency", "priority", "weight"]), st.integers(-(10**6), 10**6)))
def test_numbers_are_bounded_as_in_the_api(numbers):
    found = judged(draft(**{name: str(number) for name, number in numbers.items()}), None)
    assert set(found.faults) == _refused_by_api({"endpoint_url": URL, **numbers})


def _refused_by_api(body):
    try:
        RegisterServer.model_validate(body)
    except ValidationError as error:
        return {fault["loc"][0] for fault in error.errors()}
    return set()


def test_more_rows_are_there_when_asked_for_and_never_too_many():
    assert len(drafted(Form({})).models) == 3
    assert len(drafted(Form({"rows": ["5"]}), 3).models) == 8
    assert len(drafted(Form({"rows": ["999999"]}), 3).models) == 1000
    assert "api_key" not in repr(drafted(Form({"api_key": [KEY]})))


def test_errors_are_put_beside_the_field_that_they_name():
    assert faults_of(FieldsInvalid("No.", param="hours.timezone")) == {"timezone": "No."}
    assert faults_of(FieldsInvalid("No.", param="weight")) == {"weight": "No."}
    assert faults_of(FieldsInvalid("No.", param="something")) == {}
    assert faults_of(FieldsInvalid("No.")) == {}
    assert plain("The endpoint_url is odd. Give the key that it asks for as api_key.") == (
        "The URL is odd. Give the key that it asks for in its field."
    )
    json = 'Load it there, or say what the server calls it: "models": [{"name": "a", "upstream_name": "b"}].'
    assert plain(json) == "Load it there, or say what the server calls it, beside the name that people ask for."
