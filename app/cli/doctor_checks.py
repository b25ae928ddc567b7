"""What can be wrong with a gateway's folder and machine, and what is to be done about it?

Each check looks at one thing and returns findings; none changes anything.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.cli.database_file import find_damage, is_gateway_running, read_schema_version
from app.cli.open_files import OPEN_FILES_ADVICE, OPEN_FILES_WANTED
from app.services.registry.tables import SCHEMA_VERSION
from app.utils.database import DatabaseUnusable
from app.utils.database_errors import unusable
from app.utils.database_files import lock_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.utils.config import Settings

__all__ = [
    "Finding",
    "Level",
    "check_database",
    "check_log",
    "check_open_files",
    "check_settings",
    "judge_folder",
    "judge_private",
    "lock_state",
    "worst",
]

ENV_FILE: Final = Path(".env")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Level(StrEnum):
    """How bad it is: only ``fail`` keeps the gateway from doing its work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``fix`` is empty where nothing is to be done."""

    name: str
    level: Level
    detail: str
    fix: str = ""


def check_settings(settings: Settings) -> list[Finding]:
    """Are they valid, is ``.env`` private, is a name misspelt, is the gateway open to others without TLS or keys?"""
    advice = "Correct the name, or remove the line."
    unknown = [Finding("settings", Level.WARN, f"unknown: {name}", advice) for name in settings.unknown_names()]
    findings = unknown or [Finding("settings", Level.OK, "all values are valid")]
    findings += _exposure(settings)
    if ENV_FILE.exists():
        findings.append(judge_private(".env", ENV_FILE))
    else:
        findings.append(Finding(".env", Level.OK, "none here; `multiverse init` writes one"))
    return findings


def _exposure(settings: Settings) -> list[Finding]:
    """What is open to more than it need be."""
    findings: list[Finding] = []
    is_open = settings.host not in {"127.0.0.1", "::1", "localhost"}
    if is_open and not settings.require_client_auth:
        detail = f"models may be called without a key from every machine that reaches {settings.host}"
        findings.append(Finding("settings", Level.WARN, detail, "Set REQUIRE_CLIENT_AUTH=true."))
    if is_open and settings.tls_cert_file is None and not settings.trusted_proxies:
        detail = f"HOST={settings.host} without TLS: keys and prompts can be read on the way"
        advice = "Set TLS_CERT_FILE and TLS_KEY_FILE, or put a proxy with TLS in front and name it in TRUSTED_PROXIES."
        findings.append(Finding("settings", Level.WARN, detail, advice))
    everything = [str(network) for network in settings.allowed_server_networks if network.prefixlen == 0]
    if everything:
        detail = f"ALLOWED_SERVER_NETWORKS={','.join(everything)} lets the gateway call every private address"
        findings.append(Finding("settings", Level.WARN, detail, "Name only the networks that model servers stand in."))
    return findings


def check_database(settings: Settings) -> list[Finding]:
    """Is the database there, whole, of a schema that this version knows, and may it be written?"""
    path = settings.database_path
    if not path.exists():
        return [judge_folder("database", path.absolute().parent, f"none yet at {path}; the first start makes it")]
    try:
        damage, version = find_damage(path), read_schema_version(path)
    except (sqlite3.Error, OSError) as error:
        advice = "Check DATABASE_URL and the file's permissions, or restore a backup: multiverse restore FILE"
        return [Finding("database", Level.FAIL, str(unusable(path, error)), advice)]
    if damage is not None:
        advice = "Stop the gateway and restore the last good backup: multiverse restore FILE"
        return [Finding("database", Level.FAIL, f"{path} is damaged: {damage}", advice)]
    if version > SCHEMA_VERSION:
        detail = f"{path} has schema {version}, this version knows {SCHEMA_VERSION}"
        return [Finding("database", Level.FAIL, detail, "Install the version that wrote it, or a later one.")]
    if not os.access(path, os.W_OK):
        return [Finding("database", Level.FAIL, f"{path} may not be written by this user", f"chown or chmod {path}")]
    older = f", migrated to {SCHEMA_VERSION} at the next start" if version < SCHEMA_VERSION else ""
    good = Finding("database", Level.OK, f"{path} is whole, schema {version}{older}")
    private = judge_private("database", path)
    return [good, *_lock_file(path), *([private] if private.level is not Level.OK else [])]


def _lock_file(database: Path) -> list[Finding]:
    """Can the gateway's user open the lock beside the database?"""
    path = lock_path(database)
    if os.name != "posix" or not path.exists():
        return []
    if not os.access(path, os.R_OK | os.W_OK):
        detail = f"this user may not open {path}, which belongs to {_owner(path)}: no gateway starts"
        return [Finding("lock", Level.FAIL, detail, f"chown it to the gateway's user: {path}")]
    if path.stat().st_uid != database.stat().st_uid:
        detail = f"{path} belongs to {_owner(path)}, {database} to {_owner(database)}"
        return [Finding("lock", Level.WARN, detail, f"chown both to the gateway's user: {path} {database}")]
    return []


def check_log(settings: Settings) -> list[Finding]:
    """Can the log be written?"""
    path = settings.log_file
    if path.exists() and not os.access(path, os.W_OK):
        return [Finding("log", Level.FAIL, f"{path} may not be written by this user", f"chown or chmod {path}")]
    return [judge_folder("log", path.absolute().parent, f"{path} can be written")]


def check_open_files() -> list[Finding]:
    """May the gateway open enough files? It raises its own limit up to the hard one."""
    if sys.platform == "win32":
        return [Finding("open files", Level.OK, "Windows has no limit that matters")]
    import resource  # noqa: PLC0415 - a Unix module

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= OPEN_FILES_WANTED:
        limit = "no limit" if hard == resource.RLIM_INFINITY else f"{hard:,} at most"
        return [Finding("open files", Level.OK, limit)]
    detail = f"{hard:,} at most: about {hard // 2:,} requests at a time"
    return [Finding("open files", Level.WARN, detail, OPEN_FILES_ADVICE)]


def worst(findings: Sequence[Finding]) -> Level:
    """The worst level among findings."""
    levels = {finding.level for finding in findings}
    return next((level for level in (Level.FAIL, Level.WARN) if level in levels), Level.OK)


def lock_state(settings: Settings) -> bool | None:
    """Whether a gateway runs on this folder's database; None where that can't be told."""
    try:
        return is_gateway_running(settings.database_path)
    except DatabaseUnusable:
        return None  # The check of the database itself says what is wrong with its lock.


def judge_private(name: str, path: Path) -> Finding:
    """May this user read a file, and nobody else?"""
    if not os.access(path, os.R_OK):
        return Finding(
            name, Level.FAIL, f"{path} can't be read by this user", f"chown it to the gateway's user: {path}"
        )
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & _OTHERS:
        return Finding(name, Level.WARN, f"others may read {path} (mode {mode:04o})", f"chmod 600 {path}")
    return Finding(name, Level.OK, f"{path} is private")


def judge_folder(name: str, folder: Path, good: str) -> Finding:
    """Whether a folder can be written, or made where it is missing."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return Finding(name, Level.OK, good)
    return Finding(name, Level.FAIL, f"this user may not write into {existing}", f"chown or chmod {existing}")


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return f"user {path.stat().st_uid}"
