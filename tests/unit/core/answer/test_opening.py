"""Openings: what status and headers of an answer promise."""

from __future__ import annotations

import pytest

from app.services.core.answer.opening import Events, Failed, Opening, Unusable, Whole, judge_opening
from app.services.core.retry import Failure

JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")


def judge(status: int, *headers: tuple[bytes, bytes], wants_stream: bool = False) -> Opening:
    return judge_opening(status, headers, wants_stream=wants_stream)


@pytest.mark.parametrize(
    "content_type",
    [b"text/event-stream", b"text/event-stream;charset=utf-8", b"Text/Event-Stream", b" text/event-stream"],
)
def test_a_stream_is_events(content_type: bytes) -> None:
    assert judge(200, (b"content-type", content_type), wants_stream=True) == Events()
    assert isinstance(judge(200, (b"content-type", content_type)), Unusable)


@pytest.mark.parametrize("headers", [(), (JSON, (b"server", b"uvicorn")), ((b"content-type", b"text/plain"),)])
def test_what_is_no_stream_is_a_whole_answer(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    assert judge(200, *headers) == Whole()
    assert judge(201, *headers) == Whole()
    assert isinstance(judge(200, *headers, wants_stream=True), Unusable)


@pytest.mark.parametrize("status", [400, 402, 409, 413, 418, 422, 499])
@pytest.mark.parametrize("wants_stream", [False, True])
def test_a_refusal_is_whole_whatever_was_asked_for(status: int, wants_stream: bool) -> None:
    assert judge(status, JSON, wants_stream=wants_stream) == Whole()
    assert judge(status, EVENTS, wants_stream=wants_stream) == Whole()
    assert judge(status, wants_stream=wants_stream) == Whole()


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"identity, gzip", b"deflate"])
def test_a_compressed_answer_is_of_no_use(status: int, encoding: bytes) -> None:
    assert isinstance(judge(status, JSON, (b"content-encoding", encoding)), Unusable)


@pytest.mark.parametrize("encoding", [b"", b"identity", b" Identity "])
def test_an_encoding_that_changes_nothing_is_fine(encoding: bytes) -> None:
    assert judge(200, JSON, (b"content-encoding", encoding)) == Whole()


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (500, Failure.FAILED),
        (503, Failure.OVERLOADED),
        (429, Failure.OVERLOADED),
        (401, Failure.CREDENTIALS),
        (404, Failure.NOT_SERVED),
        (302, Failure.BROKEN),
    ],
)
def test_a_status_of_failure_needs_no_look_at_the_rest(status: int, failure: Failure) -> None:
    assert judge(status, EVENTS, (b"content-encoding", b"gzip"), wants_stream=True) == Failed(failure, None)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"7", 7),
        (b"0", 0),
        (b" 30 ", 30),
        (b"99999", 99999),
        (b"100000", None),
        (b"9" * 5000, None),
        (b"-1", None),
        (b"1.5", None),
        (b"", None),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", None),
        (b"\xb2", None),
    ],
)
def test_reads_how_long_a_server_wants_to_be_left_alone(value: bytes, seconds: int | None) -> None:
    assert judge(503, (b"retry-after", value)) == Failed(Failure.OVERLOADED, seconds)
