"""Which forms may the value of a setting have? The types of settings, each with the words of its rule.

A type is an ``Annotated`` alias: what pydantic validates with, and a :class:`Form` that says in words what is
expected. Those words are the fix in an error message and the columns of the documentation, so they can't drift apart.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

__all__ = [
    "Bytes",
    "Count",
    "Credential",
    "Days",
    "EncryptionKey",
    "ExistingFile",
    "FilePath",
    "Form",
    "HeaderNames",
    "HeaderPairs",
    "Host",
    "HttpUrl",
    "IPNetwork",
    "LogFormat",
    "LogLevel",
    "Networks",
    "Origins",
    "Ratio",
    "SecondsFromZero",
    "SecondsSetting",
    "SqliteUrl",
    "Switch",
    "Words",
    "sqlite_path",
]

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_ONE_DAY_SECONDS = 86_400
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?", re.ASCII)
_CREDENTIAL = re.compile(r"[\x21-\x7e]{16,256}")
_SQLITE_URL = re.compile(r"sqlite(?:\+aiosqlite)?:///(?P<path>[^?#\x00]+)")
_ENCRYPTION_KEY_BYTES = 32
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HEADER_PAIRS = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+=[ -+\--~]+(?:,\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+=[ -+\--~]+)*")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,64}")
_RESERVED_HEADERS = frozenset(
    ("authorization", "x-api-key", "cookie", "host", "connection", "content-length", "content-type", "expect", "te",
     "transfer-encoding", "upgrade", "via", "origin", "x-request-id", "x-forwarded-for", "traceparent", "tracestate",
     "x-session-id", "x-gateway-route", "x-gateway-trust")
)  # fmt: skip
_WORDS = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")


@dataclass(frozen=True, slots=True)
class Form:
    """What a setting takes, in words.

    Args:
        kind: the column "type" of the documentation.
        rule: what the value must be, without "must be"; empty where pydantic's bounds say it (numbers, choices).
        is_secret: whether a value of this form may never be shown.
    """

    kind: str
    rule: str = ""
    is_secret: bool = False


def _host(value: str) -> str:
    """Accept an IP literal (brackets are taken off) or a host name."""
    bare = value.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        if _HOST_NAME.fullmatch(value) and not value.replace(".", "").isdigit():
            return value
    raise ValueError("must be an IP address or a host name, such as 127.0.0.1, 0.0.0.0, :: or localhost")


def _split(value: object) -> object:
    """Turn ``a, b,`` into ``("a", "b")``; anything but a string passes as it is."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _networks(values: tuple[object, ...]) -> tuple[IPNetwork, ...]:
    return tuple(_network(value) for value in values)


def _network(value: object) -> IPNetwork:
    """Read one address or CIDR. Bits behind the prefix are refused: they are a typing error more often than not."""
    text = str(value)
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass  # find out below which advice fits
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"'{text}' is not a network; write CIDRs or addresses separated by commas, such as 10.0.0.0/8,192.168.1.7"
        ) from None
    raise ValueError(f"'{text}' has bits set behind its prefix; write {network}")


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_origin(value) for value in values)


def _origin(value: str) -> str:
    """Bring one origin into the form that browsers send (RFC 6454, 6.2): lower case, no default port, no slash."""
    if value == "*":
        return value
    advice = f"'{value}' is not an origin; write scheme://host[:port] without a path, or * for all"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(advice) from None
    host = parts.hostname or ""
    beside = parts.username is not None or parts.path not in {"", "/"} or bool(parts.query or parts.fragment)
    if parts.scheme not in _DEFAULT_PORTS or beside or not (_HOST_NAME.fullmatch(host) or ":" in host):
        raise ValueError(advice)
    literal = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{literal}" + ("" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}")


def _http_url(value: str) -> str:
    """Accept the base URL of a service; a slash at its end is taken off."""
    advice = "must be a URL as http://host:port or https://host, without user, query or fragment"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(advice) from None
    host = parts.hostname or ""
    beside = parts.username is not None or bool(parts.query or parts.fragment) or port == 0
    if parts.scheme not in _DEFAULT_PORTS or beside or not (_HOST_NAME.fullmatch(host) or ":" in host):
        raise ValueError(advice)
    return value.rstrip("/")


def _header_pairs(value: SecretStr) -> SecretStr:
    """Check the form of headers, which hold keys. The message never holds the value."""
    if not _HEADER_PAIRS.fullmatch(value.get_secret_value()):
        raise ValueError("must be headers as name=value, separated by commas")
    return value


def _header_names(values: tuple[str, ...]) -> tuple[str, ...]:
    """Take names of headers, in lower case as they are compared; those that mean something else already are refused."""
    names = tuple(value.lower() for value in values)
    for name in names:
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"'{name}' is not the name of a header; write names separated by commas, such as X-User")
        if name in _RESERVED_HEADERS:
            raise ValueError(f"'{name}' means something else already; name another header")
    return names


def _words(value: str) -> str:
    if not _WORDS.fullmatch(value):
        raise ValueError("must be 1 to 128 printable ASCII characters")
    return value


def sqlite_path(url: str) -> Path:
    """Give the file that a database URL names: three slashes for a relative path, four for an absolute one.

    Raises:
        ValueError: it is not SQLite, names no file, or carries parameters.
    """
    match = _SQLITE_URL.fullmatch(url)
    if match and match["path"] != ":memory:":
        return Path(match["path"])
    if not url.startswith(("sqlite:", "sqlite+aiosqlite:")):
        raise ValueError("this release supports SQLite only; write sqlite:///./gateway.db or sqlite:////absolute/path")
    raise ValueError("must name a file and nothing else, such as sqlite:///./gateway.db or sqlite:////absolute/path")


def _sqlite_url(value: str) -> str:
    sqlite_path(value)
    return value


def _credential(value: SecretStr) -> SecretStr:
    """Check the form of a key that an operator chose. The message never holds the value."""
    if not _CREDENTIAL.fullmatch(value.get_secret_value()):
        raise ValueError("must be 16 to 256 visible ASCII characters without white space")
    return value


def _encryption_key(value: SecretStr) -> SecretStr:
    """Check that the value is 32 bytes in base64, plain or URL-safe, and bring it into the plain alphabet."""
    plain = value.get_secret_value().replace("-", "+").replace("_", "/")
    try:
        decoded = base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) != _ENCRYPTION_KEY_BYTES:
        raise ValueError("must be 32 bytes in base64 (44 characters); `openssl rand -base64 32` makes one")
    return SecretStr(plain)


def _existing_file(value: Path) -> Path:
    path = value.expanduser()
    try:
        found = path.is_file()
    except OSError:
        found = False
    if not found:
        raise ValueError("must be a file that exists and that the gateway may read")
    return path


def _level(value: object) -> object:
    """Take a level in any case; what is none is left as it was written, for the error to show."""
    upper = value.strip().upper() if isinstance(value, str) else value
    return upper if upper in get_args(_Levels) else value


def _format(value: object) -> object:
    """Take a format in any case, as :func:`_level` does."""
    lower = value.strip().lower() if isinstance(value, str) else value
    return lower if lower in get_args(_Formats) else value


_Levels = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
_Formats = Literal["console", "json"]
LogLevel = Annotated[_Levels, BeforeValidator(_level), Form("choice")]
LogFormat = Annotated[_Formats, BeforeValidator(_format), Form("choice")]
Count = Annotated[int, Form("whole number")]
Bytes = Annotated[int, Form("bytes")]
Days = Annotated[int, Form("days")]
Ratio = Annotated[float, Field(allow_inf_nan=False), Form("number")]
Switch = Annotated[bool, Form("boolean", "true or false")]
SecondsSetting = Annotated[float, Field(ge=0.1, le=_ONE_DAY_SECONDS, allow_inf_nan=False), Form("seconds")]
SecondsFromZero = Annotated[float, Field(ge=0, le=_ONE_DAY_SECONDS, allow_inf_nan=False), Form("seconds")]
Host = Annotated[str, AfterValidator(_host), Form("host", "an IP address or a host name")]
FilePath = Annotated[
    Path, AfterValidator(Path.expanduser), Form("path", "a path; relative ones start in the working directory")
]
ExistingFile = Annotated[Path, AfterValidator(_existing_file), Form("path", "a file that exists")]
SqliteUrl = Annotated[
    str, AfterValidator(_sqlite_url), Form("URL", "sqlite:///relative/path or sqlite:////absolute/path")
]
Credential = Annotated[
    SecretStr, AfterValidator(_credential), Form("secret", "16 to 256 visible ASCII characters", is_secret=True)
]
EncryptionKey = Annotated[
    SecretStr, AfterValidator(_encryption_key), Form("secret", "32 bytes in base64", is_secret=True)
]
Networks = Annotated[
    tuple[IPNetwork, ...],
    NoDecode,
    BeforeValidator(_networks),
    BeforeValidator(_split),
    Form("list", "CIDRs or addresses, separated by commas"),
]
Origins = Annotated[
    tuple[str, ...],
    NoDecode,
    AfterValidator(_origins),
    BeforeValidator(_split),
    Form("list", "origins as scheme://host[:port], separated by commas, or *"),
]
HttpUrl = Annotated[str, AfterValidator(_http_url), Form("URL", "http(s)://host:port")]
HeaderNames = Annotated[
    tuple[str, ...],
    NoDecode,
    AfterValidator(_header_names),
    BeforeValidator(_split),
    Form("list", "names of headers, separated by commas"),
]
HeaderPairs = Annotated[
    SecretStr, AfterValidator(_header_pairs), Form("secret", "name=value pairs, separated by commas", is_secret=True)
]
Words = Annotated[str, AfterValidator(_words), Form("text", "1 to 128 printable ASCII characters")]
