"""``multiverse backup`` and ``restore``: how is a gateway's whole memory saved and brought back?"""

from __future__ import annotations

import itertools
import shlex
import sqlite3
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from app import __version__
from app.cli.archive import (
    ADMIN_KEY_MEMBER,
    DATABASE_MEMBER,
    ENCRYPTION_KEY_MEMBER,
    KEPT_SETTINGS,
    ArchiveInvalid,
    Manifest,
    extract_verified,
    file_digest,
    write_archive,
)
from app.cli.connection import settings_or_usage_error
from app.cli.console import byte_progress, confirm, print_json, print_verbatim
from app.cli.database_file import read_schema_version
from app.cli.endings import endings_as_exceptions
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode, Stopped
from app.cli.file_swap import NotTakenBack, Replacement, free_suffix, hand_over, make_folder, replace_all
from app.cli.plain_words import damage_words, file_words
from app.services.registry.tables import SCHEMA_VERSION
from app.utils.database import DatabaseInUse, DatabaseLock, DatabaseUnusable, backup_database, verify
from app.utils.database_files import lock_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.utils.config import Settings

__all__ = ["backup", "restore"]

DEFAULT_FOLDER: Final = Path("backups")
ENV_FILE: Final = Path(".env")
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")

BACKUP_EPILOG = f"""Examples:

  multiverse backup

  multiverse backup /mnt/safe/gateway.tar.gz --json

{EXIT_CODES_HELP}"""
RESTORE_EPILOG = f"""Example: multiverse restore backups/gateway-20260101T120000Z.tar.gz

{EXIT_CODES_HELP}"""


@dataclass(frozen=True, slots=True)
class Places:
    """Where this folder's gateway keeps what a backup holds, by the names of the members."""

    files: dict[str, Path]

    @property
    def database(self) -> Path:
        """The database file."""
        return self.files[DATABASE_MEMBER]

    @classmethod
    def of(cls, settings: Settings) -> Places:
        """By the settings."""
        keys = (ENCRYPTION_KEY_MEMBER, ADMIN_KEY_MEMBER)
        return cls(
            {DATABASE_MEMBER: settings.database_path, **{name: settings.gateway_data_dir / name for name in keys}}
        )


def backup(
    file: Annotated[
        Path | None, typer.Argument(help="The archive to write. Left out: backups/gateway-<time>.tar.gz.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Save database and keys into one private archive; works while the gateway runs."""
    settings = settings_or_usage_error()
    places = Places.of(settings)
    now = datetime.now(UTC)
    target = file or _free_name(now)
    if not places.database.exists():
        message = f"There is no database at {places.database.absolute()} to back up."
        raise CommandFailed(message, fix="Run the command in the gateway's folder, or set DATABASE_URL.")
    if target.exists():
        raise CommandFailed(f"{target} exists, and a backup is never overwritten.", fix="Name another file.")
    try:
        with endings_as_exceptions():
            manifest = save(places, target, now, kept_settings(settings))
    except Stopped:
        raise CommandFailed("The backup was stopped; nothing of it is left.", fix="Run it again.") from None
    except DatabaseUnusable as error:
        raise CommandFailed(damage_words(str(error))) from error
    except OSError as error:
        fix = "See to that, or name another file."
        raise CommandFailed(f"The backup could not be written: {file_words(error)}.", fix=fix) from error
    if as_json:
        print_json({"file": str(target.absolute()), "members": sorted(manifest.members), "version": manifest.version})
        return
    print_verbatim(f"Saved {', '.join(sorted(manifest.members))} to {target}.")
    if settings.encryption_key is not None:
        print_verbatim(
            "ENCRYPTION_KEY comes from the settings and is not in it: keep it elsewhere, or no server's key opens."
        )
    if ENV_FILE.exists():
        print_verbatim("Settings (.env, certificates) are not in it: keep a copy of them too.")
    print_verbatim("Keep the archive as safe as the keys in it.")


def _free_name(now: datetime) -> Path:
    """A name that no archive has yet, also for the second one of a second."""
    stem = f"gateway-{now:%Y%m%dT%H%M%SZ}"
    names = itertools.chain((stem,), (f"{stem}-{number}" for number in itertools.count(2)))
    paths = (DEFAULT_FOLDER / f"{name}.tar.gz" for name in names)
    return next(path for path in paths if not path.exists())


def kept_settings(settings: Settings) -> dict[str, str]:
    """What a backup tells of the settings: what servers can't be reached without, and no secret."""
    networks = ",".join(str(network) for network in settings.allowed_server_networks)
    authority = "" if settings.upstream_ca_file is None else str(settings.upstream_ca_file.absolute())
    return {name: value for name, value in zip(KEPT_SETTINGS, (networks, authority), strict=True) if value}


def save(places: Places, target: Path, now: datetime, settings: Mapping[str, str]) -> Manifest:
    """Copy, check, and pack. The folder of ``target`` is made where it is missing.

    Raises:
        DatabaseUnusable: the database can't be read, or the copy is damaged.
    """
    make_folder(target.parent)
    with tempfile.TemporaryDirectory(prefix=".gateway-backup-", dir=target.parent) as folder:
        copy = Path(folder) / DATABASE_MEMBER
        _copy_with_progress(places.database, copy)
        files = {DATABASE_MEMBER: copy}
        files |= {name: path for name, path in places.files.items() if name != DATABASE_MEMBER and path.exists()}
        members = {name: file_digest(path) for name, path in files.items()}
        created_at = now.isoformat(timespec="seconds")
        manifest = Manifest(__version__, read_schema_version(copy), created_at, members, settings)
        with byte_progress("Packing", sum(member.size_bytes for member in members.values())) as advance:
            write_archive(target, manifest, files, advance)
    return manifest


def _copy_with_progress(source: Path, target: Path) -> None:
    size_bytes = source.stat().st_size
    done_bytes = 0
    with byte_progress("Copying the database", size_bytes) as advance:

        def on_pages(done: int, total: int) -> None:
            nonlocal done_bytes
            reached = size_bytes * done // max(total, 1)
            advance(reached - done_bytes)
            done_bytes = reached

        backup_database(source, target, on_pages)


def restore(
    file: Annotated[Path, typer.Argument(help="An archive that `multiverse backup` wrote.")],
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Don't ask before the present database is moved aside.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Bring a backup back. It is verified first; what was there is moved aside, never deleted."""
    settings = settings_or_usage_error()
    places = Places.of(settings)
    if not file.is_file():
        raise CommandFailed(f"There is no file {file}.", fix="Look into backups/.", code=ExitCode.USAGE)
    try:
        manifest, moved = bring_back(file, places, ask_first=not force)
    except DatabaseInUse as error:
        fix = "Stop it first (Ctrl-C, or its service), then restore again; nothing was changed."
        raise CommandFailed(f"A gateway is running on {places.database}.", fix=fix) from error
    except NotTakenBack as error:
        message = f"{file} was restored in part only, and this could not be undone: {error}."
        fix = "Put the old content back by hand, or see to the cause and restore again."
        raise CommandFailed(message, fix=fix) from error
    except DatabaseUnusable as error:
        raise CommandFailed(f"{file} could not be restored: {error}", fix="Nothing was changed.") from error
    except OSError as error:
        raise CommandFailed(f"{file} could not be restored: {file_words(error)}; nothing was changed.") from error
    lacking = missing_settings(manifest, settings)
    if as_json:
        told = {"restored": sorted(manifest.members), "created_at": manifest.created_at, "moved_aside": moved}
        print_json({**told, "settings_to_set": lacking})
        return
    print_verbatim(f"Restored {', '.join(sorted(manifest.members))} of {manifest.created_at}.")
    for path in moved:
        print_verbatim(f"What was there is kept as {path}")
    for line in settings_advice(lacking):
        print_verbatim(line)
    if ENCRYPTION_KEY_MEMBER not in manifest.members and settings.encryption_key is None:
        print_verbatim("The backup holds no encryption key: set the ENCRYPTION_KEY that its gateway had.")
    print_verbatim("Start the gateway: multiverse serve")


def missing_settings(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """What the backup's gateway had set and this folder, having no ``.env``, has not."""
    if ENV_FILE.exists():
        return {}
    present = kept_settings(settings)
    return {name: value for name, value in manifest.settings.items() if present.get(name) != value}


def settings_advice(lacking: Mapping[str, str]) -> list[str]:
    """What to do so that the restored servers can be reached."""
    if not lacking:
        return []
    had = ", ".join(f"{name}={value}" for name, value in lacking.items())
    networks = [network for network in lacking.get("ALLOWED_SERVER_NETWORKS", "").split(",") if network]
    options = "".join(f" --allow {shlex.quote(network)}" for network in networks)
    lines = [f"This folder has no .env. The backup's gateway had {had}: run multiverse init --yes{options}"]
    if "UPSTREAM_CA_FILE" in lacking:
        lines.append("Then bring that file of certificates here, and name it in .env as UPSTREAM_CA_FILE.")
    return lines


def bring_back(file: Path, places: Places, *, ask_first: bool) -> tuple[Manifest, list[str]]:
    """Verify, then put in place; returns what was restored and where the old files are.

    The gateway's own lock is held meanwhile: none can start on a half-restored folder.

    Raises:
        CommandFailed: the archive is not good, or the answer was no.
        DatabaseInUse: a gateway is running.
        DatabaseUnusable: the lock can't be taken.
        OSError: a file can't be written or moved.
    """
    make_folder(places.database.parent)
    with (
        tempfile.TemporaryDirectory(prefix=".gateway-restore-", dir=places.database.parent) as folder,
        DatabaseLock(places.database),
    ):
        hand_over(lock_path(places.database), like=places.database)
        manifest = unpack(file, Path(folder))
        if ask_first and places.database.exists():
            confirm(
                f"Move {places.database} aside and bring back the backup of {manifest.created_at}?", unasked="--force"
            )
        return manifest, put_in_place(Path(folder), manifest, places, datetime.now(UTC))


def unpack(file: Path, folder: Path) -> Manifest:
    """Unpack into ``folder`` and verify everything that can be.

    Raises:
        CommandFailed: it is no backup, it was changed, its database is damaged, or it is of a newer version.
    """
    advice = "Use another backup; nothing was changed."
    try:
        with byte_progress("Verifying", file.stat().st_size) as advance:
            manifest = extract_verified(file, folder, advance)
        verify(folder / DATABASE_MEMBER)
        schema_version = read_schema_version(folder / DATABASE_MEMBER)
    except ArchiveInvalid as error:
        raise CommandFailed(f"{file} can't be restored: {error}.", fix=advice) from error
    except (DatabaseUnusable, sqlite3.Error) as error:
        raise CommandFailed(f"{file} can't be restored: the database in it is damaged.", fix=advice) from error
    except OSError as error:
        raise CommandFailed(f"{file} can't be restored: {file_words(error)}.", fix=advice) from error
    if schema_version > SCHEMA_VERSION:
        raise CommandFailed(
            f"The backup has schema {schema_version}, of version {manifest.version}; this one knows {SCHEMA_VERSION}.",
            fix="Install that version or a later one, then restore again.",
        )
    return manifest


def put_in_place(folder: Path, manifest: Manifest, places: Places, now: datetime) -> list[str]:
    """Put the new files in, keys first, all or none; returns where the old ones are.

    The database's log goes with it, even where that is gone: it must never be played into another one.

    Raises:
        OSError: a file can't be read or written; nothing was changed.
        NotTakenBack: the same, but something was changed.
    """
    names = sorted(manifest.members, key=lambda member: member == DATABASE_MEMBER)
    targets = {name: _followed(places.files[name]) for name in names}
    suffix = free_suffix(f".before-restore-{now:%Y%m%dT%H%M%SZ}", targets.values())
    replacements = [
        Replacement(folder / name, targets[name], _SIDE_FILES if name == DATABASE_MEMBER else ()) for name in names
    ]
    return [str(path) for path in replace_all(replacements, suffix)]


def _followed(path: Path) -> Path:
    """The file itself where a link names it: the link stays, and the data stays on its disk."""
    return path.resolve() if path.is_symlink() else path
