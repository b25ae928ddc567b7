"""Does each way in which a gateway can fail end with the right code and words?"""

from __future__ import annotations

import socket

import pytest

from app.cli.exits import CommandFailed, ExitCode
from app.cli.gateway_client import GatewayAddress, GatewayClient, is_loopback_url


def failure(url: str, **options: float) -> CommandFailed:
    with GatewayClient(GatewayAddress(url, "key"), **options) as client, pytest.raises(CommandFailed) as caught:
        client.request("GET", "/admin/servers")
    return caught.value


def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = failure(f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert found.code is ExitCode.UNREACHABLE
    assert "No gateway answers" in found.message
    assert "multiverse serve" in found.fix


def test_no_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = failure(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=0.05)
    assert found.code is ExitCode.UNREACHABLE
    assert "did not answer in time" in found.message


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, ExitCode.UNAUTHORISED), (403, ExitCode.UNAUTHORISED), (404, ExitCode.FAILED), (503, ExitCode.FAILED)],
)
def test_the_gateways_words_are_passed_on(gateway, status: int, code: ExitCode) -> None:
    gateway.answers["GET", "/admin/servers"] = (status, {"error": {"message": "Its own words."}})
    found = failure(gateway.url)
    assert (found.message, found.code) == ("Its own words.", code)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", {"error": "flat"}, {"error": {"message": 7}}])
@pytest.mark.parametrize("status", [401, 404, 502])
def test_an_error_that_is_not_the_gateways_own_is_someone_elses(gateway, body: object, status: int) -> None:
    gateway.answers["GET", "/admin/servers"] = (status, body)
    found = failure(gateway.url)
    assert found.message.startswith(f"What answers at {gateway.url} is not a gateway: /admin/servers gave {status} ")
    assert found.code is ExitCode.UNREACHABLE


def test_something_else_that_answers_is_no_gateway(gateway) -> None:
    gateway.answers["GET", "/admin/servers"] = (200, b"<html>")
    found = failure(gateway.url)
    assert found.code is ExitCode.UNREACHABLE
    assert "is not a gateway" in found.message


@pytest.mark.parametrize("url", ["gateway", "ftp://127.0.0.1", "http://[", "http://host:port"])
def test_a_bad_url_is_wrong_usage(url: str) -> None:
    with pytest.raises(CommandFailed) as caught, GatewayClient(GatewayAddress(url)) as client:
        client.request("GET", "/health")
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8000", True),
        ("http://localhost", True),
        ("http://10.0.0.1", False),
        ("https://localhost.example.org", False),
        ("nonsense", False),
    ],
)
def test_this_machine_is_known(url: str, loopback: bool) -> None:
    assert is_loopback_url(url) is loopback


def test_the_key_is_not_in_the_address_as_text() -> None:
    assert "secret-key" not in repr(GatewayAddress("http://127.0.0.1", "secret-key"))
