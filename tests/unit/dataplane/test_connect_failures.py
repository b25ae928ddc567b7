"""Are the errors of system, resolver and TLS told in an owner's words?"""

from __future__ import annotations

import errno
import os
import socket
import ssl

import pytest

from app.services.dataplane.connect_failures import ConnectFailure, ConnectStage, explain, explain_all

HOST = "box.example"


def system_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def told(error: OSError, stage: ConnectStage = ConnectStage.CONNECTING) -> tuple[ConnectFailure, str]:
    failure = explain(error, stage, HOST, 5.0)
    assert str(failure) == failure.reason
    return failure.kind, failure.reason


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ECONNREFUSED, ConnectFailure.REFUSED, "connection refused"),
        (errno.ECONNRESET, ConnectFailure.RESET, "connection reset"),
        (errno.EPIPE, ConnectFailure.RESET, "connection reset"),
        (errno.ETIMEDOUT, ConnectFailure.TIMEOUT, "no answer"),
        (errno.EHOSTUNREACH, ConnectFailure.OTHER, "no route to host"),
        (errno.ENETUNREACH, ConnectFailure.OTHER, "no route to the network"),
        (errno.EPERM, ConnectFailure.OTHER, "a firewall on the gateway's machine forbids the connection"),
        (errno.EMFILE, ConnectFailure.OWN, "the gateway is out of file descriptors; raise its limit (ulimit -n)"),
        (errno.EPROTO, ConnectFailure.OTHER, os.strerror(errno.EPROTO)),
    ],
)
def test_a_system_error_has_words_and_a_kind(number: int, kind: ConnectFailure, words: str) -> None:
    assert told(system_error(number)) == (kind, words)


def test_errors_without_a_number() -> None:
    assert told(ConnectionResetError("lost")) == (ConnectFailure.RESET, "connection reset")
    assert told(OSError("odd")) == (ConnectFailure.OTHER, "the connection failed")


@pytest.mark.parametrize(
    ("stage", "kind", "words"),
    [
        (ConnectStage.RESOLVING, ConnectFailure.DNS, f"the name server gave no answer for {HOST} within 5 s"),
        (ConnectStage.CONNECTING, ConnectFailure.TIMEOUT, "no answer within 5 s"),
        (ConnectStage.SECURING, ConnectFailure.TIMEOUT, "connected, but no TLS handshake within 5 s"),
    ],
)
def test_the_deadline_tells_how_far_the_dial_came(stage: ConnectStage, kind: ConnectFailure, words: str) -> None:
    assert told(TimeoutError(), stage) == (kind, words)


def test_a_name_that_does_not_exist_is_told_from_a_name_server_that_does_not_answer() -> None:
    missing = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    silent = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    stage = ConnectStage.RESOLVING
    assert told(missing, stage) == (ConnectFailure.DNS, f"name does not resolve: {HOST}")
    assert told(silent, stage) == (ConnectFailure.DNS, f"the name server gave no answer for {HOST}")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("WRONG_VERSION_NUMBER", "TLS: the server does not speak TLS on this port; register it with http://"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "TLS: sslv3 alert handshake failure"),
        (None, "TLS: handshake failed"),
    ],
)
def test_a_tls_error_names_its_reason(reason: str | None, words: str) -> None:
    error = ssl.SSLError(1, "text")
    error.reason = reason
    assert told(error, ConnectStage.SECURING) == (ConnectFailure.TLS, words)


@pytest.mark.parametrize(
    ("numbers", "kind", "words"),
    [
        (
            [errno.ENETUNREACH, errno.ECONNREFUSED],
            ConnectFailure.REFUSED,
            "no route to the network; connection refused",
        ),
        ([errno.ECONNREFUSED, errno.ECONNREFUSED], ConnectFailure.REFUSED, "connection refused"),
        ([errno.EHOSTUNREACH, errno.ENETUNREACH], ConnectFailure.OTHER, "no route to host; no route to the network"),
    ],
)
def test_several_addresses_fail_as_one(numbers: list[int], kind: ConnectFailure, words: str) -> None:
    failure = explain_all([system_error(number) for number in numbers], HOST, 5.0)
    assert (failure.kind, failure.reason) == (kind, words)


def test_a_machine_without_ipv6_does_not_excuse_a_server_that_refuses() -> None:
    errors = [system_error(errno.EADDRNOTAVAIL), system_error(errno.ECONNREFUSED)]
    assert explain_all(errors, HOST, 5.0).kind is ConnectFailure.REFUSED
    assert explain_all(errors[:1], HOST, 5.0).kind is ConnectFailure.OWN
