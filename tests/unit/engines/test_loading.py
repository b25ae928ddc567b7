"""A server that loads its model is told from one that is ill, by what each engine says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.engines.identify import ENGINES, engine_named


@pytest.mark.parametrize(
    ("engine", "status", "body"),
    [
        ("llama.cpp", 503, b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'),
        ("llama.cpp", 200, b'{"object":"list","data":[{"id":"m","owned_by":"llamacpp","meta":null}]}'),
        ("tabbyapi", 503, b'{"detail":"No models are currently loaded."}'),
        ("tabbyapi", 503, b'{"error":{"message":"No models are currently loaded.","trace":null}}'),
        ("sglang", 503, b""),
        ("unknown", 503, b'{"error":"Model a/b is currently loading","estimated_time":20}'),
        ("unknown", 503, b"The model is not ready"),
        ("unknown", 503, b'{"detail":"Model not yet loaded"}'),
        ("unknown", 503, b'{"message":"warming up"}'),
        ("vllm", 503, b'{"error":{"message":"server is still starting"}}'),
    ],
)
def test_loading(engine: str, status: int, body: bytes) -> None:
    assert engine_named(engine).is_loading(status, body)


@pytest.mark.parametrize(
    ("engine", "status", "body"),
    [
        ("llama.cpp", 500, b'{"error":{"message":"Loading model"}}'),
        ("llama.cpp", 200, b'{"error":{"message":"Loading model"}}'),
        ("llama.cpp", 200, b'{"data":[{"id":"m","meta":{"n_ctx":4096}}]}'),
        ("llama.cpp", 200, b'{"data":[{"id":"m","meta":null,"status":{"value":"unloaded"}}]}'),
        ("llama.cpp", 200, b'{"data":[{"id":"m"}]}'),
        ("llama.cpp", 200, b'{"data":[]}'),
        ("llama.cpp", 200, b"{"),
        ("unknown", 200, b'{"data":[{"id":"m","meta":null}]}'),
        ("llama.cpp", 503, b'{"error":{"message":"failed loading model: out of memory"}}'),
        ("ollama", 503, b'{"error":"server busy, please try again.  maximum pending requests exceeded"}'),
        ("tgi", 503, b'{"error":"unhealthy","error_type":"healthcheck"}'),
        ("tgi", 429, b'{"error":"Model is overloaded","error_type":"overloaded"}'),
        ("unknown", 503, b"<html>loading</html>"),
        ("unknown", 503, b'{"detail":"No models are currently loaded."}'),
        ("unknown", 503, b'{"error":"downloading"}'),
        ("unknown", 503, b"x" * 5000 + b" loading"),
        ("unknown", 503, b""),
        ("sglang", 503, b'{"object":"error","message":"The request queue is full."}'),
        ("sglang", 500, b""),
    ],
)
def test_not_loading(engine: str, status: int, body: bytes) -> None:
    assert not engine_named(engine).is_loading(status, body)


@given(st.integers(0, 999), st.binary(max_size=60))
def test_any_answer_is_judged(status: int, body: bytes) -> None:
    for engine in ENGINES:
        assert not (engine.is_loading(status, body) and status not in (200, 503))
