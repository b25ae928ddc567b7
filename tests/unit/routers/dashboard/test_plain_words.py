"""Do refusals that were written for programs read like sentences to people, whatever they say?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.routers.dashboard.plain_words import for_people, words_of
from app.routers.key_schemas import ChangeKey, MakeKey
from app.routers.schemas import ChangeServer, RegisterServer
from app.routers.strict_model import StrictModel
from app.routers.terms_schemas import TrustServer

PROGRAMS_WORDS = ("String ", "Input ", "Value error", "instance of", "pattern", "match")


def told(body: type[StrictModel], **fields: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        body.model_validate(fields)
    return [words_of(fault) for fault in caught.value.errors(include_url=False, include_input=False)]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Is needed."),
        ({"name": ""}, "Write something here."),
        ({"name": "x" * 129}, "Write at most 128 characters."),
        ({"name": " x"}, "This should have no space at its beginning or end."),
        ({"name": 7}, "Write a text."),
        ({"routes": ["no path"]}, "Begin with / and write no spaces, such as /v1/chat/completions."),
        ({"routes": "/v1"}, "This can't be read. Load the page again, and choose or write it anew."),
        ({"weight": 0}, "Write a number of at least 0.01."),
        ({"weight": 101}, "Write a number of at most 100."),
        ({"weight": "x"}, "Write a number, such as 1 or 0.5."),
        ({"limits": {"tokens_per_day": 1.5}}, "Write a whole number, such as 8."),
        ({"limits": {"tokens_per_day": 0}}, "Write a number of at least 1."),
        ({"models": []}, "Name at least 1."),
        ({"reach": "far"}, "Choose trusted, group or public."),
        ({"expires_at": "2030-13-01"}, "This should be a time with its zone, like 2030-01-01T08:00:00Z."),
        ({"expires_at": "2030-01-01T08:00:00"}, "Say the time zone too: 2030-01-31T08:00:00Z."),
        ({"colour": "red"}, "This can't be read. Load the page again, and choose or write it anew."),
    ],
)
def test_faults_of_a_key_are_sentences(fields, words):
    complete = fields if not fields else {"name": "x", **fields}
    assert words in told(MakeKey, **complete)


def test_a_choice_names_what_there_is():
    (words,) = told(TrustServer, trust="somewhat")
    assert words.startswith("Choose ")
    assert not any(word in words for word in PROGRAMS_WORDS)


@given(
    st.sampled_from([MakeKey, ChangeKey, RegisterServer, ChangeServer, TrustServer]),
    st.data(),
)
def test_whatever_is_refused_reads_like_a_sentence(body, data):
    names = [field.alias or name for name, field in body.model_fields.items()]
    values = st.none() | st.text(max_size=5) | st.integers() | st.floats() | st.lists(st.text(max_size=3), max_size=2)
    fields = data.draw(st.dictionaries(st.sampled_from(names), values | st.dictionaries(st.text(max_size=3), values)))
    try:
        body.model_validate(fields)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            words = words_of(fault)
            assert words[0].isupper(), words
            assert words[-1] == ".", words
            assert not any(word in words for word in PROGRAMS_WORDS), words


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("There is no key of this id that you may see. GET /admin/keys lists those.",
         "There is no key of this id that you may see."),
        ("Leave it out, or remove the alias first: DELETE /admin/aliases/big.model.",
         "Leave it out, or remove the alias first."),
        ("Change it with PATCH /admin/register/a.b-c, or remove it first.", "Change it, or remove it first."),
        ("Check that an API is at this URL: GET /v1/models must list its models. It answered 404.",
         "Check that an API is at this URL. It answered 404."),
        ("There is none. GET /admin/groups lists them; make one with POST /admin/groups.", "There is none."),
        ("There are a and 5 more, see GET /v1/models", "There are a and 5 more"),
        ("GET /v1/usage tells it.", "GET /v1/usage tells it."),
        ("expires_at has passed already. Give a later one, or none.",
         "The last day has passed already. Give a later one, or none."),
        ("expires_at has passed already. Give a later one, or DELETE the key to end it.",
         "The last day has passed already. Give a later one, or revoke the key."),
        ("limits.tokens_per_day is a whole number of 1 to 5. Leave it out, or send null, for no limit.",
         "Tokens a day is a whole number of 1 to 5. Leave it empty for no limit."),
        ("'api_key' is a model.", "'api_key' is a model."),
        ("my_api_key_2 and api_key2 are models.", "my_api_key_2 and api_key2 are models."),
        ("There is a class called x already. Change that with PUT, or choose another name.",
         "There is a class called x already. Change that one, or choose another name."),
        ("", ""),
    ],
)  # fmt: skip
def test_messages_are_for_people(message, words):
    assert for_people(message) == words


def test_the_field_that_a_form_shows_is_not_named_again():
    message = "weight: should be a number, such as 1 or 0.5."
    assert for_people(message, "weight") == "This should be a number, such as 1 or 0.5."
    assert for_people(message, "name") == message


@given(st.text(max_size=200), st.none() | st.text(max_size=5))
def test_no_message_is_left_empty(message, param):
    assert bool(for_people(message, param)) or not message


@given(st.text(alphabet="abc .!?:", max_size=60).filter(lambda text: text == " ".join(text.split())))
def test_words_without_fields_and_routes_stay_as_they_are(message):
    assert for_people(message) == message


def test_a_huge_message_takes_no_time():
    for part in (": GET /", " with GET /", "x. ", "expires_at ", "limits.", "  "):
        message = part * (200_000 // len(part))
        assert len(for_people(message)) <= 2 * len(message)
