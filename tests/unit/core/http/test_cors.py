"""CORS: who may read answers in a browser, and what a preflight is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.http.cors import CorsPolicy

APP = b"https://app.example"
POLICY = CorsPolicy(("https://app.example", "http://localhost:3000"))
EVERYONE = CorsPolicy(("*",))


def fields(lines: bytes) -> dict[str, str]:
    """Parse header lines strictly: each ends in CRLF and stands there once."""
    assert not lines or lines.endswith(b"\r\n")
    pairs = [line.split(": ", 1) for line in lines.decode("latin-1").split("\r\n")[:-1]]
    assert len({name for name, _value in pairs}) == len(pairs)
    return dict(pairs)


@pytest.mark.parametrize("origin", [APP, b"http://localhost:3000"])
def test_a_listed_origin_is_named_back(origin: bytes) -> None:
    told = fields(POLICY.answer_headers(origin))
    assert told["access-control-allow-origin"] == origin.decode()
    assert told["vary"] == "origin"
    assert "X-Request-ID" in told["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in told


@pytest.mark.parametrize(
    "origin",
    [
        b"",
        b"null",
        b"*",
        b"https://app.example.evil.example",
        b"https://evil-app.example",
        b"https://evil.example/https://app.example",
        b"https://app.example@evil.example",
        b"http://app.example",
        b"https://app.example:444",
        b"https://APP.example",
        b"https://app.example/",
        b"https://app.example ",
        b"https://app.exampl",
        b"app.example",
        b"https://app.example, https://evil.example",
        b"https://app.example\r\nx-evil: 1",
    ],
)
def test_every_other_origin_is_told_nothing(origin: bytes) -> None:
    assert POLICY.answer_headers(origin) == b""
    assert POLICY.preflight_headers(origin, b"POST, OPTIONS", b"authorization") == b""


def test_without_origins_nobody_is_allowed() -> None:
    for origin in (b"", b"null", APP):
        assert CorsPolicy(()).answer_headers(origin) == b""


def test_null_is_allowed_only_where_it_is_listed() -> None:
    assert fields(CorsPolicy(("null",)).answer_headers(b"null"))["access-control-allow-origin"] == "null"


@pytest.mark.parametrize("policy", [EVERYONE, CorsPolicy(("https://app.example", "*"))])
@pytest.mark.parametrize("origin", [APP, b"null", b"https://evil.example", b"x\r\nx-evil: 1"])
def test_a_star_allows_everyone_alike(policy: CorsPolicy, origin: bytes) -> None:
    told = fields(policy.answer_headers(origin))
    assert told["access-control-allow-origin"] == "*"
    assert "vary" not in told
    assert policy.answer_headers(b"") == b""


def test_a_preflight_gets_the_methods_and_the_headers_it_asks_for() -> None:
    told = fields(POLICY.preflight_headers(APP, b"POST, OPTIONS", b"authorization,x-stainless-lang"))
    assert told["access-control-allow-origin"] == "https://app.example"
    assert told["access-control-allow-methods"] == "POST, OPTIONS"
    assert told["access-control-allow-headers"] == "authorization,x-stainless-lang"
    assert int(told["access-control-max-age"]) > 0


@pytest.mark.parametrize("requested", [b"", b"a\r\nx-evil: 1", b"a\nb", b"a: b", b"x" * 3000, b"\xff", b"a;b", b'a"b"'])
def test_a_preflight_with_strange_headers_gets_the_usual_ones(requested: bytes) -> None:
    told = fields(POLICY.preflight_headers(APP, b"POST, OPTIONS", requested))
    assert told["access-control-allow-headers"] == "authorization, content-type, x-api-key, x-request-id"


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_nothing_that_a_client_sends_breaks_a_header_line(origin: bytes, requested: bytes) -> None:
    for policy in (POLICY, EVERYONE):
        told = fields(policy.preflight_headers(origin, b"GET", requested))
        assert set(told) <= {
            "access-control-allow-origin",
            "access-control-expose-headers",
            "vary",
            "access-control-allow-methods",
            "access-control-allow-headers",
            "access-control-max-age",
        }
