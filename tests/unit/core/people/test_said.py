"""Is what clients say of their requests taken only where it may be said, and only in a sane form?"""

from __future__ import annotations

import pytest

from app.services.core.errors import RequestInvalid
from app.services.core.people.principal import Principal, Role, Trust
from app.services.core.people.said import named_person, reach_of, session_of

HEADERS = (b"x-user-email", b"x-user-id")
FRONT_END = Principal("front", "a front end", Role.USER, names_people=True)
PLAIN = Principal("plain", "a user", Role.USER)


def test_a_front_end_names_its_user_by_the_first_header_that_is_there():
    assert named_person(FRONT_END, {b"x-user-id": b"7"}, HEADERS) == "front/7"
    assert named_person(FRONT_END, {b"x-user-id": b"7", b"x-user-email": b" Ann@Uni.Example "}, HEADERS) == (
        "front/ann@uni.example"
    )


def test_nobody_else_may_name_anybody():
    assert named_person(PLAIN, {b"x-user-id": b"7"}, HEADERS) == ""


@pytest.mark.parametrize("value", [b"", b"  ", b"\xff\xfe", b"a\x00b", b"n" * 129, b"tab\there"])
def test_a_name_that_is_none_names_nobody(value):
    assert named_person(FRONT_END, {b"x-user-id": value}, HEADERS) == ""


def test_a_bad_name_does_not_hide_a_good_one():
    assert named_person(FRONT_END, {b"x-user-email": b"\x01", b"x-user-id": b"7"}, HEADERS) == "front/7"


@pytest.mark.parametrize("reach", Trust)
@pytest.mark.parametrize("asked", Trust)
def test_a_request_may_go_less_far_and_never_further(reach, asked):
    principal = Principal("one", "one", Role.USER, reach=reach)
    taken = reach_of(principal, asked.value.upper().encode())
    assert taken.breadth == min(reach.breadth, asked.breadth)


def test_without_a_word_it_goes_as_far_as_its_key():
    assert reach_of(Principal("one", "one", Role.USER, reach=Trust.GROUP), None) is Trust.GROUP


@pytest.mark.parametrize("asked", [b"", b"everywhere", b"trusted,public", b"\xff"])
def test_another_word_is_refused_and_not_guessed(asked):
    with pytest.raises(RequestInvalid, match="trusted, group or public"):
        reach_of(PLAIN, asked)


def test_a_session_is_plain_and_short():
    assert session_of(b"conversation-7") == b"conversation-7"
    assert session_of(b"with space") == b""
    assert session_of(b"s" * 257) == b""
    assert session_of(b"") == b""
