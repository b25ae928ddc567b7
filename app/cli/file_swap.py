"""How do new files take the place of old ones: all of them or none, under the right owner, and safe from a crash?

Each new file is first written to the disk beside its target, so that what follows are renames inside one folder, which
can't fail for want of space or because two folders lie on different disks. What was there keeps a second name before
it is replaced; at the first failure everything goes back.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.utils.database_files import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["NotTakenBack", "Replacement", "free_suffix", "hand_over", "make_folder", "replace_all"]

_OWNER_ONLY: Final = 0o600


class NotTakenBack(Exception):
    """A failed swap could not be undone either; the message names each file and where its old content is."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """A new file and the place it takes. ``side_files`` are suffixes of what belongs to the old one, and goes."""

    new: Path
    target: Path
    side_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Step:
    """What was done at one place: where its old content is now, or None if there was none."""

    place: Path
    aside: Path | None

    def undo(self) -> None:
        if self.aside is None:
            self.place.unlink(missing_ok=True)
        elif self.place.exists() and self.place.samefile(self.aside):
            self.aside.unlink()  # Two names of one file: a rename would leave both.
        else:
            self.aside.replace(self.place)


def replace_all(replacements: Sequence[Replacement], suffix: str) -> list[Path]:
    """Put every new file in its place, in the order given; the old ones stay beside them, named with ``suffix``.

    At no moment is there no file: after a crash or a power cut the next start finds the old one or the new one, never
    an empty one of its own making. It can be run again.

    Returns:
        Where the old files are.

    Raises:
        OSError: something failed, and everything is as it was.
        NotTakenBack: something failed, and so did taking it back.
    """
    staged: list[Path] = []
    steps: list[_Step] = []
    made: list[Path] = []
    try:
        for item in replacements:
            made += make_folder(item.target.parent)
            staged.append(item.target.with_name(f".{item.target.name}.{os.getpid()}.new"))
            _stage(item, staged[-1])
        for item in replacements:
            _keep_old(item, suffix, steps)
        for item, new in zip(replacements, staged, strict=True):
            sync_folder(item.target.parent)
            for side in item.side_files:
                item.target.with_name(item.target.name + side).unlink(missing_ok=True)
            new.replace(item.target)
            sync_folder(item.target.parent)
    except (Exception, KeyboardInterrupt) as error:
        _take_back(steps, error)
        _remove(staged, reversed(made))
        raise
    return [step.aside for step in steps if step.aside is not None]


def free_suffix(wanted: str, targets: Iterable[Path]) -> str:
    """``wanted``, or with a number behind it the first that no file beside ``targets`` has."""
    beside = list(targets)
    candidates = itertools.chain((wanted,), (f"{wanted}-{number}" for number in itertools.count(2)))
    return next(
        candidate
        for candidate in candidates
        if not any(target.with_name(target.name + candidate).exists() for target in beside)
    )


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and its missing parents, each for the owner of the one above; returns those made, topmost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    missing.reverse()
    for path in missing:
        path.mkdir(exist_ok=True)
        hand_over(path, like=path.parent)
    return missing


def hand_over(path: Path, *, like: Path) -> None:
    """Where root does the work, give ``path`` to the owner of ``like``, or of its folder if it isn't there.

    A gateway that runs under a user of its own could not open what belongs to root.
    """
    if sys.platform == "win32" or os.geteuid() != 0:
        return
    model = (like if like.exists() else like.parent).stat()
    os.chown(path, model.st_uid, model.st_gid, follow_symlinks=False)


def _stage(item: Replacement, staged: Path) -> None:
    """Have the new file on the disk beside its target, readable by its owner only."""
    staged.unlink(missing_ok=True)
    try:
        item.new.replace(staged)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(item.new, staged)
    hand_over(staged, like=item.target)


def _keep_old(item: Replacement, suffix: str, steps: list[_Step]) -> None:
    """Give the old file and its side files a second name. What is done is noted in ``steps``."""
    kept = item.target.with_name(item.target.name + suffix)
    for side in ("", *item.side_files):
        old = item.target.with_name(item.target.name + side)
        if old.exists():
            aside = kept.with_name(kept.name + side)
            _keep(old, aside)
            steps.append(_Step(old, aside))
        elif not side:
            steps.append(_Step(old, None))


def _keep(old: Path, aside: Path) -> None:
    """Give a file a second name, or copy it where the file system knows no hard links. Nothing is overwritten.

    Raises:
        OSError: neither works, or the name is taken.
    """
    try:
        aside.hardlink_to(old)
    except FileExistsError:
        raise
    except OSError:
        _copy(old, aside)  # Not a rename: at no moment may there be no file.


def _copy(source: Path, target: Path) -> None:
    """Write a private copy that is on the disk when this returns, whole or not at all."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with source.open("rb") as reading, os.fdopen(os.open(target, flags, _OWNER_ONLY), "wb") as writing:
        try:
            shutil.copyfileobj(reading, writing)
            writing.flush()
            os.fsync(writing.fileno())
        except BaseException:
            target.unlink()  # Half a copy would pass for the whole.
            raise
    hand_over(target, like=source)


def _take_back(steps: list[_Step], cause: BaseException) -> None:
    failed: list[str] = []
    for step in reversed(steps):
        try:
            step.undo()
        except OSError:
            failed.append(f"{step.place} (its old content is {step.aside})" if step.aside else str(step.place))
    if failed:
        raise NotTakenBack(", ".join(failed)) from cause


def _remove(files: Iterable[Path], folders: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
    for folder in folders:
        folder.rmdir()
