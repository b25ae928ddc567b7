"""How does a command speak to a running gateway, and what does it make of each kind of failure?"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import httpx2

from app.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["GatewayAddress", "GatewayClient", "is_loopback_url"]

ANSWER_TIMEOUT_SECONDS: Final = 60.0
"""Registering waits for the server's own answer, so this is longer than any check may take."""
CONNECT_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """Where the gateway is and what opens it. ``key`` None sends no key; ``key_variable`` is where it was found."""

    url: str
    key: str | None = field(default=None, repr=False)
    key_variable: str = ""


def is_loopback_url(url: str) -> bool:
    """Whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class GatewayClient:
    """A small HTTP client whose failures are ``CommandFailed`` with the exit code that fits."""

    __slots__ = ("_address", "_http")

    def __init__(self, address: GatewayAddress, *, timeout_seconds: float = ANSWER_TIMEOUT_SECONDS) -> None:
        self._address = address
        headers = {"Authorization": f"Bearer {address.key}"} if address.key else {}
        try:
            self._http = httpx2.Client(
                base_url=address.url,
                headers=headers,
                timeout=httpx2.Timeout(timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS),
                # A proxy of the environment is for the world outside, not for a gateway on this machine.
                trust_env=not is_loopback_url(address.url),
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise _bad_url(address.url) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Send one request and return the JSON of its answer (None for 204).

        Raises:
            CommandFailed: 3 when nothing answers or what does is no gateway, 4 for 401 and 403, 1 for any other error
                that the gateway tells.
        """
        try:
            response = self._http.request(method, path, **options)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise _bad_url(self._address.url) from error
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise self._refused(response)
        if response.status_code == HTTPStatus.NO_CONTENT:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise self._not_a_gateway(response, "no JSON") from error

    def _unreachable(self, error: httpx2.TransportError) -> CommandFailed:
        if isinstance(error, httpx2.ReadTimeout):
            return CommandFailed(
                f"The gateway at {self._address.url} took the request but did not answer in time.",
                fix="Look at its log, and run `multiverse doctor` on its machine.",
                code=ExitCode.UNREACHABLE,
            )
        return CommandFailed(
            f"No gateway answers at {self._address.url} ({_in_words(error)}).",
            fix="Start one with `multiverse serve`, or name the right one with --gateway URL or GATEWAY_URL.",
            code=ExitCode.UNREACHABLE,
        )

    def _refused(self, response: httpx2.Response) -> CommandFailed:
        message = _error_message(response)
        if message is None:
            return self._not_a_gateway(response, f"{response.status_code} {response.reason_phrase}".rstrip())
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            fix = "Give a valid key with --key, GATEWAY_KEY or ADMIN_API_KEY."
            if self._address.key_variable:
                fix = f"The key came from {self._address.key_variable}; unset it to use data/admin.key."
            elif self._address.key is None:
                fix += " The gateway's first key lies in data/admin.key where it was started."
            return CommandFailed(message, fix=fix, code=ExitCode.UNAUTHORISED)
        if response.status_code == HTTPStatus.FORBIDDEN:
            return CommandFailed(message, fix="Use a key that may do this.", code=ExitCode.UNAUTHORISED)
        return CommandFailed(message)

    def _not_a_gateway(self, response: httpx2.Response, gave: str) -> CommandFailed:
        return CommandFailed(
            f"What answers at {self._address.url} is not a gateway: {response.request.url.path} gave {gave}.",
            fix="Name the gateway with --gateway URL or GATEWAY_URL.",
            code=ExitCode.UNREACHABLE,
        )


def _bad_url(url: str) -> CommandFailed:
    return CommandFailed(
        f"'{url}' is not the URL of a gateway.",
        fix="Write it as http://host:port or https://host.",
        code=ExitCode.USAGE,
    )


def _in_words(error: httpx2.TransportError) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__


def _error_message(response: httpx2.Response) -> str | None:
    """The gateway's own words, as they are; None where the answer is not of its form."""
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = None
    return message if isinstance(message, str) and message else None
