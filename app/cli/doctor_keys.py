"""Would the gateway take the key files that it finds, and do they open what the database holds? Nothing is changed."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from app.cli.connection import ADMIN_KEY_FILE
from app.cli.database_file import stored_keys
from app.cli.doctor_checks import Finding, Level, judge_folder, judge_private
from app.services.registry.secrets import (
    EncryptionKeyInvalid,
    SecretBox,
    SecretUnreadable,
    load_or_create_admin_key,
    load_or_create_encryption_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.utils.config import Settings

__all__ = ["check_keys"]

ENCRYPTION_KEY_FILE: Final = "encryption.key"
_OWNER_ONLY: Final = 0o600
Key = TypeVar("Key")


def check_keys(settings: Settings) -> list[Finding]:
    """Are the keys there, private, of the right form, and do they open what was stored?"""
    folder = settings.gateway_data_dir
    return [
        judge_folder("data folder", folder, f"{folder} may be written"),
        _check_admin_key(settings),
        _check_encryption_key(settings),
    ]


def _check_admin_key(settings: Settings) -> Finding:
    path = settings.gateway_data_dir / ADMIN_KEY_FILE
    if settings.admin_api_key is not None:
        return Finding(ADMIN_KEY_FILE, Level.OK, "the key comes from the settings")
    if not path.exists():
        return Finding(ADMIN_KEY_FILE, Level.OK, f"none yet at {path}; the first start makes it")
    finding = judge_private(ADMIN_KEY_FILE, path)
    if finding.level is Level.FAIL:
        return finding
    try:
        _load_copy(path, lambda copy: load_or_create_admin_key(copy, str))
    except EncryptionKeyInvalid as error:
        return Finding(ADMIN_KEY_FILE, Level.FAIL, str(error), f"Delete {path}, or bring it back from a backup.")
    return finding


def _check_encryption_key(settings: Settings) -> Finding:
    path = settings.gateway_data_dir / ENCRYPTION_KEY_FILE
    configured = settings.encryption_key
    if configured is None and not path.exists():
        return _missing(settings, path)
    good = Finding(ENCRYPTION_KEY_FILE, Level.OK, "the key comes from the settings")
    try:
        if configured is not None:
            key = load_or_create_encryption_key(configured.get_secret_value(), path)
        else:
            good = judge_private(ENCRYPTION_KEY_FILE, path)
            if good.level is Level.FAIL:
                return good
            key = _load_copy(path, lambda copy: load_or_create_encryption_key(None, copy))
    except EncryptionKeyInvalid as error:
        return Finding(ENCRYPTION_KEY_FILE, Level.FAIL, str(error), "Bring the right key back from a backup.")
    stored = _stored(settings)
    shut = [server_id for server_id, sealed in stored if not _opens(SecretBox(key), server_id, sealed)]
    if not shut:
        return good
    detail = f"the key does not open {len(shut)} of the {len(stored)} servers' keys in the database: {shut[0][:8]} ..."
    advice = "Bring the right key back from a backup, or set those servers' keys anew."
    return Finding(ENCRYPTION_KEY_FILE, Level.FAIL, detail, advice)


def _missing(settings: Settings, path: Path) -> Finding:
    advice = "Bring it back from a backup, or set those servers' keys anew."
    if stored := _stored(settings):
        detail = f"{path} is missing: the keys of {len(stored)} servers in the database can't be decrypted"
        return Finding(ENCRYPTION_KEY_FILE, Level.FAIL, detail, advice)
    if settings.database_path.exists():
        detail = f"{path} is missing: keys of servers in the database, if any, can't be decrypted"
        return Finding(ENCRYPTION_KEY_FILE, Level.WARN, detail, advice)
    return Finding(ENCRYPTION_KEY_FILE, Level.OK, f"none yet at {path}; the first start makes it")


def _load_copy(path: Path, load: Callable[[Path], Key]) -> Key:
    """Let the gateway's own loader judge a copy: it would make the file itself private.

    Raises:
        EncryptionKeyInvalid: what the loader says, of the file itself.
    """
    with tempfile.TemporaryDirectory(prefix="gateway-look-") as folder:
        copy = Path(folder) / path.name
        try:
            copy.touch(_OWNER_ONLY)
            copy.write_bytes(path.read_bytes())
            return load(copy)
        except EncryptionKeyInvalid as error:
            raise EncryptionKeyInvalid(str(error).replace(str(copy), str(path))) from error


def _stored(settings: Settings) -> list[tuple[str, bytes]]:
    if not settings.database_path.exists():
        return []
    try:
        return stored_keys(settings.database_path)
    except (sqlite3.Error, OSError):
        return []  # The check of the database itself says what is wrong with it.


def _opens(box: SecretBox, server_id: str, sealed: bytes) -> bool:
    try:
        box.open(sealed, server_id)
    except SecretUnreadable:
        return False
    return True
