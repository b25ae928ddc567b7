"""Where do lines of the log stand, in the file and in those that it was before? Positions outlive a rotation.

A file is known by its inode and by its first line: inodes are given anew. Files are read from the end backwards in
blocks, so that the last lines cost the same however long the log is.
"""

from __future__ import annotations

import os
import re
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.services.core.errors import FieldsInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["LogFile", "Position", "opened_files"]

BLOCK_BYTES: Final = 65_536
_MARK_BYTES: Final = 64
_POSITION: Final = re.compile(r"([0-9a-f]{1,32})\.([0-9a-f]{1,16})\.([0-9a-f]{1,8})")


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two lines of the log."""

    inode: int
    offset: int
    mark: int
    """A checksum of the beginning of the file; 0 of an empty one."""

    def __str__(self) -> str:
        return f"{self.inode:x}.{self.offset:x}.{self.mark:x}"

    @classmethod
    def read(cls, text: str) -> Position:
        """Read what ``str`` wrote.

        Raises:
            FieldsInvalid: it is no position.
        """
        form = _POSITION.fullmatch(text)
        if form is None:
            raise FieldsInvalid("cursor: is no place in the log. Begin again at the newest lines.", param="cursor")
        inode, offset, mark = (int(digits, 16) for digits in form.groups())
        return cls(inode, offset, mark)


class LogFile:
    """One open file of the log, as long as it was when it was opened.

    Args:
        stream: open for reading, unbuffered.
    """

    __slots__ = ("_mark", "_stream", "inode", "size_bytes")

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        status = os.fstat(stream.fileno())
        self.inode, self.size_bytes = status.st_ino, status.st_size
        self._mark = self._marked()

    def position(self, offset: int) -> Position:
        """Name a place in it."""
        return Position(self.inode, offset, self._mark)

    def holds(self, position: Position) -> bool:
        """Whether a place lies in this file. One that was empty then has been given its first line since."""
        is_same = position.mark == self._mark or (position.mark == 0 and position.offset == 0)
        return position.inode == self.inode and is_same and position.offset <= self.size_bytes

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        """Read from a place on, as far as there is something.

        Raises:
            OSError: it can't be read.
        """
        self._stream.seek(offset)
        parts = []
        while size_bytes > 0 and (part := self._stream.read(size_bytes)):
            parts.append(part)
            size_bytes -= len(part)
        return b"".join(parts)

    def lines_before(self, end: int, floor: int = 0) -> Iterator[tuple[int, bytes]]:
        """Give the lines between ``floor`` and ``end``, the last one first, each with the place where it begins.

        Where ``floor`` lies within a line, the last one given is the rest of that line, with ``floor`` as its place.

        Raises:
            OSError: it can't be read.
        """
        if end <= floor:
            return
        begins = end - 1 if self.read_at(end - 1, 1) == b"\n" else end
        pieces = [b""]
        while begins > floor:
            size = min(BLOCK_BYTES, begins - floor)
            begins -= size
            head, *lines = self.read_at(begins, size).split(b"\n")
            place = begins + size
            for line in reversed(lines):
                place -= len(line)
                yield place, b"".join((line, *reversed(pieces)))
                place -= 1
                pieces = []
            pieces.append(head)
        yield floor, b"".join(reversed(pieces))

    def last_line_break(self) -> int:
        """Where the last whole line ends; 0 where there is none."""
        end = self.size_bytes
        while end > 0:
            begins = max(0, end - BLOCK_BYTES)
            found = self.read_at(begins, end - begins).rfind(b"\n")
            if found >= 0:
                return begins + found + 1
            end = begins
        return 0

    def _marked(self) -> int:
        first = self.read_at(0, _MARK_BYTES).split(b"\n")[0]
        return zlib.crc32(first) or 1 if self.size_bytes else 0


@contextmanager
def opened_files(path: Path, backup_count: int) -> Iterator[list[LogFile]]:
    """Open the log and its backups, the newest first; those that are not there are left out.

    Raises:
        OSError: one is there and can't be opened.
    """
    with ExitStack() as stack:
        files: list[LogFile] = []
        for name in (path, *(path.with_name(f"{path.name}.{number}") for number in range(1, backup_count + 1))):
            try:
                file = LogFile(stack.enter_context(name.open("rb", buffering=0)))
            except FileNotFoundError:
                continue
            if all(file.inode != other.inode for other in files):  # rotated while they were opened
                files.append(file)
        yield files
