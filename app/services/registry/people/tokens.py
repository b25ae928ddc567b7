"""What does the token of an invite look like, and is one well-formed? Pure.

A token is ``mvi_``, 30 base-62 characters of randomness and 6 of CRC32 over those 30: a key's form under another
prefix, so that neither passes for the other. At 178 bits nobody finds one by trying: a billion guesses a second for the
age of the universe meet one of a million open invites with a chance below 2^-69. So guesses are not counted.
"""

from __future__ import annotations

from typing import Final

from app.services.core.keys import RANDOM_BYTES, KeyForm, looks_minted, mint

__all__ = ["RANDOM_BYTES", "TOKEN_PREFIX", "is_token", "mint_token"]

TOKEN_PREFIX: Final = "mvi_"  # noqa: S105 - what every token begins with
_KEY_PREFIX: Final = "mvk_"


def mint_token(random_bytes: bytes) -> str:
    """Make a token out of randomness; the same bytes make the same token.

    Raises:
        ValueError: fewer than ``RANDOM_BYTES`` bytes were given.
    """
    return TOKEN_PREFIX + mint(random_bytes).removeprefix(_KEY_PREFIX)


def is_token(text: str) -> bool:
    """Whether a text is a token by form and checksum; whether anyone was sent it is another question."""
    if not text.startswith(TOKEN_PREFIX):
        return False
    return looks_minted(_KEY_PREFIX + text.removeprefix(TOKEN_PREFIX)) is KeyForm.MINTED
