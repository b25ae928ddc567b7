"""Forwarding: the client's bytes go on as they came, but for the name and the wish for figures."""

from __future__ import annotations

import json

import pytest

from app.services.core.answer.forwarding import forwarded_body
from app.services.core.answer.splice import MAX_TOKENS
from app.services.core.errors import RequestInvalid
from app.services.core.http.peek import peek
from app.services.core.types import ModelEntry

SAME = ModelEntry("llama", "llama")
RENAMED = ModelEntry("llama", 'meta/"Llama" \u20ac')


def forward(body: bytes, model: ModelEntry = SAME, *, ask_usage: bool = True) -> tuple[bytes, bool]:
    return forwarded_body(body, peek(body, 64), model, ask_usage=ask_usage)


@pytest.mark.parametrize(
    "body",
    [
        b'{ "model": "llama", "stream": false, "x": 1.0 }',
        b'{"model":"llama","stream":null}',
        b'{"model":"llama","stream_options":{"include_usage":false}}',
        b'{"model":"llama","stream":true,"stream_options":{"include_usage":true}}',
    ],
)
def test_what_needs_no_splice_goes_on_untouched(body: bytes) -> None:
    forwarded, asked = forward(body)
    assert forwarded is body
    assert not asked


def test_the_server_gets_its_own_name() -> None:
    body = b'{ "messages":[{"model":"llama"}], "mod\\u0065l" : "llama" , "n":1}'
    forwarded, asked = forward(body, RENAMED)
    assert forwarded == body.replace(b' "llama" ,', ' "meta/\\"Llama\\" \u20ac" ,'.encode())
    assert json.loads(forwarded)["model"] == RENAMED.upstream_name
    assert not asked


@pytest.mark.parametrize(
    ("options", "forwarded"),
    [
        (b"", b'{"stream_options":{"include_usage":true},"model":"llama","stream":true}'),
        (b',"stream_options":null', b'{"model":"llama","stream":true,"stream_options":{"include_usage":true}}'),
        (b',"stream_options":{}', b'{"model":"llama","stream":true,"stream_options":{"include_usage":true}}'),
        (
            b',"stream_options": {"include_usage" :false}',
            b'{"model":"llama","stream":true,"stream_options": {"include_usage" :true}}',
        ),
        (
            b',"stream_options":{ "continuous_usage_stats":false }',
            b'{"model":"llama","stream":true,"stream_options":{"include_usage":true, "continuous_usage_stats":false }}',
        ),
        (
            b',"stream_options":{"a":{"include_usage":false},"include_usage":null}',
            b'{"model":"llama","stream":true,"stream_options":{"a":{"include_usage":false},"include_usage":true}}',
        ),
    ],
)
def test_figures_are_asked_for_and_other_options_stay(options: bytes, forwarded: bytes) -> None:
    body = b'{"model":"llama","stream":true' + options + b"}"
    assert forward(body) == (forwarded, True)
    assert peek(forwarded, 64).wants_usage


def test_name_and_wish_are_spliced_together() -> None:
    forwarded, asked = forward(b' {"model":"llama","stream":true}', RENAMED)
    assert asked
    assert json.loads(forwarded) == {
        "stream_options": {"include_usage": True},
        "model": RENAMED.upstream_name,
        "stream": True,
    }


def test_a_server_that_takes_no_options_is_not_asked() -> None:
    body = b'{"model":"llama","stream":true}'
    assert forward(body, ask_usage=False) == (body, False)


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (b'{"model":"llama","model":"llama"}', "model"),
        (rb'{"model":"llama","mod\u0065l":"llama"}', "model"),
        (b'{"model":"llama","stream":true,"stream_options":null,"stream_options":{}}', "stream_options"),
        (
            b'{"model":"llama","stream":true,"stream_options":{"include_usage":null,"include_usage":false}}',
            "include_usage",
        ),
    ],
)
def test_a_member_to_replace_that_stands_twice_is_refused(body: bytes, member: str) -> None:
    with pytest.raises(RequestInvalid, match=f"'{member}' appears twice") as caught:
        forward(body, RENAMED)
    assert caught.value.code == "duplicate_member"
    assert caught.value.status == 400


MANY = b'"b":[],' * (MAX_TOKENS // 3)


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (rb'{"\u0061":1,' + MANY + b'"model":"llama"}', "'model'"),
        (b'{"a":{"model":1},' + MANY + b'"model":"llama"}', "'model'"),
        (
            b'{"a":{"model":1},"stream":true,"stream_options":null,' + MANY + b'"model":"llama"}',
            "'model' and 'stream_options'",
        ),
        (b'{"model":"llama","stream":true,"stream_options":{' + MANY + b'"c":1}}', "'stream_options'"),
        (b'{"model":"llama","stream":true,"stream_options":{"a":"' + b"x" * 65536 + b'"}}', "'stream_options'"),
    ],
)
def test_a_body_that_would_hold_up_all_others_is_refused(body: bytes, member: str) -> None:
    with pytest.raises(RequestInvalid, match=f"too complex to find .*{member} in it.* before all else") as caught:
        forward(body, RENAMED)
    assert caught.value.code == "too_complex"
    assert caught.value.status == 400


def test_a_large_body_of_the_usual_kind_is_not_refused() -> None:
    body = b'{"model":"llama",' + MANY + rb'"c":"\u003c","stream":true}'
    forwarded, asked = forward(body, RENAMED)
    assert asked
    assert len(forwarded) > len(body)
