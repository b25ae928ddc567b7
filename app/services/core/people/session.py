"""What is a sign-in to the pages, and what follows from its cookie? Pure: bytes and instants in, values out.

The cookie is a token of 32 random bytes, and all else is made of it, so that none of it opens the token:

- the id of the session, its SHA-256: what the database finds it by;
- the seal on the digest of the key that signed in: the digest XOR HMAC-SHA256(token), a one-time pad. Whoever reads
  the database learns neither the token nor which key it was, and each request finds its key in the ring of keys;
- the token that changes carry against forgery (CSRF), HMAC-SHA256 under another name.

The pads of two sessions never meet: each token is new.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "NO_KEY",
    "TOKEN_BYTES",
    "Lifetime",
    "StoredSession",
    "cookie_of",
    "csrf_fits",
    "csrf_of",
    "everywhere_id",
    "seal",
    "session_id",
    "token_of",
    "unseal",
]

TOKEN_BYTES: Final = 32
NO_KEY: Final = bytes(32)
"""What stands for a sealed digest in a row that is no sign-in (``everywhere_id``)."""

_COOKIE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_PAD_NAME: Final = b"key digest"
_CSRF_NAME: Final = b"csrf"
_EVERYWHERE_NAME: Final = b"signed out everywhere: "
_MOST_LIVES: Final = 7
"""A session that is used all the time ends after so many times its hours."""
_SAVES_A_LIFE: Final = 12
_SAVED_AT_MOST_EVERY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session as the database keeps it."""

    id: bytes
    sealed_digest: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime

    @property
    def is_mark(self) -> bool:
        """Whether it is no sign-in, but says that all sign-ins of a key before it have ended (``everywhere_id``)."""
        return self.sealed_digest == NO_KEY


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a session lasts.

    Attributes:
        idle: without being used; seven times that however much it is used.
    """

    idle: timedelta

    @property
    def most(self) -> timedelta:
        """How long it lasts at most, from the sign-in."""
        return self.idle * _MOST_LIVES

    def end(self, created_at: datetime, used_at: datetime) -> datetime:
        """When a session ends that is not used again."""
        return min(used_at + self.idle, created_at + self.most)

    def is_worth_saving(self, saved_end: datetime, end: datetime) -> bool:
        """Whether an end is so much later than the one in the database that it should be written there.

        At most once an hour, and at most twelve times in a session's idle time: that much of it a restart may cost.
        """
        return end - saved_end >= min(_SAVED_AT_MOST_EVERY, self.idle / _SAVES_A_LIFE)


def cookie_of(token: bytes) -> str:
    """Write a token as a cookie holds it: base64url without padding (RFC 4648, 5), 43 characters."""
    return urlsafe_b64encode(token).rstrip(b"=").decode()


def token_of(cookie: str) -> bytes | None:
    """Read a token out of a cookie; None for any other text. A token has one spelling."""
    if _COOKIE.fullmatch(cookie) is None:
        return None
    token = urlsafe_b64decode(f"{cookie}=")
    return token if cookie_of(token) == cookie else None


def session_id(token: bytes) -> bytes:
    """Tell under which id the database keeps a session: 32 bytes that don't lead back to the token."""
    return hashlib.sha256(token).digest()


def seal(token: bytes, digest: bytes) -> bytes:
    """Hide the digest of a key, 32 bytes, so that only the token brings it back."""
    pad = hmac.digest(token, _PAD_NAME, "sha256")
    return bytes(left ^ right for left, right in zip(digest, pad, strict=True))


def unseal(token: bytes, sealed_digest: bytes) -> bytes:
    """Bring the digest of the key back; another token's gives a digest that no key has."""
    return seal(token, sealed_digest)


def csrf_of(token: bytes) -> str:
    """Make the token that each change of this session carries: 43 characters that don't lead back to the cookie."""
    return cookie_of(hmac.digest(token, _CSRF_NAME, "sha256"))


def csrf_fits(expected: str, given: str) -> bool:
    """Whether a change carries its session's token. Takes as long for any wrong one."""
    return hmac.compare_digest(expected.encode(), given.encode(errors="replace"))


def everywhere_id(key_id: str) -> bytes:
    """Tell under which id the database keeps that a key's sign-ins were all ended, also those not seen since a start.

    No cookie leads to it: that would take a token whose SHA-256 it is.
    """
    return hashlib.sha256(_EVERYWHERE_NAME + key_id.encode()).digest()
