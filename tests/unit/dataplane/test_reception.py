"""What is taken from a head for the choice of a server: the session, and whether the client asks why."""

from __future__ import annotations

import pytest

from app.services.core.choice.snapshot import EMPTY
from app.services.core.http.cors import CorsPolicy
from app.services.core.http.known_message import Variation
from app.services.core.keys import KeyRing
from app.services.dataplane.reception import Call, Reception

KEY = "test-admin-key-0123456789"
RECEPTION = Reception(KeyRing.with_admin(KEY), CorsPolicy(()), require_auth=True, max_body_bytes=1024)


def received(*headers: tuple[bytes, bytes]) -> Call:
    usual = [(b"host", b"gateway"), (b"authorization", f"Bearer {KEY}".encode()), (b"content-length", b"2")]
    call = RECEPTION.receive(b"POST", "/v1/chat/completions", [*usual, *headers], "1.1", "peer", EMPTY)
    assert isinstance(call, Call)
    return call


@pytest.mark.parametrize(
    ("value", "session"),
    [
        (b"alpha", b"alpha"),
        (b"a:b/c-1", b"a:b/c-1"),
        (b"x" * 256, b"x" * 256),
        (b"x" * 257, b""),
        (b"", b""),
        (b"two words", b""),
        (b"\xff", b""),
        (b"tab\there", b""),
    ],
)
def test_a_session_is_short_and_plain_or_none(value: bytes, session: bytes) -> None:
    assert received((b"x-session-id", value)).session == session


@pytest.mark.parametrize(
    ("value", "asks"), [(b"why", True), (b"WHY", True), (b" why ", True), (b"who", False), (b"", False)]
)
def test_only_why_asks_why(value: bytes, *, asks: bool) -> None:
    assert received((b"x-gateway-route", value)).asks_why is asks


def test_nothing_said_is_nothing_asked() -> None:
    call = received()
    assert (call.session, call.asks_why) == (b"", False)


def test_the_same_head_again_says_the_same() -> None:
    known = received((b"x-session-id", b"alpha"), (b"x-gateway-route", b"why"))
    again = RECEPTION.again(known, Variation(2, b"", b"", b""))
    assert (again.session, again.asks_why) == (b"alpha", True)
    assert again.request_id != known.request_id
