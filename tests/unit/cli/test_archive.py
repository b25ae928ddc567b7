"""Does a backup come back as it was written, and does nothing else come back?"""

from __future__ import annotations

import io
import json
import stat
import sys
import tarfile
from pathlib import Path

import pytest

from app.cli.archive import ArchiveInvalid, Manifest, extract_verified, file_digest, write_archive


def ignore(_count: int) -> None:
    return None


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    contents = {"gateway.db": b"database" * 300_000, "admin.key": b"key\n"}
    folder = tmp_path / "from"
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def manifest_of(files: dict[str, Path]) -> Manifest:
    return Manifest("0.1.0", 1, "2026-01-01T00:00:00+00:00", {name: file_digest(path) for name, path in files.items()})


@pytest.fixture
def archive(tmp_path: Path, files: dict[str, Path]) -> Path:
    path = tmp_path / "backup.tar.gz"
    write_archive(path, manifest_of(files), files, ignore)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "to"
    folder.mkdir()
    return folder


def forge(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for entry, content in members:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def manifest_json(**changed: object) -> bytes:
    empty = {"size_bytes": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    document = {"format": 1, "version": "0", "schema_version": 1, "created_at": "now", "members": {"gateway.db": empty}}
    return json.dumps({**document, **changed}).encode()


def test_it_comes_back_byte_for_byte(archive: Path, files: dict[str, Path], target: Path) -> None:
    counted: list[int] = []
    manifest = extract_verified(archive, target, counted.append)
    assert manifest == manifest_of(files)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        name: path.read_bytes() for name, path in files.items()
    }
    assert sum(counted) == archive.stat().st_size
    if sys.platform != "win32":
        assert {stat.S_IMODE(path.stat().st_mode) for path in [archive, *target.iterdir()]} == {0o600}


def test_a_backup_is_never_overwritten(archive: Path, files: dict[str, Path]) -> None:
    before = archive.read_bytes()
    with pytest.raises(FileExistsError):
        write_archive(archive, manifest_of(files), files, ignore)
    assert archive.read_bytes() == before
    assert not list(archive.parent.glob("*.partial"))


def test_a_failed_write_leaves_nothing(tmp_path: Path, files: dict[str, Path]) -> None:
    manifest = manifest_of(files)
    files["admin.key"].unlink()
    with pytest.raises(FileNotFoundError):
        write_archive(tmp_path / "new.tar.gz", manifest, files, ignore)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["from"]


@pytest.mark.parametrize("position", [0.01, 0.5, 0.9])
def test_a_flipped_byte_is_found(archive: Path, target: Path, position: float) -> None:
    content = bytearray(archive.read_bytes())
    content[int(len(content) * position)] ^= 0x10
    archive.write_bytes(content)
    with pytest.raises(ArchiveInvalid):
        extract_verified(archive, target, ignore)


def test_a_cut_archive_is_found(archive: Path, target: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-4000])
    with pytest.raises(ArchiveInvalid):
        extract_verified(archive, target, ignore)


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, "/etc/passwd"
    return entry


STRANGERS = [
    tarfile.TarInfo("../gateway.db"),
    tarfile.TarInfo("/tmp/gateway.db"),
    tarfile.TarInfo("gateway.db/../x"),
    link("gateway.db", tarfile.SYMTYPE),
    link("gateway.db", tarfile.LNKTYPE),
    link("gateway.db", tarfile.CHRTYPE),
    link("gateway.db", tarfile.DIRTYPE),
]


@pytest.mark.parametrize("entry", STRANGERS, ids=lambda entry: f"{entry.name}-{entry.type.decode()}")
def test_what_no_gateway_writes_is_refused(tmp_path: Path, target: Path, entry: tarfile.TarInfo) -> None:
    path = forge(tmp_path / "bad.tar.gz", [(tarfile.TarInfo("manifest.json"), manifest_json()), (entry, b"")])
    with pytest.raises(ArchiveInvalid, match="which its manifest does not name or which is no plain file"):
        extract_verified(path, target, ignore)
    assert list(target.iterdir()) == []


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (manifest_json(format=2), "its format is 2"),
        (manifest_json(members={}), "no database"),
        (manifest_json(members={"../x": {"size_bytes": 1, "sha256": ""}}), r"names \.\./x"),
        (manifest_json(members="none"), "not one that a gateway writes"),
        (
            manifest_json(
                members={
                    "gateway.db": {"size_bytes": 0, "sha256": ""},
                    "admin.key": {"size_bytes": 10**9, "sha256": ""},
                }
            ),
            "far too long",
        ),
        (b"[]", "not one that a gateway writes"),
        (b"{", "not one that a gateway writes"),
        (b"\xff", "not one that a gateway writes"),
        (b" " * 70_000, "does not begin with"),
    ],
)
def test_a_strange_manifest_is_refused(tmp_path: Path, target: Path, document: bytes, said: str) -> None:
    path = forge(tmp_path / "bad.tar.gz", [(tarfile.TarInfo("manifest.json"), document)])
    with pytest.raises(ArchiveInvalid, match=said):
        extract_verified(path, target, ignore)


def test_a_missing_member_is_told(tmp_path: Path, target: Path) -> None:
    path = forge(tmp_path / "bad.tar.gz", [(tarfile.TarInfo("manifest.json"), manifest_json())])
    with pytest.raises(ArchiveInvalid, match=r"it lacks gateway\.db"):
        extract_verified(path, target, ignore)


def test_a_member_of_another_size_is_refused(tmp_path: Path, target: Path) -> None:
    members = [(tarfile.TarInfo("manifest.json"), manifest_json()), (tarfile.TarInfo("gateway.db"), b"more")]
    with pytest.raises(ArchiveInvalid, match="has 4 bytes, and its manifest says 0"):
        extract_verified(forge(tmp_path / "bad.tar.gz", members), target, ignore)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00"])
def test_something_else_is_no_backup(tmp_path: Path, target: Path, content: bytes) -> None:
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ArchiveInvalid):
        extract_verified(path, target, ignore)


def test_settings_come_back_and_strangers_among_them_do_not(tmp_path: Path, target: Path) -> None:
    database = tmp_path / "gateway.db"
    database.touch()
    settings = {"ALLOWED_SERVER_NETWORKS": "10.0.0.0/8"}
    members = {"gateway.db": file_digest(database)}
    written = Manifest("0.1.0", 1, "2026-01-01T00:00:00+00:00", members, {**settings, "ADMIN_API_KEY": "no"})
    write_archive(tmp_path / "a.tar.gz", written, {"gateway.db": database}, ignore)
    assert extract_verified(tmp_path / "a.tar.gz", target, ignore).settings == settings


@pytest.mark.parametrize("value", ["\x1b[2J", "10.0.0.0/8\n", "x" * 5000])
def test_a_setting_that_could_steer_a_terminal_is_refused(tmp_path: Path, target: Path, value: str) -> None:
    document = manifest_json(settings={"ALLOWED_SERVER_NETWORKS": value})
    path = forge(tmp_path / "bad.tar.gz", [(tarfile.TarInfo("manifest.json"), document)])
    with pytest.raises(ArchiveInvalid, match="a setting in its manifest"):
        extract_verified(path, target, ignore)
