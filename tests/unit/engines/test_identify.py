"""Each engine is told by its marks, in the fixed order, and its models and errors are read as it writes them."""

from __future__ import annotations

import pytest

from app.services.core.types import DiscoveredModel
from app.services.engines.identify import ENGINES, UNKNOWN, engine_named, identify
from app.services.engines.interface import Evidence

LLAMACPP = {
    "models": [{"name": "SmolLM2-135M", "model": "SmolLM2-135M", "details": {"format": "gguf"}}],
    "object": "list",
    "data": [
        {
            "id": "SmolLM2-135M",
            "aliases": ["smol", "SmolLM2-135M"],
            "object": "model",
            "created": 1790000000,
            "owned_by": "llamacpp",
            "meta": {"vocab_type": 2, "n_vocab": 49152, "n_ctx": 1024, "n_ctx_train": 8192},
        }
    ],
}
VLLM = {
    "object": "list",
    "data": [
        {"id": "meta-llama/Llama-3.1-8B", "object": "model", "owned_by": "vllm", "max_model_len": 131072},
        {"id": "my-lora", "object": "model", "owned_by": "vllm", "parent": "meta-llama/Llama-3.1-8B"},
    ],
}
SGLANG = {"object": "list", "data": [{"id": "qwen", "object": "model", "owned_by": "sglang", "max_model_len": 32768}]}
TABBY = {
    "object": "list",
    "data": [{"id": "exl2", "object": "model", "owned_by": "tabbyAPI", "parameters": {"max_seq_len": 4096}}],
}
OLLAMA = {"object": "list", "data": [{"id": "llama3.1:8b", "object": "model", "created": 1, "owned_by": "library"}]}
OLLAMA_OF_A_USER = {"object": "list", "data": [{"id": "someone/tuned:1b", "object": "model", "owned_by": "someone"}]}
TGI = {"object": "list", "data": [{"id": "tgi-model", "object": "model", "created": 0, "owned_by": "tgi-model"}]}
LM_STUDIO = {"data": [{"id": "qwen/qwen3-8b", "object": "model", "owned_by": "organization_owner"}], "object": "list"}
MLX = {"object": "list", "data": [{"id": "mlx-community/Qwen3-4B-4bit", "object": "model", "created": 1790000000}]}
LLAMA_CPP_PYTHON = {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "me", "permissions": []}]}
OLLAMA_OF_ME = {"object": "list", "data": [{"id": "me/tuned:1b", "object": "model", "created": 1, "owned_by": "me"}]}
PLAIN = {"object": "list", "data": [{"id": "gpt", "object": "model", "owned_by": "someone-else"}]}


@pytest.mark.parametrize(
    ("evidence", "name", "models"),
    [
        (Evidence({"server": "llama.cpp"}, PLAIN), "llama.cpp", [DiscoveredModel("gpt")]),
        (
            Evidence({}, LLAMACPP),
            "llama.cpp",
            [DiscoveredModel("SmolLM2-135M", 1024), DiscoveredModel("smol", 1024)],
        ),
        (
            Evidence({"server": "uvicorn"}, VLLM),
            "vllm",
            [DiscoveredModel("meta-llama/Llama-3.1-8B", 131072), DiscoveredModel("my-lora")],
        ),
        (Evidence({}, SGLANG), "sglang", [DiscoveredModel("qwen", 32768)]),
        (Evidence({}, TABBY), "tabbyapi", [DiscoveredModel("exl2", 4096)]),
        (Evidence({}, OLLAMA), "ollama", [DiscoveredModel("llama3.1:8b")]),
        (
            Evidence({}, OLLAMA_OF_A_USER, b"Ollama is running"),
            "ollama",
            [DiscoveredModel("someone/tuned:1b")],
        ),
        (
            Evidence({}, TGI, info={"model_id": "tgi-model", "max_total_tokens": 2048}),
            "tgi",
            [DiscoveredModel("tgi-model", 2048)],
        ),
        (Evidence({"x-powered-by": "Express"}, PLAIN), "lmstudio", [DiscoveredModel("gpt")]),
        (Evidence({}, LM_STUDIO), "lmstudio", [DiscoveredModel("qwen/qwen3-8b")]),
        (
            Evidence({"server": "BaseHTTP/0.6 Python/3.12.4"}, MLX),
            "mlx-lm",
            [DiscoveredModel("mlx-community/Qwen3-4B-4bit")],
        ),
        (Evidence({"server": "BaseHTTP/0.6 Python/3.12.4"}, PLAIN), "unknown", [DiscoveredModel("gpt")]),
        (Evidence({}, MLX), "unknown", [DiscoveredModel("mlx-community/Qwen3-4B-4bit")]),
        (Evidence({"server": "uvicorn"}, LLAMA_CPP_PYTHON), "llama-cpp-python", [DiscoveredModel("m")]),
        (Evidence({}, OLLAMA_OF_ME), "unknown", [DiscoveredModel("me/tuned:1b")]),
        (Evidence({}, OLLAMA_OF_ME, b"Ollama is running"), "ollama", [DiscoveredModel("me/tuned:1b")]),
        (Evidence({}, PLAIN), "unknown", [DiscoveredModel("gpt")]),
        (Evidence(), "unknown", []),
    ],
)
def test_marks_and_models(evidence: Evidence, name: str, models: list[DiscoveredModel]) -> None:
    engine = identify(evidence)
    assert engine.name == name
    assert list(engine.models(evidence)) == models


def test_surer_marks_come_first() -> None:
    both = Evidence({"server": "llama.cpp", "x-powered-by": "Express"}, VLLM, b"Ollama is running")
    assert identify(both).name == "llama.cpp"
    assert identify(Evidence({"x-powered-by": "Express"}, OLLAMA)).name == "ollama"
    assert identify(Evidence({}, VLLM, b"Ollama is running")).name == "vllm"


def test_an_info_page_of_something_else_is_not_tgi() -> None:
    assert identify(Evidence({}, TGI, info={"model_id": "tgi-model"})).name == "unknown"
    assert identify(Evidence({}, TGI, info=["model_id"])).name == "unknown"


def test_names_are_those_of_the_api_and_find_their_engine() -> None:
    signed = ["llama.cpp", "vllm", "sglang", "tabbyapi", "ollama", "llama-cpp-python"]
    names = [*signed, "tgi", "lmstudio", "mlx-lm", "unknown"]
    assert [engine.name for engine in ENGINES] == names
    assert [engine_named(name).name for name in names] == names
    assert engine_named("never heard of") is UNKNOWN


@pytest.mark.parametrize(
    ("engine", "status", "body", "message"),
    [
        ("llama.cpp", 503, b'{"error":{"code":503,"message":"Loading model"}}', "Loading model"),
        ("vllm", 401, b'{"error":"Unauthorized"}', "Unauthorized"),
        ("vllm", 400, b'{"error":{"message":"too long","type":"BadRequestError","code":400}}', "too long"),
        ("sglang", 503, b'{"object":"error","message":"The queue is full","code":503}', "The queue is full"),
        ("tgi", 429, b'{"error":"Model is overloaded","error_type":"overloaded"}', "Model is overloaded"),
        ("ollama", 503, b'{"error":"server busy, please try again"}', "server busy, please try again"),
        ("lmstudio", 200, b'{"error":"Unexpected endpoint. (GET /v1/m)"}', "Unexpected endpoint. (GET /v1/m)"),
        ("mlx-lm", 404, b"Not Found", "Not Found"),
        ("unknown", 404, b'{"detail":"Not Found"}', "Not Found"),
        ("unknown", 403, b'"go away"', "go away"),
        ("llama-cpp-python", 500, b'{"error":{"message":"no memory","type":"internal_server_error"}}', "no memory"),
        ("tabbyapi", 503, b'{"detail":"No models are currently loaded."}', "No models are currently loaded."),
        (
            "tabbyapi",
            422,
            b'{"detail":[{"type":"missing","loc":["body","messages",0,"role"],"msg":"Field required"},{"msg":"no"}]}',
            "body.messages.0.role: Field required",
        ),
        ("unknown", 422, b'{"detail":[{"msg":"Field required","loc":"body"}]}', "Field required"),
        ("unknown", 400, b'{"detail":[{"loc":["body"]}]}', "Bad Request"),
        ("unknown", 400, b'{"detail":["bad"]}', "Bad Request"),
        ("unknown", 503, b"<html><h1>503</h1></html>", "Service Unavailable"),
        ("unknown", 503, b"\xef\xbb\xbf \n<!doctype html>", "Service Unavailable"),
        ("unknown", 500, b"", "Internal Server Error"),
        ("unknown", 500, b'{"error":{"message":"  "}}', "Internal Server Error"),
        ("unknown", 500, b"[[[1]]]", "Internal Server Error"),
        ("unknown", 799, b"{}", "no reason given"),
        ("unknown", 500, b"two\r\nlines\x1b[31m\x00and \xe2\x80\xaea trick", "two lines [31m and a trick"),
        ("unknown", 500, b"a" * 10_000, "a" * 199 + "\xe2\x80\xa6".encode("latin-1").decode("utf-8")),
    ],
)
def test_error_messages_are_short_and_readable(engine: str, status: int, body: bytes, message: str) -> None:
    assert engine_named(engine).error_message(status, body) == message
