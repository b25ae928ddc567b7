"""Errors: the tree at the head of the module holds literally, and each is rendered in the one envelope."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core import errors
from app.services.core.errors import GatewayError, ModelNotFound, TooMany, error_event, render

LINE = re.compile(r"^(?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+) +(?P<status>\d{3})  (?P<type>\w+) +(?P<code>\w+)(  .*)?$")


def tree() -> list[tuple[str, str | None, int, str, str]]:
    """The docstring's tree: name, parent, status, type, code."""
    assert errors.__doc__ is not None
    drawn = errors.__doc__.partition("::\n\n")[2].partition("\n\n")[0]
    rows: list[tuple[str, str | None, int, str, str]] = []
    path: list[str] = []
    for line in drawn.splitlines():
        found = LINE.match(line)
        assert found is not None, f"not a line of the tree: {line}"
        depth = len(found["branch"]) // 4 - 1
        path[depth:] = [found["name"]]
        parent = path[depth - 1] if depth else None
        rows.append((found["name"], parent, int(found["status"]), found["type"], found["code"]))
    return rows


def subclasses(base: type[GatewayError]) -> set[type[GatewayError]]:
    return {base}.union(*(subclasses(child) for child in base.__subclasses__()))


def test_the_tree_shows_every_class_and_all_are_exported() -> None:
    here = {kind.__name__ for kind in subclasses(GatewayError) if kind.__module__ == errors.__name__}
    assert sorted(here) == sorted(row[0] for row in tree())
    assert here <= set(errors.__all__)


@pytest.mark.parametrize(("name", "parent", "status", "kind", "code"), tree(), ids=[row[0] for row in tree()])
def test_the_tree_holds(name: str, parent: str | None, status: int, kind: str, code: str) -> None:
    shown: type[GatewayError] = getattr(errors, name)
    assert (shown.status, shown.type, shown.default_code) == (status, kind, code)
    assert parent is None or shown.__bases__ == (getattr(errors, parent),)
    assert shown("words").code == code


def test_is_rendered_as_openai_clients_parse_it() -> None:
    error = ModelNotFound("No such model.", param="model")
    assert json.loads(render(error)) == {
        "error": {
            "message": "No such model.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
    assert str(error) == error.message


def test_a_finer_code_goes_before_that_of_the_class() -> None:
    error = TooMany("Wait.", code="queue_full", retry_after_seconds=5)
    assert (error.code, error.retry_after_seconds) == ("queue_full", 5)
    assert json.loads(render(error))["error"]["code"] == "queue_full"


@given(st.text(), st.none() | st.text())
def test_any_words_can_be_rendered(message: str, param: str | None) -> None:
    error = GatewayError(message, param=param)
    assert json.loads(render(error))["error"]["message"] == message
    assert json.loads(render(error))["error"]["param"] == param


def test_further_members_stand_beside_the_usual_ones() -> None:
    more = {"retryable": False, "delivered_tokens": 3, "reason": "half \ud800"}
    usual = {"message": "m", "type": "server_error", "param": None, "code": "internal_error"}
    told = {"error": {**usual, **more, "reason": "half \\ud800"}}
    assert json.loads(render(GatewayError("m"), more)) == told
    assert json.loads(error_event(GatewayError("m"), more)[6:]) == told


@pytest.mark.parametrize(
    "words", ["\ud800", "a\udfff\u20ac", 'quote " and \\ and \n', "data: [DONE]\n\n", "\x00\u2028"]
)
def test_no_words_break_an_envelope_or_an_event(words: str) -> None:
    error = GatewayError(words, param=words)
    shown = json.loads(render(error))["error"]
    assert shown["message"] == shown["param"] == words.encode(errors="backslashreplace").decode()
    event = error_event(error)
    assert event.startswith(b"data: {")
    assert event.count(b"\n") == 2
    assert event.endswith(b"}\n\n")
    assert json.loads(event[6:]) == json.loads(render(error))
