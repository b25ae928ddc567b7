"""Answers: every engine's refusal in one envelope, and OpenAI's list of models."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Model

from app.services.core.answer.answers import client_error, model_object, models_list
from app.services.core.choice.aliases import Alias, Target
from app.services.core.choice.snapshot import Snapshot, build_snapshot
from app.services.core.errors import ModelNotFound
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

DEFAULT = "The model server refused the request with status 400."


def refused(body: bytes | object, status: int = 400) -> dict[str, str | None]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    envelope = json.loads(client_error(status, text))
    assert set(envelope) == {"error"}
    assert set(envelope["error"]) == {"message", "type", "param", "code"}
    return envelope["error"]


def words(message: str, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None):
    return {"message": message, "type": kind, "param": param, "code": code}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            {"error": {"message": "too long", "type": "BadRequestError", "param": "messages", "code": 400}},
            words("too long", "BadRequestError", "messages", "400"),
            id="vLLM",
        ),
        pytest.param({"error": "Unauthorized"}, words("Unauthorized"), id="vLLM, bare"),
        pytest.param(
            {"object": "error", "message": "too long", "type": "BadRequestError", "param": None, "code": 400},
            words("too long", "BadRequestError", None, "400"),
            id="SGLang",
        ),
        pytest.param(
            {"error": {"code": 400, "message": "too long", "type": "exceed_context_size_error", "n_ctx": 4096}},
            words("too long", "exceed_context_size_error", None, "400"),
            id="llama.cpp",
        ),
        pytest.param(
            {"error": {"message": "invalid", "type": "api_error", "param": None, "code": None}},
            words("invalid", "api_error"),
            id="Ollama",
        ),
        pytest.param(
            {"error": "Input validation error", "error_type": "validation"},
            words("Input validation error", "validation"),
            id="TGI",
        ),
        pytest.param({"detail": "Not allowed"}, words("Not allowed"), id="FastAPI"),
        pytest.param(
            {"detail": [{"loc": ["body", "n"], "msg": "too many"}]},
            words('[{"loc":["body","n"],"msg":"too many"}]'),
            id="FastAPI, validation",
        ),
        pytest.param(
            {"error": {"message": "no such", "code": "model_not_found"}},
            words("no such", code="model_not_found"),
            id="OpenAI",
        ),
        pytest.param(
            {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
            words("busy", "overloaded_error"),
            id="Anthropic",
        ),
    ],
)
def test_every_engine_speaks_in_one_envelope(body: object, expected: dict[str, str | None]) -> None:
    assert refused(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!DOCTYPE html><html><body>nginx</body></html>",
        b"Bad Request",
        b"\x00\xff\xfe" * 1000,
        b"\x1f\x8b\x08compressed",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"error":null}',
        b'{"error":{}}',
        b'{"error":[1,2]}',
        b'{"error":{"message":""}}',
        b'{"error":{"message":{"deep":1}}}',
        b'{"error":{"message":"cut',
        rb'{"error":{"message":"\ud800 alone"}}',
        b'{"error":' + b"[" * 100_000,
        b'{"error":{"message":"x","code":%s}}' % (b"9" * 5000),
    ],
)
def test_what_says_nothing_gets_words_of_ours(body: bytes) -> None:
    assert refused(body) == words(DEFAULT)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (404, "404"),
        ("x", "x"),
        (1.5, "1.5"),
        (None, None),
        (True, None),
        ([1], None),
        ({"a": 1}, None),
        (10**25, str(10**25)),
    ],
)
def test_a_code_is_a_string_or_null(code: object, expected: str | None) -> None:
    assert refused({"error": {"message": "m", "code": code}})["code"] == expected


def test_an_error_inside_goes_before_what_stands_beside_it() -> None:
    body = {
        "error": {"message": "in", "type": "a", "param": "p", "code": "1"},
        "message": "out",
        "type": "b",
        "code": 2,
    }
    assert refused(body) == words("in", "a", "p", "1")
    assert refused({"error": {"message": 5, "type": 5}, "message": "out", "type": "b", "code": 2}) == words(
        "out", "b", None, "2"
    )


def test_nothing_in_the_envelope_is_longer_than_it_needs_to_be() -> None:
    long = "x" * 10**6
    error = refused({"error": {"message": long, "type": long, "param": long, "code": long}})
    assert {name: len(value or "") for name, value in error.items()} == {
        "message": 2000,
        "type": 200,
        "param": 200,
        "code": 200,
    }


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": 'wrong key sk-"secret", sorry', "type": 'sk-"secret"', "code": 'sk-"secret"'}},
        {"error": {"message": "no", "param": 'sk-"secret"'}},
        {"detail": [{"input": 'sk-"secret"'}]},
        {"error": "x" * 1994 + 'sk-"secret"'},
    ],
)
def test_the_key_of_a_server_is_not_repeated(body: object) -> None:
    shown = client_error(401, json.dumps(body).encode(), secret='sk-"secret"')
    assert b"secret" not in shown
    assert b"sk-" not in shown
    assert b"[reda" in shown


@given(st.text(alphabet='ks-7"\\\u20ac', min_size=6, max_size=12), st.text(max_size=5), st.sampled_from(range(4)))
def test_no_key_is_repeated_wherever_it_stands(secret: str, around: str, place: int) -> None:
    told = f"{around} {secret} {around}{secret}"
    bodies = [{"error": told}, {"error": {"message": told, "type": told, "param": told, "code": told}}]
    bodies += [{"detail": [told]}, {"message": told, "type": told, "code": told}]
    shown = json.loads(client_error(401, json.dumps(bodies[place]).encode(), secret))["error"]
    assert "[redacted]" in shown["message"]
    assert not any(secret in (value or "") for value in shown.values())


def test_a_key_that_nobody_repeats_changes_nothing() -> None:
    body = b'{"error":{"message":"wrong key","type":"auth","code":401}}'
    assert client_error(401, body, "sk-secret") == client_error(401, body) == client_error(401, body, None)


def test_a_placeholder_for_a_key_hides_no_words() -> None:
    assert json.loads(client_error(400, b'{"error":"none of it"}', secret="none"))["error"]["message"] == "none of it"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["error", "message", "detail", "type", "error_type", "param", "code", "object"])


@given(st.binary(max_size=100) | st.dictionaries(FIELDS, VALUES | st.dictionaries(FIELDS, VALUES)))
def test_any_body_becomes_an_envelope_of_strings(body: bytes | dict[str, object]) -> None:
    error = refused(body)
    assert error["message"]
    assert error["type"]
    assert all(value is None or isinstance(value, str) for value in error.values())


# -- models


def server(name: str, *models: ModelEntry, health: HealthStatus = HealthStatus.HEALTHY) -> Server:
    return Server(id=name, endpoint=Endpoint("http", name, 8000), models=models, health=health)


SNAPSHOT = build_snapshot(
    [
        server("one", ModelEntry("meta/llama", "a", 4096), ModelEntry("qwen", "b")),
        server("two", ModelEntry("meta/llama", "c", 8192), health=HealthStatus.UNHEALTHY),
    ]
)


def test_lists_models_as_openai_does() -> None:
    listed = json.loads(models_list(SNAPSHOT))
    assert listed["object"] == "list"
    models = [Model.model_validate(entry) for entry in listed["data"]]
    assert [(model.id, model.object, model.created) for model in models] == [
        ("meta/llama", "model", 0),
        ("qwen", "model", 0),
    ]
    assert all(isinstance(model.owned_by, str) for model in models)


def test_says_what_the_pool_knows_of_a_model() -> None:
    assert model_object(SNAPSHOT, "meta/llama") == {
        "id": "meta/llama",
        "object": "model",
        "created": 0,
        "owned_by": "multiverse",
        "servers": 2,
        "healthy_servers": 1,
        "context_length": 8192,
    }
    assert model_object(SNAPSHOT, "qwen")["context_length"] is None


@pytest.mark.parametrize("name", ["gpt", "fast", "fast\nqwen", ""])
def test_what_is_not_there_is_told_with_what_is(name: str) -> None:
    with pytest.raises(ModelNotFound, match=r"Available: meta/llama, qwen\."):
        model_object(SNAPSHOT, name)


def test_lists_only_the_models_that_are_allowed() -> None:
    listed = msgspec.json.decode(models_list(SNAPSHOT, ["qwen", "unknown"]))
    assert [entry["id"] for entry in listed["data"]] == ["qwen"]
    assert json.loads(models_list(build_snapshot([]))) == {"object": "list", "data": []}


FLEET = [
    server("one", ModelEntry("llama", "a", 4096), ModelEntry("qwen", "b", 32_768)),
    server("two", ModelEntry("llama", "c", 8192), health=HealthStatus.UNHEALTHY),
    server("three", ModelEntry("mistral", "d")),
]


def aliased(*aliases: Alias) -> Snapshot:
    return build_snapshot(FLEET, (), aliases)


def test_an_alias_is_listed_as_a_model_over_all_the_servers_that_it_leads_to() -> None:
    snapshot = aliased(Alias("fast", (Target("qwen"), Target("llama")), (Target("mistral"), Target("gone"))))
    listed = json.loads(models_list(snapshot))["data"]
    assert [entry["id"] for entry in listed] == ["fast", "llama", "mistral", "qwen"]
    assert (
        listed[0]
        == model_object(snapshot, "fast")
        == {
            "id": "fast",
            "object": "model",
            "created": 0,
            "owned_by": "multiverse",
            "servers": 3,
            "healthy_servers": 2,
            "context_length": 32_768,
            "alias_for": ["qwen", "llama", "mistral", "gone"],
        }
    )
    assert Model.model_validate(listed[0]).id == "fast"
    assert "\\n" not in models_list(snapshot).decode()
    assert [entry["id"] for entry in json.loads(models_list(snapshot, {"fast"}))["data"]] == ["fast"]


@pytest.mark.parametrize(("most", "length"), [(1000, 8192), (20_000, 20_000), (None, 32_768), (99_999, 32_768)])
def test_an_alias_has_the_context_that_its_bounds_leave(most: int | None, length: int) -> None:
    alias = Alias("fast", (Target("qwen", max_context_tokens=most), Target("llama")))
    assert model_object(aliased(alias), "fast")["context_length"] == length
    assert model_object(aliased(Alias("fast", (Target("mistral"),))), "fast")["context_length"] is None


def test_an_alias_that_leads_to_nothing_is_not_listed_and_says_why() -> None:
    snapshot = aliased(Alias("lost", (Target("gone"),)))
    assert b"lost" not in models_list(snapshot)
    with pytest.raises(ModelNotFound, match="Alias 'lost' leads to gone, which no registered server has"):
        model_object(snapshot, "lost")


def test_an_alias_hides_a_model_of_its_name() -> None:
    snapshot = aliased(Alias("qwen", (Target("llama"),)))
    listed = json.loads(models_list(snapshot))["data"]
    assert [entry["id"] for entry in listed] == ["llama", "mistral", "qwen"]
    assert listed[-1]["alias_for"] == ["llama"]


def test_what_a_request_does_not_see_does_not_count() -> None:
    snapshot = aliased(Alias("fast", (Target("qwen"), Target("llama"))))
    seen = replace(snapshot, routes={"llama": snapshot.routes["llama"]})
    assert model_object(seen, "fast")["servers"] == 2
    with pytest.raises(ModelNotFound):
        model_object(replace(snapshot, routes={}), "fast")
