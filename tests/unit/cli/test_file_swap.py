"""Do all new files take their places or none, whatever fails, and under the right owner?"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from app.cli.file_swap import NotTakenBack, Replacement, free_suffix, hand_over, make_folder, replace_all

OTHER_USER = 12345
by_root = pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="takes root")


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    with TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def new_file(folder: Path, name: str, target: Path, *side_files: str) -> Replacement:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"new {name}")
    return Replacement(folder / name, target, side_files)


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("key", "base", "base-wal"):
        (folder / name).write_text(f"old {name}")
    return folder


@pytest.fixture
def wanted(tmp_path: Path, home: Path) -> Callable[[], list[Replacement]]:
    def make() -> list[Replacement]:
        source = tmp_path / "new"
        return [
            new_file(source, "fresh", home / "data" / "fresh"),
            new_file(source, "key", home / "key"),
            new_file(source, "base", home / "base", "-wal", "-shm"),
        ]

    return make


def test_all_are_replaced_and_the_old_ones_kept(home: Path, wanted: Callable[[], list[Replacement]]) -> None:
    aside = replace_all(wanted(), ".old")
    assert aside == [home / "key.old", home / "base.old", home / "base.old-wal"]
    assert contents(home) == {
        "data/fresh": "new fresh",
        "key": "new key",
        "base": "new base",
        "key.old": "old key",
        "base.old": "old base",
        "base.old-wal": "old base-wal",
    }


@pytest.mark.parametrize("number", range(20))
def test_any_failure_takes_everything_back(
    home: Path, wanted: Callable[[], list[Replacement]], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Each call that changes something fails once, and works again when it is taken back."""
    before, calls = contents(home), 0

    def failing(original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == number + 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return original(*arguments, **options)

        return call

    replacements = wanted()
    failed = False
    with monkeypatch.context() as patched:
        for name in ("link", "replace", "unlink", "mkdir", "fsync"):
            patched.setattr(os, name, failing(getattr(os, name)))
        try:
            replace_all(replacements, ".old")
        except OSError as error:
            failed = error.errno == errno.ENOSPC
    if failed:
        assert contents(home) == before
        assert not (home / "data").exists()
    else:
        assert contents(home)["base"] == "new base"


def test_an_interrupt_takes_everything_back(
    home: Path, wanted: Callable[[], list[Replacement]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, replacements = contents(home), wanted()

    def interrupt(_folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.cli.file_swap.sync_folder", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace_all(replacements, ".old")
    assert contents(home) == before


def test_what_cannot_be_taken_back_is_named(
    home: Path, wanted: Callable[[], list[Replacement]], monkeypatch: pytest.MonkeyPatch
) -> None:
    replacements, original = wanted(), os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(target) in {home / "base", home / "key"} and Path(source).name != f".key.{os.getpid()}.new":
            raise PermissionError(errno.EACCES, "Permission denied", str(target))
        original(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(NotTakenBack, match=r"key \(its old content is .*key\.old\)"):
        replace_all(replacements, ".old")
    assert (home / "key.old").read_text() == "old key"


def test_a_target_on_another_disk(tmp_path: Path, other_disk: Path, home: Path) -> None:
    (other_disk / "key").write_text("old")
    source = tmp_path / "new"
    replacements = [new_file(source, "key", other_disk / "key"), new_file(source, "base", home / "base")]
    assert replace_all(replacements, ".old") == [other_disk / "key.old", home / "base.old"]
    assert contents(other_disk) == {"key": "new key", "key.old": "old"}
    assert stat.S_IMODE((other_disk / "key").stat().st_mode) == 0o600


def test_a_copy_to_another_disk_that_fails_changes_nothing(
    home: Path, wanted: Callable[[], list[Replacement]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, replacements = contents(home), wanted()

    def other_disk(_source: Path, _target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "replace", other_disk)
    with pytest.raises(OSError, match="cross-device"):
        replace_all(replacements, ".old")
    assert contents(home) == before


@by_root
def test_what_root_writes_belongs_to_whom_the_old_one_did(home: Path, wanted: Callable[[], list[Replacement]]) -> None:
    os.chown(home, OTHER_USER, OTHER_USER)
    os.chown(home / "key", OTHER_USER + 1, OTHER_USER + 1)
    os.chown(home / "base", OTHER_USER, OTHER_USER)
    replace_all(wanted(), ".old")
    owners = {name: (home / name).stat().st_uid for name in ("data", "data/fresh", "key", "base")}
    assert owners == {"data": OTHER_USER, "data/fresh": OTHER_USER, "key": OTHER_USER + 1, "base": OTHER_USER}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such owners")
@pytest.mark.parametrize(("user", "expected"), [(0, 1), (1000, 0)])
def test_only_root_hands_files_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, expected: int) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "chown", lambda *arguments, **_options: calls.append(arguments))
    hand_over(tmp_path / "file", like=tmp_path / "absent")
    owner = tmp_path.stat()
    assert calls == [(tmp_path / "file", owner.st_uid, owner.st_gid)] * expected


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b") == [tmp_path / "a", tmp_path / "a" / "b"]
    assert make_folder(tmp_path / "a" / "b") == []


def test_a_free_suffix(tmp_path: Path) -> None:
    targets = [tmp_path / "a", tmp_path / "b"]
    assert free_suffix(".x", targets) == ".x"
    (tmp_path / "b.x").touch()
    (tmp_path / "a.x-2").touch()
    assert free_suffix(".x", targets) == ".x-3"
