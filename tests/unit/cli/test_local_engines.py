"""Are running model servers found, and are other programs at their ports left alone?"""

from __future__ import annotations

import socket
import time

import pytest

from app.cli.local_engines import LocalEngine, find_local_engines, read_listing

URL = "http://127.0.0.1:1"


def listing(*names: str, owner: str = "somebody", **fields: object) -> dict[str, object]:
    return {"object": "list", "data": [{"id": name, "owned_by": owner, **fields} for name in names]}


@pytest.mark.parametrize(
    ("header", "owner", "expected"),
    [
        ("llama.cpp", "llamacpp", "llama.cpp"),
        ("", "vllm", "vLLM"),
        ("", "sglang", "SGLang"),
        ("", "library", "Ollama"),
        ("uvicorn", "me", "LM Studio"),
    ],
)
def test_the_engine_is_named(header: str, owner: str, expected: str) -> None:
    assert read_listing(URL, "LM Studio", header, listing("a", "b", owner=owner)) == LocalEngine(
        URL, expected, ("a", "b")
    )


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "Unexpected endpoint"},
        [],
        {"data": []},
        {"data": [{"name": "no id"}]},
        {"data": "x"},
        listing("m", healthy_servers=2),
    ],
)
def test_what_is_no_model_server_is_left_out(answer: object) -> None:
    assert read_listing(URL, "vLLM", "", answer) is None


def test_an_engine_describes_itself() -> None:
    assert LocalEngine(URL, "Ollama", ("a",)).describe() == "Ollama at http://127.0.0.1:1 (a)"
    assert LocalEngine(URL, "Ollama", ("a", "b", "c")).describe() == "Ollama at http://127.0.0.1:1 (a, and 2 more)"


def test_those_that_answer_are_found_and_silent_ones_delay_nothing(gateway) -> None:
    gateway.answers["GET", "/v1/models"] = (200, listing("m"))
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        ports = [(silent.getsockname()[1], "slow"), (gateway.port, "Ollama"), (unused.getsockname()[1], "none")]
        started = time.monotonic()
        found = find_local_engines(tuple(ports), timeout_seconds=0.3)
        assert time.monotonic() - started < 5
    assert found == [LocalEngine(gateway.url, "Ollama", ("m",))]


@pytest.mark.parametrize("answer", [(401, {"error": "key"}), (200, b"<html>"), (200, b"\xff\xfe"), (301, None)])
def test_other_answers_are_no_engine(gateway, answer) -> None:
    gateway.answers["GET", "/v1/models"] = answer
    assert find_local_engines(((gateway.port, "Ollama"),)) == []


def test_a_gateway_is_no_engine(gateway) -> None:
    listed = listing("m")
    listed["data"][0]["healthy_servers"] = 1
    gateway.answers["GET", "/v1/models"] = (200, listed)
    assert find_local_engines(((gateway.port, "vLLM"),)) == []


def test_an_engine_tells_its_port(gateway) -> None:
    gateway.answers["GET", "/v1/models"] = (200, listing("m"))
    assert [engine.port for engine in find_local_engines(((gateway.port, "vLLM"),))] == [gateway.port]
