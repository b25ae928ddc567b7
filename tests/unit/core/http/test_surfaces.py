"""Surfaces: which path asks for what."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.errors import MethodNotAllowed, NotFound
from app.services.core.http.surfaces import INFERENCE_PATHS, PREFIX, Inference, ListModels, OneModel, Preflight, match


@pytest.mark.parametrize("path", sorted(INFERENCE_PATHS))
def test_inference_is_posted(path: str) -> None:
    assert match(b"POST", path) == Inference(path)
    assert match(b"OPTIONS", path) == Preflight(b"POST, OPTIONS")
    assert path.startswith(PREFIX.decode())


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"PATCH", b"TRACE", b"post", b"", b"\xff" * 99])
def test_inference_takes_no_other_method(method: bytes) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        match(method, "/v1/chat/completions")
    assert (caught.value.status, caught.value.param) == (405, "POST, OPTIONS")
    assert len(caught.value.message) < 100


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/"])
def test_models_are_listed(method: bytes, path: str) -> None:
    assert match(method, path) == ListModels()
    assert match(b"OPTIONS", path) == Preflight(b"GET, HEAD, OPTIONS")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", "/v1/models/llama"])
def test_models_are_not_written(path: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        match(b"POST", path)
    assert caught.value.param == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    ("tail", "name"),
    [
        ("llama", "llama"),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("meta-llama%2FLlama-3.1", "meta-llama/Llama-3.1"),
        ("llama3:8b", "llama3:8b"),
        ("llama3%3A8b", "llama3:8b"),
        ("a%20b+c", "a b+c"),
        ("%E2%82%AC", "\u20ac"),
        ("%e2%82%ac", "\u20ac"),
        ("\u20ac".encode().decode("latin-1"), "\u20ac"),
        ("\u20ac", "?"),
        ("%FF", "\ufffd"),
        ("%", "%"),
        ("%zz%2", "%zz%2"),
        ("%252F", "%2F"),
        ("%00", "\x00"),
        ("llama/", "llama/"),
        ("/", "/"),
        ("../../admin/servers", "../../admin/servers"),
        ("..%2f..%2fadmin", "../../admin"),
        ("models/llama", "models/llama"),
    ],
)
def test_an_id_is_taken_as_it_is_meant(tail: str, name: str) -> None:
    assert match(b"GET", "/v1/models/" + tail) == OneModel(name)


@given(st.text(min_size=1), st.sampled_from(["", "/", "/:"]))
def test_every_id_survives_its_quoting(name: str, safe: str) -> None:
    assert match(b"GET", "/v1/models/" + quote(name, safe=safe)) == OneModel(name)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/",
        "/v1//models",
        "/v1/modelsx",
        "/v1/model",
        "/v1/Models",
        "/v1/chat",
        "/v1/chat/completions/",
        "/v1/chat/completions/x",
        "/v1/chat%2Fcompletions",
        "/v1/../v1/chat/completions",
        "/v1/./chat/completions",
        "/v1/chat//completions",
        "/v1/admin/register",
        "/v1/v1/chat/completions",
        "/v1/" + "x" * 5000,
        "",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS"])
def test_other_paths_are_not_there(method: bytes, path: str) -> None:
    with pytest.raises(NotFound) as caught:
        match(method, path)
    assert (caught.value.status, caught.value.code) == (404, "unknown_path")
    assert "/v1/chat/completions" in caught.value.message
    assert "/v1/models" in caught.value.message
    assert len(caught.value.message) < 400


@given(
    st.sampled_from([b"GET", b"POST", b"OPTIONS"]) | st.binary(max_size=8),
    st.sampled_from(["/v1/models/", "/v1/", "/v1/chat/"]),
    st.binary(max_size=20).map(lambda tail: tail.decode("latin-1")),
)
def test_any_request_line_is_answered(method: bytes, front: str, tail: str) -> None:
    try:
        surface = match(method, front + tail)
    except (NotFound, MethodNotAllowed):
        surface = None
    assert surface is None or method in {b"GET", b"HEAD", b"POST", b"OPTIONS"}
