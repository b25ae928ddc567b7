"""What is in a backup, and which of its bytes are believed when it comes back?

A gzipped tar of at most four regular files. ``manifest.json`` comes first and names each other one with its size and
SHA-256. Nothing is ever extracted by tarfile itself: members are read as streams, into names that this module chose,
so a path, a link or a device in a forged archive has nowhere to go.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from dataclasses import asdict, dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from app.cli.file_swap import hand_over

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = [
    "ADMIN_KEY_MEMBER",
    "DATABASE_MEMBER",
    "ENCRYPTION_KEY_MEMBER",
    "KEPT_SETTINGS",
    "ArchiveInvalid",
    "Manifest",
    "extract_verified",
    "file_digest",
    "write_archive",
]

FORMAT: Final = 1
MANIFEST_MEMBER: Final = "manifest.json"
DATABASE_MEMBER: Final = "gateway.db"
ENCRYPTION_KEY_MEMBER: Final = "encryption.key"
ADMIN_KEY_MEMBER: Final = "admin.key"
_KNOWN_MEMBERS: Final = frozenset({DATABASE_MEMBER, ENCRYPTION_KEY_MEMBER, ADMIN_KEY_MEMBER})
KEPT_SETTINGS: Final = ("ALLOWED_SERVER_NETWORKS", "UPSTREAM_CA_FILE")
"""Settings without secrets that registered servers can't be reached without; a manifest names those that were set."""
_SETTING_LIMIT_CHARACTERS: Final = 4096
_MANIFEST_LIMIT_BYTES: Final = 65_536
_KEY_LIMIT_BYTES: Final = 4096
_CHUNK_BYTES: Final = 1_048_576
_OWNER_ONLY: Final = 0o600


class ArchiveInvalid(Exception):
    """The file is no backup of a gateway, or not the one that was written. The message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a backup: its size in bytes and its SHA-256 in hexadecimal."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself."""

    version: str
    schema_version: int
    created_at: str
    members: Mapping[str, Member]
    settings: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """As it stands in the archive."""
        members = {name: asdict(member) for name, member in self.members.items()}
        fields = {"version": self.version, "schema_version": self.schema_version, "created_at": self.created_at}
        document = {"format": FORMAT, **fields, "members": members, "settings": dict(self.settings)}
        return json.dumps(document, indent=2).encode()


def file_digest(path: Path) -> Member:
    """Size and SHA-256 of a file."""
    digest = hashlib.sha256()
    size_bytes = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
    return Member(size_bytes, digest.hexdigest())


def write_archive(target: Path, manifest: Manifest, files: Mapping[str, Path], on_bytes: Callable[[int], None]) -> None:
    """Write a new archive that only its owner may read, complete or not at all.

    Raises:
        FileExistsError: ``target`` is there already; a backup is never overwritten.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), _OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with tarfile.open(fileobj=raw, mode="w:gz") as archive:
                document = manifest.to_json()
                archive.addfile(_tar_entry(MANIFEST_MEMBER, len(document)), io.BytesIO(document))
                for name, path in files.items():
                    with path.open("rb") as file:
                        counted = _Counted(file, on_bytes)
                        archive.addfile(_tar_entry(name, manifest.members[name].size_bytes), counted)
            raw.flush()
            os.fsync(raw.fileno())
        hand_over(temporary, like=target)
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def extract_verified(source: Path, folder: Path, on_bytes: Callable[[int], None]) -> Manifest:
    """Write the members of an archive into ``folder`` under their known names, each checked against the manifest.

    ``on_bytes`` hears of the bytes of the archive as they are read.

    Raises:
        ArchiveInvalid: anything is other than the manifest says, or stands in it that no gateway writes.
    """
    try:
        with source.open("rb") as raw, tarfile.open(fileobj=_Counted(raw, on_bytes), mode="r|gz") as archive:
            manifest = _read_manifest(archive)
            left = dict(manifest.members)
            while (entry := archive.next()) is not None:
                expected = left.pop(entry.name, None)
                if expected is None or not entry.isreg():
                    message = f"it holds '{entry.name}', which its manifest does not name or which is no plain file"
                    raise ArchiveInvalid(message)
                _extract(archive, entry, expected, folder / entry.name)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        message = f"it can't be unpacked ({error})"
        raise ArchiveInvalid(message) from error
    if left:
        message = f"it lacks {', '.join(sorted(left))}"
        raise ArchiveInvalid(message)
    return manifest


class _Counted(io.RawIOBase):
    """A file being read, that tells how much was read."""

    def __init__(self, file: IO[bytes], on_bytes: Callable[[int], None]) -> None:
        super().__init__()
        self._file = file
        self._on_bytes = on_bytes

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._file.read(size)
        self._on_bytes(len(chunk))
        return chunk


def _tar_entry(name: str, size_bytes: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size_bytes
    entry.mode = _OWNER_ONLY
    return entry


def _read_manifest(archive: tarfile.TarFile) -> Manifest:
    entry = archive.next()
    if entry is None or entry.name != MANIFEST_MEMBER or not entry.isreg() or entry.size > _MANIFEST_LIMIT_BYTES:
        message = f"it does not begin with a {MANIFEST_MEMBER}"
        raise ArchiveInvalid(message)
    stream = archive.extractfile(entry)
    try:
        return _parse_manifest(json.loads(stream.read() if stream is not None else b""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"its {MANIFEST_MEMBER} is not one that a gateway writes"
        raise ArchiveInvalid(message) from error


def _parse_manifest(document: dict[str, Any]) -> Manifest:
    if document["format"] != FORMAT:
        message = f"its format is {document['format']}, and this version reads {FORMAT}: use the version that wrote it"
        raise ArchiveInvalid(message)
    members = {
        str(name): Member(int(fields["size_bytes"]), str(fields["sha256"]))
        for name, fields in document["members"].items()
    }
    strangers = set(members) - _KNOWN_MEMBERS
    if strangers or DATABASE_MEMBER not in members:
        message = f"its manifest names {', '.join(sorted(strangers)) or 'no database'}"
        raise ArchiveInvalid(message)
    if any(member.size_bytes > _KEY_LIMIT_BYTES for name, member in members.items() if name != DATABASE_MEMBER):
        message = "a key in it is far too long for one"
        raise ArchiveInvalid(message)
    settings = _parse_settings(document.get("settings", {}))
    version, schema_version = str(document["version"]), int(document["schema_version"])
    return Manifest(version, schema_version, str(document["created_at"]), members, settings)


def _parse_settings(document: dict[str, Any]) -> dict[str, str]:
    """Those that are known; they are shown to people, so nothing that steers a terminal is believed."""
    settings: dict[str, str] = {name: str(document[name]) for name in KEPT_SETTINGS if name in document}
    if not all(value.isprintable() and len(value) <= _SETTING_LIMIT_CHARACTERS for value in settings.values()):
        message = "a setting in its manifest is not one that a gateway writes"
        raise ArchiveInvalid(message)
    return settings


def _extract(archive: tarfile.TarFile, entry: tarfile.TarInfo, expected: Member, target: Path) -> None:
    stream = archive.extractfile(entry)
    if stream is None or entry.size != expected.size_bytes:
        message = f"'{entry.name}' has {entry.size} bytes, and its manifest says {expected.size_bytes}"
        raise ArchiveInvalid(message)
    digest = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), _OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := stream.read(_CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != expected.sha256:
        message = f"'{entry.name}' is not what was backed up: its checksum differs"
        raise ArchiveInvalid(message)
