"""``multiverse backup`` and ``restore``: how is a gateway's whole memory saved and brought back?"""

from __future__ import annotations

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
    ArchiveInvalid,
    Manifest,
    extract_verified,
    file_digest,
    write_archive,
)
from app.cli.connection import settings_or_usage_error
from app.cli.console import byte_progress, confirm, print_json, print_verbatim
from app.cli.database_file import read_schema_version
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode
from app.services.registry.tables import SCHEMA_VERSION
from app.utils.database import DatabaseInUse, DatabaseLock, DatabaseUnusable, backup_database, verify

if TYPE_CHECKING:
    from app.utils.config import Settings

__all__ = ["backup", "restore"]

DEFAULT_FOLDER: Final = Path("backups")
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
    target = file or DEFAULT_FOLDER / f"gateway-{now:%Y%m%dT%H%M%SZ}.tar.gz"
    if not places.database.exists():
        message = f"There is no database at {places.database.absolute()} to back up."
        raise CommandFailed(message, fix="Run the command in the gateway's folder, or set DATABASE_URL.")
    if target.exists():
        raise CommandFailed(f"{target} exists, and a backup is never overwritten.", fix="Name another file.")
    try:
        manifest = save(places, target, now)
    except DatabaseUnusable as error:
        raise CommandFailed(str(error)) from error
    except OSError as error:
        raise CommandFailed(
            f"The backup could not be written: {error}.", fix="Free space or name another file."
        ) from error
    if as_json:
        print_json({"file": str(target.absolute()), "members": sorted(manifest.members), "version": manifest.version})
        return
    print_verbatim(f"Saved {', '.join(sorted(manifest.members))} to {target}.")
    if settings.encryption_key is not None:
        print_verbatim(
            "ENCRYPTION_KEY comes from the settings and is not in it: keep it elsewhere, or no server's key opens."
        )
    print_verbatim("Keep the archive as safe as the keys in it.")


def save(places: Places, target: Path, now: datetime) -> Manifest:
    """Copy, check, and pack. The folder of ``target`` is made where it is missing.

    Raises:
        DatabaseUnusable: the database can't be read, or the copy is damaged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".gateway-backup-", dir=target.parent) as folder:
        copy = Path(folder) / DATABASE_MEMBER
        _copy_with_progress(places.database, copy)
        files = {DATABASE_MEMBER: copy}
        files |= {name: path for name, path in places.files.items() if name != DATABASE_MEMBER and path.exists()}
        members = {name: file_digest(path) for name, path in files.items()}
        manifest = Manifest(__version__, read_schema_version(copy), now.isoformat(timespec="seconds"), members)
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
    places = Places.of(settings_or_usage_error())
    if not file.is_file():
        raise CommandFailed(f"There is no file {file}.", fix="Look into backups/.", code=ExitCode.USAGE)
    try:
        manifest, moved = bring_back(file, places, ask_first=not force)
    except DatabaseInUse as error:
        fix = "Stop it first (Ctrl-C, or its service), then restore again; nothing was changed."
        raise CommandFailed(f"A gateway is running on {places.database}.", fix=fix) from error
    except (DatabaseUnusable, OSError) as error:
        raise CommandFailed(f"{file} could not be restored: {error}") from error
    if as_json:
        print_json({"restored": sorted(manifest.members), "created_at": manifest.created_at, "moved_aside": moved})
        return
    print_verbatim(f"Restored {', '.join(sorted(manifest.members))} of {manifest.created_at}.")
    for path in moved:
        print_verbatim(f"What was there is kept as {path}")
    print_verbatim("Start the gateway: multiverse serve")


def bring_back(file: Path, places: Places, *, ask_first: bool) -> tuple[Manifest, list[str]]:
    """Verify, then put in place; returns what was restored and where the old files are.

    The gateway's own lock is held meanwhile: none can start on a half-restored folder.

    Raises:
        CommandFailed: the archive is not good, or the answer was no.
        DatabaseInUse: a gateway is running.
        DatabaseUnusable: the lock can't be taken.
        OSError: a file can't be written or moved.
    """
    places.database.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".gateway-restore-", dir=places.database.parent) as folder,
        DatabaseLock(places.database),
    ):
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
    except (DatabaseUnusable, OSError) as error:
        raise CommandFailed(f"{file} can't be restored: {error}", fix=advice) from error
    if schema_version > SCHEMA_VERSION:
        raise CommandFailed(
            f"The backup has schema {schema_version}, of version {manifest.version}; this one knows {SCHEMA_VERSION}.",
            fix="Install that version or a later one, then restore again.",
        )
    return manifest


def put_in_place(folder: Path, manifest: Manifest, places: Places, now: datetime) -> list[str]:
    """Move the old files aside and the new ones in, keys first; returns where the old ones are."""
    suffix = f".before-restore-{now:%Y%m%dT%H%M%SZ}"
    moved: list[str] = []
    for name in sorted(manifest.members, key=lambda member: member == DATABASE_MEMBER):
        target = places.files[name]
        target.parent.mkdir(parents=True, exist_ok=True)
        # The log goes with its database, even where that is gone: it must never be played into another one.
        for side in ("", *_SIDE_FILES) if name == DATABASE_MEMBER else ("",):
            old = target.with_name(target.name + side)
            if old.exists():
                aside = target.with_name(target.name + suffix + side)
                old.rename(aside)
                moved.append(str(aside))
        (folder / name).replace(target)
    return moved
