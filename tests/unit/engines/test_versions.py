"""Where an engine's own version is found."""

from __future__ import annotations

import pytest

from app.services.engines.versions import version_in, version_paths


@pytest.mark.parametrize(
    ("engine", "paths"),
    [
        ("vllm", ("/version",)),
        ("sglang", ("/server_info", "/get_server_info")),
        ("tgi", ("/info",)),
        ("llama.cpp", ("/props",)),
        ("ollama", ("/api/version",)),
        ("mlx-lm", ()),
        ("unknown", ()),
        ("", ()),
    ],
)
def test_each_engine_is_asked_where_it_tells(engine: str, paths: tuple[str, ...]) -> None:
    assert version_paths(engine) == paths


@pytest.mark.parametrize(
    ("engine", "path", "body", "version"),
    [
        ("vllm", "/version", b'{"version": "0.11.0rc2.dev1+gabc"}', "0.11.0rc2.dev1+gabc"),
        ("llama.cpp", "/props", b'{"build_info": "b8681-Debian"}', "b8681-Debian"),
        ("vllm", "/props", b'{"build_info": "b1", "version": "1"}', ""),
        ("unknown", "/version", b'{"version": "1"}', ""),
        ("vllm", "/version", b'{"version": 7}', ""),
        ("vllm", "/version", b'{"version": null}', ""),
        ("vllm", "/version", b'["version"]', ""),
        ("vllm", "/version", b"", ""),
        ("vllm", "/version", b"\xff\xfe", ""),
        ("vllm", "/version", b"[" * 5000, ""),
        ("vllm", "/version", b'{"version": "1\\n2\\u0000\\u202e3"}', "1 2 3"),
        ("vllm", "/version", b'{"version": "' + b"9" * 5000 + b'"}', "9" * 100),
    ],
)
def test_a_version_is_one_short_readable_line(engine: str, path: str, body: bytes, version: str) -> None:
    assert version_in(engine, path, body) == version
