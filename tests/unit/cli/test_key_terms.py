"""Do options become the terms that the gateway takes, and do limits that are not named stay?"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.exits import CommandFailed, ExitCode
from app.cli.key_options import LIMIT_NAMES
from app.cli.key_terms import GROUP_OPTIONS, LIMIT_OPTIONS, beside_other_limits, parse_model_limits, terms_of

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_what_was_given_becomes_fields_and_nothing_else() -> None:
    assert terms_of({}, NOW) == {}
    options = {
        "role": "owner",
        "tools_anywhere": False,
        "concurrency": 2,
        "person_tokens_per_month": 9,
        "model_limits": ["big:concurrency=1"],
        "expires": "1d",
    }
    assert terms_of(options, NOW) == {
        "role": "owner",
        "tools_anywhere": False,
        "limits": {"concurrency": 2},
        "person_limits": {"tokens_per_month": 9},
        "model_limits": {"big": {"concurrency": 1}},
        "expires_at": "2030-01-02T00:00:00Z",
    }


def test_there_is_an_option_for_each_limit_of_a_group_and_of_each_person_in_it() -> None:
    assert tuple(LIMIT_OPTIONS) == LIMIT_NAMES
    assert {f"person_{name}" for name in LIMIT_NAMES} <= GROUP_OPTIONS.keys()


@pytest.mark.parametrize(
    ("texts", "limits"),
    [
        (["m:requests_per_minute=10"], {"m": {"requests_per_minute": 10}}),
        (["m:requests-per-minute=10,concurrency=2"], {"m": {"requests_per_minute": 10, "concurrency": 2}}),
        (["m:concurrency=1", "m:tokens_per_day=5"], {"m": {"concurrency": 1, "tokens_per_day": 5}}),
        (["llama3.1:8b:concurrency=1", "org/x=y:concurrency=2"],
         {"llama3.1:8b": {"concurrency": 1}, "org/x=y": {"concurrency": 2}}),
        ([f"m:tokens_per_month={10**12}"], {"m": {"tokens_per_month": 10**12}}),
        ([], {}),
    ],
)  # fmt: skip
def test_limits_of_models_are_read(texts: list[str], limits: dict[str, dict[str, int]]) -> None:
    assert parse_model_limits(texts) == limits


@pytest.mark.parametrize(
    ("texts", "fault"),
    [
        (["m"], "not written"),
        (["m:concurrency"], "not written"),
        ([":concurrency=1"], "not written"),
        (["concurrency=1"], "not written"),
        (["m:concurrency=-1"], "not written"),
        (["m:concurrency=1.5"], "not written"),
        (["m:concurrency=²"], "not written"),
        (["m:concurrency=1,"], "not written"),
        ([f"m:concurrency={'9' * 5000}"], "not written"),
        (["m:speed=1"], "there is no speed"),
        (["m:concurrency=0"], "from 1 to 1,000,000,000,000"),
        ([f"m:concurrency={10**12 + 1}"], "from 1 to"),
        (["m:concurrency=1", "m:concurrency=2"], "second time"),
        (["m:concurrency=1,concurrency=1"], "second time"),
    ],
)
def test_what_is_no_limit_of_a_model_is_refused_with_the_form(texts: list[str], fault: str) -> None:
    with pytest.raises(CommandFailed, match=fault) as refused:
        parse_model_limits(texts)
    assert refused.value.code is ExitCode.USAGE
    assert "--model-limit llama-3-8b:requests_per_minute=10" in str(refused.value.fix)


@given(st.text(max_size=60))
def test_any_text_is_a_limit_or_refused_in_words(text: str) -> None:
    with suppress(CommandFailed):
        assert all(counts.keys() <= set(LIMIT_NAMES) for counts in parse_model_limits([text]).values())


def test_other_limits_stay_unless_their_field_is_cleared() -> None:
    found = {
        "limits": {"concurrency": 1, "tokens_per_day": None},
        "model_limits": {"a": {"concurrency": 1, "tokens_per_day": 5}, "b": {"concurrency": 2}},
    }
    terms = {
        "name": "x",
        "limits": {"tokens_per_day": 9},
        "person_limits": {"concurrency": 3},
        "model_limits": {"a": {"concurrency": 7}, "c": {"concurrency": 8}},
    }
    assert beside_other_limits(terms, found) == {
        "name": "x",
        "limits": {"concurrency": 1, "tokens_per_day": 9},
        "person_limits": {"concurrency": 3},
        "model_limits": {
            "a": {"concurrency": 7, "tokens_per_day": 5}, "b": {"concurrency": 2}, "c": {"concurrency": 8},
        },
    }  # fmt: skip
    assert beside_other_limits(terms, found, {"limits", "model_limits"}) == terms
    assert beside_other_limits({"name": "x"}, found) == {"name": "x"}
