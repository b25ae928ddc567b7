"""Who is asking, and is a key well-formed?

A minted key is ``mvk_``, 30 base-62 characters of randomness (178 bits) and 6 of CRC32 over those 30. The checksum
tells a typing error from an intruder. Keys are kept as SHA-256: at this entropy a slow hash would only tire us. The
operator's own ``ADMIN_API_KEY`` may have any form of 16 to 256 visible ASCII characters.

A credential comes as ``Authorization: Bearer <key>`` (RFC 6750, 2.1) or ``X-API-Key: <key>``. ``extract_credential`` is
the only reader of both, for every route: a second reader is how a limit or a revocation gets forgotten on one of them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING

from app.services.core.errors import NotAuthenticated
from app.services.core.people.principal import Principal, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "ADMIN_KEY_MIN_CHARACTERS",
    "CREDENTIAL_HEADERS",
    "KEY_MAX_CHARACTERS",
    "RANDOM_BYTES",
    "KeyForm",
    "KeyRing",
    "Principal",
    "Role",
    "digest",
    "display",
    "extract_credential",
    "looks_minted",
    "mint",
]

RANDOM_BYTES = 32
"""How many random bytes ``mint`` takes: so many more than 62^30 needs that the remainder is not skewed (2^-77)."""
KEY_MAX_CHARACTERS = 256
ADMIN_KEY_MIN_CHARACTERS = 16

_PREFIX = "mvk_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_CHARACTERS = 30
_CHECKSUM_CHARACTERS = 6
_SHOWN_CHARACTERS = 4
_MINTED = re.compile(rf"{_PREFIX}([0-9A-Za-z]{{{_RANDOM_CHARACTERS}}})([0-9A-Za-z]{{{_CHECKSUM_CHARACTERS}}})")
_CREDENTIAL = re.compile(rb"[\x21-\x7e]{1,%d}" % KEY_MAX_CHARACTERS)
_AUTHORIZATION = b"authorization"
_X_API_KEY = b"x-api-key"
CREDENTIAL_HEADERS = frozenset((_AUTHORIZATION, _X_API_KEY))
"""The headers that ``extract_credential`` looks at."""
_BEARER = b"bearer"
_HOW_TO_SEND = "Send your key as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'."


class KeyForm(Enum):
    """What the form of a key says about its origin."""

    MINTED = auto()
    """Ours by form and checksum; whether it is known is another question."""
    MISTYPED = auto()
    """Begins like ours, but a character is wrong, missing or too many."""
    FOREIGN = auto()
    """Not of our form: an operator's own key, or another service's."""


def mint(random_bytes: bytes) -> str:
    """Make a key out of randomness; the same bytes make the same key.

    Raises:
        ValueError: fewer than ``RANDOM_BYTES`` bytes were given.
    """
    if len(random_bytes) < RANDOM_BYTES:
        raise ValueError(f"A key takes {RANDOM_BYTES} random bytes, not {len(random_bytes)}")
    secret = _base62(int.from_bytes(random_bytes, "big"), _RANDOM_CHARACTERS)
    return _PREFIX + secret + _checksum(secret)


def looks_minted(key: str) -> KeyForm:
    """Judge a key by its form and checksum alone."""
    if key[: len(_PREFIX)].lower() != _PREFIX:
        return KeyForm.FOREIGN
    match = _MINTED.fullmatch(key)
    return KeyForm.MINTED if match is not None and _checksum(match[1]) == match[2] else KeyForm.MISTYPED


def digest(key: str | bytes) -> bytes:
    """SHA-256 of the key: 32 bytes, what is stored and looked up."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).digest()


def display(key: str) -> str:
    """What may be shown of a key ever after: ``mvk_...wxyz``. A short foreign key shows nothing of itself."""
    prefix = "" if looks_minted(key) is KeyForm.FOREIGN else _PREFIX
    return f"{prefix}...{key[-_SHOWN_CHARACTERS:] if len(key) >= ADMIN_KEY_MIN_CHARACTERS else ''}"


def extract_credential(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Read the one credential of a request from its raw headers; None when there is none.

    Header names may come in any case. An empty value counts as absent.

    Raises:
        NotAuthenticated: a header is given twice, the two headers disagree, ``Authorization`` is not a bearer token, or
            a key is longer than 256 characters or holds others than visible ASCII.
    """
    authorization = api_key = None
    for name, value in headers:
        match len(name):
            case 13 if name.lower() == _AUTHORIZATION:
                if authorization is not None:
                    raise _refused(f"The Authorization header is given twice. {_HOW_TO_SEND}")
                authorization = value
            case 9 if name.lower() == _X_API_KEY:
                if api_key is not None:
                    raise _refused(f"The X-API-Key header is given twice. {_HOW_TO_SEND}")
                api_key = value
    bearer = _checked(_bearer_token(authorization)) if authorization is not None else None
    plain = _checked(api_key.strip(b" \t")) if api_key is not None else None
    if bearer is not None and plain is not None and not hmac.compare_digest(bearer, plain):
        raise _refused("Authorization and X-API-Key hold different keys. Send one of them.")
    return bearer if bearer is not None else plain


def _bearer_token(value: bytes) -> bytes:
    """Take the token out of ``Bearer <token>``; empty when there is none. The value is never repeated in the error."""
    scheme, _space, token = value.strip(b" \t").partition(b" ")
    if scheme and scheme.lower() != _BEARER:
        raise _refused(f"The Authorization header does not hold a bearer token. {_HOW_TO_SEND}")
    return token.strip(b" \t")


def _checked(credential: bytes) -> bytes | None:
    if not credential:
        return None
    if _CREDENTIAL.fullmatch(credential) is None:
        rule = f"A key has at most {KEY_MAX_CHARACTERS} characters, visible ASCII without spaces"
        raise _refused(f"{rule}. {_HOW_TO_SEND}")
    return credential


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All keys that are good now, by the SHA-256 of each. Swapped whole when a key is added or revoked.

    A look-up costs one SHA-256 and one dictionary access. What the dictionary compares are digests, whose octets nobody
    can choose, so the time that it takes tells nothing of a key. Nothing is found by the raw key: a cache of those
    would outlive a revocation. (A connection keeps the last head that it read, key included, while it is open; whose
    key that is, is asked anew for each request.)
    """

    principals: Mapping[bytes, Principal] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    ended: Mapping[bytes, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Why a key that was good is so no more, in a sentence for whoever still has it."""

    @classmethod
    def with_admin(cls, key: str) -> KeyRing:
        """A ring with the operator's first key alone.

        Raises:
            ValueError: the key is not 16 to 256 visible ASCII characters.
        """
        octets = key.encode()
        if len(octets) < ADMIN_KEY_MIN_CHARACTERS or _CREDENTIAL.fullmatch(octets) is None:
            limits = f"{ADMIN_KEY_MIN_CHARACTERS} to {KEY_MAX_CHARACTERS}"
            raise ValueError(f"ADMIN_API_KEY must have {limits} visible ASCII characters without spaces")
        return cls(MappingProxyType({digest(octets): Principal("admin", "operator", Role.ADMIN)}))

    def authenticate(self, credential: bytes | None) -> Principal:
        """Say whose key ``credential`` is (what ``extract_credential`` gave).

        Raises:
            NotAuthenticated: there is none, it looks mistyped, or no good key is like it.
        """
        if credential is None:
            raise _refused(f"This request has no key. {_HOW_TO_SEND}")
        principal = self.principals.get(digest(credential))
        if principal is not None:
            return principal
        if (why := self.ended.get(digest(credential))) is not None:
            raise _refused(f"{why} Ask the gateway's operator for a new one.")
        if looks_minted(credential.decode("latin-1")) is KeyForm.MISTYPED:
            raise _refused("This key looks mistyped: its checksum does not fit. Copy it again, whole.")
        raise _refused("This key is unknown, expired or revoked. Ask the gateway's operator for a new one.")


def _refused(message: str) -> NotAuthenticated:
    return NotAuthenticated(message)


def _checksum(secret: str) -> str:
    return _base62(zlib.crc32(secret.encode()), _CHECKSUM_CHARACTERS)


def _base62(number: int, characters: int) -> str:
    """The last ``characters`` digits of ``number``, most significant first."""
    digits = []
    for _position in range(characters):
        number, index = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[index])
    return "".join(reversed(digits))
