"""What a form says, and what is none."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from app.routers.dashboard.forms import MAX_FIELDS, Form, read_form
from app.services.core.errors import BodyTooLarge, FieldsInvalid, RequestInvalid

FORM = "application/x-www-form-urlencoded"
sendable = st.text(st.characters(exclude_categories=["Cs"]))


def _request(body: bytes, content_type: str = FORM) -> Request:
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": [(b"content-type", content_type.encode())]}, receive)


@given(st.lists(st.tuples(sendable.filter(bool), sendable), max_size=20))
async def test_what_a_browser_sends_is_what_the_form_says(pairs):
    form = await read_form(_request(urlencode(pairs).encode()))
    assert form.names == {name for name, _value in pairs}
    for name in form.names:
        values = [value for known, value in pairs if known == name]
        assert form.raw(name) == values[-1].replace("\r\n", "\n")
        assert form.list(name) == [value.strip() for value in values if value.strip()]


async def test_a_field_that_was_left_empty_counts_as_left_out():
    form = await read_form(_request(b"name=&owner=+alice+&many=a&many=&many=b"))
    assert "name" in form
    assert form.text("name") == ""
    assert form.optional("name") is None
    assert form.optional("missing") is None
    assert form.text("name", "none") == "none"
    assert form.text("owner") == "alice"
    assert form.list("many") == ["a", "b"]


def test_lines_and_check_boxes():
    form = Form({"lines": ["one\r\n\r\n two \nthree"], "yes": ["on"], "no": ["off"], "empty": [""]})
    assert form.lines("lines") == ["one", "two", "three"]
    assert form.flag("yes")
    assert not form.flag("no")
    assert not form.flag("empty")
    assert not form.flag("missing")


def test_numbers():
    form = Form({"half": ["0.5"], "none": [" "], "eight": ["8"], "spaced": ["1 000"], "minus": ["-3"]})
    assert form.number("half") == 0.5
    assert form.number("none") is None
    assert form.whole("none") is None
    assert form.whole("eight") == 8
    assert form.whole("spaced") == 1000
    assert form.whole("minus") == -3


@pytest.mark.parametrize("text", ["a", "nan", "inf", "-inf", "1e999", "0x10", "1,5"])
def test_what_is_no_number_is_named(text):
    with pytest.raises(FieldsInvalid, match=r"weight: should be a number") as caught:
        Form({"weight": [text]}).number("weight")
    assert caught.value.param == "weight"


@pytest.mark.parametrize("text", ["a", "1.5", "--", "+", "--5", "+-5", "5-", "²", "9" * 19, "1e3"])
def test_what_is_no_whole_number_is_named(text):
    with pytest.raises(FieldsInvalid, match=r"count: should be a whole number"):
        Form({"count": [text]}).whole("count")


async def test_what_is_no_form_has_no_fields():
    assert (await read_form(_request(b'{"name": "a"}', "application/json"))).names == frozenset()
    assert (await read_form(_request(b"name=a", f"{FORM}; charset=utf-8"))).text("name") == "a"


@pytest.mark.parametrize("body", [b"name=%ff", "name=ü".encode("latin-1")])
async def test_a_form_is_in_utf_8(body):
    with pytest.raises(RequestInvalid, match="UTF-8"):
        await read_form(_request(body))


async def test_a_form_has_an_end():
    with pytest.raises(BodyTooLarge, match="more than 5,000 fields"):
        await read_form(_request(b"a=1&" * MAX_FIELDS + b"a=1"))
