"""How are servers' keys kept so that a stolen database gives none of them away?

AES-256-GCM with a fresh 96-bit nonce per value. The server's id goes in as associated data, so that a ciphertext moved
to another row does not open. A stored value is ``version byte | nonce (12) | ciphertext and tag``.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "EncryptionKeyInvalid",
    "SecretBox",
    "SecretUnreadable",
    "load_or_create_admin_key",
    "load_or_create_encryption_key",
]

KEY_BYTES = 32
NONCE_BYTES = 12
VERSION = b"\x01"
OWNER_ONLY = 0o600
ADMIN_KEY_MIN_LENGTH = 16
ADMIN_KEY_MAX_LENGTH = 256

logger = get_logger(__name__)


class EncryptionKeyInvalid(ValueError):
    """The configured key or key file cannot be used; the message names the fix."""


class SecretUnreadable(ValueError):
    """A stored secret does not open with this key: another key wrote it, or the row was tampered with."""


class SecretBox:
    """Seals and opens short secrets with one key. Holds no other state; safe to share."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        """Take the key.

        Args:
            key: exactly 32 bytes.

        Raises:
            EncryptionKeyInvalid: another length.
        """
        if len(key) != KEY_BYTES:
            message = f"the encryption key has {len(key)} bytes, not {KEY_BYTES}"
            raise EncryptionKeyInvalid(message)
        self._cipher = AESGCM(key)

    def seal(self, secret: str, server_id: str) -> bytes:
        """Encrypt a secret for one server; each call gives another ciphertext."""
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._cipher.encrypt(nonce, secret.encode(), server_id.encode())

    def open(self, sealed: bytes, server_id: str) -> str:
        """Decrypt what ``seal`` made for the same server.

        Raises:
            SecretUnreadable: sealed with another key, for another server, by a newer version, or damaged.
        """
        if sealed[:1] != VERSION:
            message = "the stored secret has a format that this version does not know"
            raise SecretUnreadable(message)
        nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, ciphertext, server_id.encode()).decode()
        except (InvalidTag, ValueError) as error:
            message = "the stored secret does not open with the present encryption key"
            raise SecretUnreadable(message) from error


def load_or_create_encryption_key(configured: str | None, path: Path) -> bytes:
    """Find the key that servers' keys are encrypted with.

    Args:
        configured: ``ENCRYPTION_KEY``: 32 bytes as base64 (either alphabet) or hex; None or empty when unset.
        path: the key file, used when nothing is configured; made with a random key, mode 0600, when missing.

    Raises:
        EncryptionKeyInvalid: the setting or the file does not hold 32 bytes, or the file cannot be read or made.
    """
    if configured:
        return _decode(configured, "ENCRYPTION_KEY")
    try:
        text = _read_private(path)
        if text is None:
            text = base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()
            _create_private(path, text)
            logger.info("An encryption key for servers' keys was made", path=str(path))
    except OSError as error:
        message = f"the key file {path} cannot be used ({error.strerror}): fix its permissions or set ENCRYPTION_KEY"
        raise EncryptionKeyInvalid(message) from error
    return _decode(text, f"the key file {path}")


def load_or_create_admin_key(path: Path, mint: Callable[[], str]) -> str:
    """Find the operator's first key, for when ``ADMIN_API_KEY`` is unset.

    Args:
        path: where it is kept, mode 0600; made when missing.
        mint: makes a new key.

    Raises:
        EncryptionKeyInvalid: the file holds no usable key, or cannot be read or made.
    """
    try:
        text = _read_private(path)
        if text is None:
            text = mint()
            _create_private(path, text)
    except OSError as error:
        message = (
            f"the admin key file {path} cannot be used ({error.strerror}): fix its permissions or set ADMIN_API_KEY"
        )
        raise EncryptionKeyInvalid(message) from error
    usable = text.isascii() and text.isprintable() and " " not in text
    if not (usable and ADMIN_KEY_MIN_LENGTH <= len(text) <= ADMIN_KEY_MAX_LENGTH):
        message = (
            f"the admin key file {path} does not hold one key of {ADMIN_KEY_MIN_LENGTH} to {ADMIN_KEY_MAX_LENGTH} "
            "visible ASCII characters: delete it to have a new key made, or set ADMIN_API_KEY"
        )
        raise EncryptionKeyInvalid(message)
    return text


def _decode(text: str, source: str) -> bytes:
    """Read 32 bytes from hex or base64; never quotes the text, which is a secret."""
    stripped = text.strip()
    try:
        if len(stripped) == 2 * KEY_BYTES:
            key = bytes.fromhex(stripped)
        else:
            padded = stripped + "=" * (-len(stripped) % 4)
            key = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        message = (
            f"{source} does not hold a key of {KEY_BYTES} bytes as base64 or hex: put back the right one from your "
            "backup. A new one (`openssl rand -base64 32`) works too, but then each server's api_key must be set anew"
        )
        raise EncryptionKeyInvalid(message)
    return key


def _read_private(path: Path) -> str | None:
    """Read a private file, tightening permissions that others could use. None when there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if os.name == "posix" and mode & ~OWNER_ONLY:
            logger.warning("A secret file was open to others and is now private", path=str(path), mode=f"{mode:04o}")
            os.fchmod(file.fileno(), OWNER_ONLY)
        return file.read().strip()


def _create_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, never over another one; on the disk when this returns.

    Raises:
        FileExistsError: somebody was faster.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    if os.name == "posix":
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
