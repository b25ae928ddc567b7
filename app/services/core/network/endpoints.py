"""Is this URL well-formed, and which endpoint does it name?

A parser of our own, strict on purpose: URL libraries disagree on backslashes, user names, numeric hosts and white
space, and each disagreement is a way round a check. Whatever two readers could read differently is refused, whichever
networks are allowed:

* only ``http`` and ``https``; no user name, query, fragment, backslash, white space, control or non-ASCII character;
* a host is a DNS name (letters, digits, hyphens, and underscores as container names have them), a dotted quad without
  leading zeros, or IPv6 in brackets without a zone. A last label that is a number makes a host numeric (WHATWG URL,
  "ends in a number checker"), so that ``127.1`` or ``0x7f000001`` never reach a resolver that would read them;
* a port is 1 to 65535 in plain digits;
* a path has no empty and no dot segment, and percent-encodes nothing that would change its structure.

The result is canonical: ``parse_endpoint(parse_endpoint(url).url)`` is the same endpoint, and equal endpoints are one
server. Sources: RFC 3986, RFC 1123 (2.1), WHATWG URL (3.5).
"""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import IPv6Address

from app.services.core.errors import EndpointRefused
from app.services.core.types import Endpoint

__all__ = ["UrlRule", "parse_endpoint"]

_MAX_URL_CHARACTERS = 2048
_MAX_HOST_CHARACTERS = 253
_MAX_LABEL_CHARACTERS = 63
_MAX_PORT = 65535
_DEFAULT_PORTS = {"http": 80, "https": 443}
_EXAMPLE = "like http://gpu-box.example:8000"

_AUTHORITY_END = re.compile(r"[/?#]")
_DIGITS = re.compile(r"[0-9]+")
_NUMBER_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_DOTTED_QUAD = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_IPV6_CHARACTERS = re.compile(r"[0-9a-f:.]+")
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9_~-]")


class UrlRule(StrEnum):
    """Which rule a URL broke: the code that ``EndpointRefused`` carries."""

    SCHEME = "url_scheme"
    USERINFO = "url_userinfo"
    WHITE_SPACE = "url_white_space"
    BACKSLASH = "url_backslash"
    NOT_ASCII = "url_not_ascii"
    TOO_LONG = "url_too_long"
    HOST = "url_host"
    NUMERIC_HOST = "url_numeric_host"
    PORT = "url_port"
    QUERY = "url_query"
    PATH = "url_path"


def parse_endpoint(url: str) -> Endpoint:
    """Read ``url`` strictly and bring it into canonical form.

    A trailing ``/v1`` and trailing slashes are dropped, other prefixes kept: ``https://Host/llm/v1/`` is
    ``https://host/llm``. IPv4-mapped IPv6 becomes the dotted quad that it reaches.

    Raises:
        EndpointRefused: the form is refused; the message names the fix and the code the rule. It never repeats what
            might be a password.
    """
    _check_characters(url)
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _DEFAULT_PORTS:
        raise _refused(UrlRule.SCHEME, f"The endpoint_url must start with http:// or https://, {_EXAMPLE}.")
    end = _AUTHORITY_END.search(rest)
    authority, path = (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
    if "@" in authority:
        fix = "Remove the part before '@', and give the server's key as api_key"
        raise _refused(UrlRule.USERINFO, f"The endpoint_url must not hold a user name or password. {fix}.")
    host, port_text = _split_port(authority)
    port = _DEFAULT_PORTS[scheme] if port_text is None else _parse_port(port_text)
    return Endpoint(scheme=scheme, host=_parse_host(host), port=port, base_path=_parse_path(path))


def _refused(rule: UrlRule, message: str) -> EndpointRefused:
    return EndpointRefused(message, param="endpoint_url", code=rule.value)


def _check_characters(url: str) -> None:
    """Refuse what no part of a URL may hold. Judged before anything is split, so that no splitter can be misled."""
    if len(url) > _MAX_URL_CHARACTERS:
        raise _refused(UrlRule.TOO_LONG, f"The endpoint_url is over {_MAX_URL_CHARACTERS} characters long. Shorten it.")
    if any(character.isspace() or not character.isprintable() for character in url):
        fix = "Remove spaces, tabs, line breaks and invisible characters"
        raise _refused(UrlRule.WHITE_SPACE, f"The endpoint_url holds white space or a control character. {fix}.")
    if "\\" in url:
        raise _refused(UrlRule.BACKSLASH, "The endpoint_url holds a backslash. Write every slash as '/'.")
    if not url.isascii():
        fix = "Write a host in its xn-- form (Punycode) and percent-encode the path"
        raise _refused(UrlRule.NOT_ASCII, f"The endpoint_url holds characters outside ASCII. {fix}.")


def _split_port(authority: str) -> tuple[str, str | None]:
    """Split ``host[:port]``. The host keeps its brackets; the port is None where no colon announces one."""
    if authority.startswith("["):
        inside, bracket, after = authority.partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise _refused(UrlRule.HOST, "The brackets in the endpoint_url are wrong. Write http://[2001:db8::5]:8000.")
        return inside + bracket, after[1:] if after else None
    host, colon, port = authority.partition(":")
    if ":" in port:
        fix = "Write an IPv6 address in brackets: http://[2001:db8::5]:8000"
        raise _refused(UrlRule.HOST, f"The endpoint_url holds more than one colon after the host. {fix}.")
    return host, port if colon else None


def _parse_port(text: str) -> int:
    if not text:
        raise _refused(UrlRule.PORT, "The endpoint_url has ':' but no port after it. Add the port or drop the ':'.")
    if not _DIGITS.fullmatch(text):
        raise _refused(UrlRule.PORT, "The port in the endpoint_url is not a number. Write plain digits, 1 to 65535.")
    significant = text.lstrip("0")
    if not significant or len(significant) > len(str(_MAX_PORT)) or int(significant) > _MAX_PORT:
        raise _refused(UrlRule.PORT, "The port in the endpoint_url is out of range. Use 1 to 65535.")
    if significant != text:
        raise _refused(UrlRule.PORT, f"The port in the endpoint_url has leading zeros. Write {significant}.")
    return int(significant)


def _parse_host(text: str) -> str:
    if not text:
        raise _refused(UrlRule.HOST, f"The endpoint_url has no host. Write one after http://, {_EXAMPLE}.")
    if "%" in text:
        fix = "Write it in plain characters; an IPv6 address without the zone after '%'"
        raise _refused(UrlRule.HOST, f"The host in the endpoint_url holds '%'. {fix}.")
    host = text.lower()
    if host.startswith("["):
        return _parse_ipv6(host[1:-1])
    name = host.removesuffix(".")
    if _NUMBER_LABEL.fullmatch(name.rpartition(".")[2]):
        if not _DOTTED_QUAD.fullmatch(host):
            fix = "Write an IPv4 address as four decimal numbers without leading zeros, like 10.0.0.5"
            raise _refused(UrlRule.NUMERIC_HOST, f"'{host[:64]}' is not a way to write an address here. {fix}.")
        return host
    return _parse_name(name)


def _parse_ipv6(text: str) -> str:
    fix = "Write it like http://[2001:db8::5]:8000"
    if not _IPV6_CHARACTERS.fullmatch(text):
        raise _refused(UrlRule.HOST, f"What stands in brackets in the endpoint_url is not an IPv6 address. {fix}.")
    try:
        address = IPv6Address(text)
    except ValueError as error:
        raise _refused(UrlRule.HOST, f"'[{text[:64]}]' is not an IPv6 address. {fix}.") from error
    return str(address if address.ipv4_mapped is None else address.ipv4_mapped)


def _parse_name(name: str) -> str:
    """Check a DNS name in lower case, whose one trailing dot is gone already (RFC 1123, 2.1)."""
    labels = name.split(".")
    if len(name) > _MAX_HOST_CHARACTERS or any(len(label) > _MAX_LABEL_CHARACTERS for label in labels):
        limits = f"{_MAX_HOST_CHARACTERS} characters in all and {_MAX_LABEL_CHARACTERS} between two dots"
        raise _refused(UrlRule.HOST, f"The host in the endpoint_url is too long. DNS takes {limits}.")
    if not all(_LABEL.fullmatch(label) for label in labels):
        allowed = "letters, digits, hyphens (inside) and underscores, with single dots between"
        raise _refused(UrlRule.HOST, f"The host in the endpoint_url is not a DNS name. Use {allowed}.")
    return name


def _parse_path(text: str) -> str:
    """Bring what follows the authority into canonical form: empty, or ``/prefix`` without ``/v1``."""
    if "#" in text or "?" in text:
        fix = "Remove '?' or '#' and all that follows"
        raise _refused(UrlRule.QUERY, f"The endpoint_url must not hold a query or a fragment. {fix}.")
    if not _PATH.fullmatch(text):
        raise _refused(UrlRule.PATH, "A character in the endpoint_url may not stand in a path. Percent-encode it.")
    path = _PERCENT.sub(_canonical_percent, text).rstrip("/")
    if any(segment in {"", ".", ".."} for segment in path.split("/")[1:]):
        fix = "Write the path without '//', '/./' and '/../'"
        raise _refused(UrlRule.PATH, f"The path in the endpoint_url is ambiguous. {fix}.")
    base_path = path.removesuffix("/v1")
    if base_path.endswith("/v1"):
        raise _refused(UrlRule.PATH, "The path in the endpoint_url ends in /v1/v1. Write /v1 once, or leave it out.")
    return base_path


def _canonical_percent(match: re.Match[str]) -> str:
    """One spelling for each octet (RFC 3986, 6.2.2): unreserved ones plain, others in upper-case hexadecimal."""
    code_point = int(match[1], 16)
    character = chr(code_point)
    if code_point <= ord(" ") or character in "./\\%\x7f":
        fix = "Write dots and slashes plainly, and leave out white space"
        raise _refused(UrlRule.PATH, f"The path in the endpoint_url may not hold '%{match[1]}'. {fix}.")
    return character if _UNRESERVED.fullmatch(character) else f"%{match[1].upper()}"
