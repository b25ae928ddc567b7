"""Where do log lines go? To the console, to a file that rotates, and, for requests, there in batches.

The file is written unbuffered in whole lines, so that a killed process loses none that it wrote. A file that can't be
written costs its lines, never the gateway: it is told once on the console, and tried again with the next line.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections import deque
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["BatchedLines", "ConsoleSink", "FileSink"]

_DEFAULT_CAPACITY_LINES = 50_000
_DELETE = 0x7F
_CONTROL_TO_QUESTION_MARK = bytes(ord("?") if code < ord(" ") or code == _DELETE else code for code in range(256))


class ConsoleSink(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at the moment: tests and terminals replace it."""

    def __init__(self) -> None:
        super().__init__()
        self.lost_lines = 0
        """Lines that the console did not take, a closed pipe for example; there is nowhere left to tell."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self._write(self.format(record) + "\n")

    def write_lines(self, data: bytes) -> None:
        """Write whole lines, each ended by a newline, at once."""
        self.acquire()
        try:
            self._write(data.decode("utf-8", "backslashreplace"))
        finally:
            self.release()

    def _write(self, text: str) -> None:
        stream = sys.stderr
        try:
            stream.write(text)
            stream.flush()
        except UnicodeEncodeError:
            stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            stream.flush()
        except (OSError, ValueError, AttributeError):  # gone, closed, or None under pythonw
            self.lost_lines += text.count("\n")


class FileSink(RotatingFileHandler):
    """Appends to a file that is rotated by size; UTF-8.

    Args:
        path: the file; its folder is made.
        max_bytes: size past which a line starts a new file.
        backup_count: how many old files are kept, as ``.1`` to ``.N``.
        on_failure: called once when writing begins to fail, with the reason.

    Raises:
        OSError: the file can't be opened.
    """

    def __init__(self, path: Path, *, max_bytes: int, backup_count: int, on_failure: Callable[[OSError], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._on_failure = on_failure
        self._failing = False
        self._unrotated = False
        super().__init__(path, maxBytes=max_bytes, backupCount=backup_count, encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; rotate first if it would not fit."""
        self._write(self.format(record).encode("utf-8", "backslashreplace") + b"\n")

    def write_lines(self, data: bytes) -> None:
        """Write whole lines, each ended by a newline, in one system call."""
        self.acquire()
        try:
            self._write(data)
        finally:
            self.release()

    def _write(self, data: bytes) -> None:
        try:
            descriptor = self._descriptor_with_room(len(data))
            written = os.write(descriptor, data)
            if written < len(data):  # the rest fails with the reason, a full disk mostly
                os.write(descriptor, data[written:])
            self._failing = self._unrotated
        except OSError as error:
            self._fail(error)

    def _descriptor_with_room(self, size_bytes: int) -> int:
        """Give the file to write to: a new one when the old is full, or was removed or rotated under our hands."""
        if self.stream is None:
            self.stream = self._open()
        status = os.fstat(self.stream.fileno())
        if status.st_nlink == 0 or (self._is_full(status, size_bytes) and self._is_elsewhere(status)):
            self.stream.close()
            self.stream = self._open()
            status = os.fstat(self.stream.fileno())
        if self._is_full(status, size_bytes):
            self._rotate()
        return self.stream.fileno()

    def _is_full(self, status: os.stat_result, size_bytes: int) -> bool:
        return status.st_size > 0 and status.st_size + size_bytes > self.maxBytes

    def _is_elsewhere(self, status: os.stat_result) -> bool:
        """Whether the open file has another name by now: the process that replaces this one has rotated it."""
        try:
            there = os.stat(self.baseFilename)  # noqa: PTH116 - the handler keeps its path as text
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != (status.st_dev, status.st_ino)

    def _rotate(self) -> None:
        """Start a new file. If the old ones can't be renamed, go on in the one there is."""
        try:
            self.doRollover()
            self._unrotated = False
        except OSError as error:
            self._fail(error)
            self._unrotated = True
            if self.stream is None:
                self.stream = self._open()

    def _fail(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            self._on_failure(error)


class BatchedLines:
    """Takes the lines of requests and writes them together: taking them costs neither lock nor system call.

    One line by the handlers costs more than the rest of a short request; a batch costs one write. What was taken
    since the last flush is lost by kill -9, and nothing else. ``append`` and ``extend`` belong to the event loop's
    thread; ``flush`` may be called from any.

    Args:
        capacity_lines: how many lines may wait; beyond it new ones are dropped, counted and told at the next flush.
    """

    __slots__ = ("_blocks", "_capacity", "_flushing", "_taken", "_told_dropped", "_written", "dropped_lines", "enabled")

    def __init__(self, capacity_lines: int = _DEFAULT_CAPACITY_LINES) -> None:
        self._blocks: deque[tuple[bytes, int]] = deque()  # one thread appends while another takes away
        self._capacity = capacity_lines
        self._taken = self._written = self._told_dropped = 0
        self._flushing = threading.Lock()
        self.dropped_lines = 0
        """Lines lost since the start because too many waited."""
        self.enabled = logging.getLogger().isEnabledFor(logging.INFO)
        """Whether the log's level lets request lines through; when not, a caller need not make them."""
        atexit.register(self.flush)

    def append(self, line: bytes) -> None:
        """Take one line, without its newline, encoded as UTF-8. Control characters in it are written as ``?``."""
        self.extend(line.translate(_CONTROL_TO_QUESTION_MARK) + b"\n", 1)

    def extend(self, block: bytes, count: int) -> None:
        """Take so many lines at once, each ended by a newline.

        They hold no other control characters, by the word of who made them: to look would cost as much as to write.
        """
        if self._taken - self._written + count > self._capacity:
            self.dropped_lines += count
        else:
            self._taken += count
            self._blocks.append((block, count))

    def flush(self) -> None:
        """Write what has been taken, in one write to each sink."""
        with self._flushing:
            waiting = [self._blocks.popleft() for _ in range(len(self._blocks))]
            dropped = self.dropped_lines - self._told_dropped
            self._told_dropped += dropped
            if waiting and self.enabled:
                data = b"".join([block for block, _count in waiting])
                for sink in logging.getLogger().handlers:
                    if isinstance(sink, ConsoleSink | FileSink):
                        sink.write_lines(data)
            self._written += sum([count for _block, count in waiting])
        if dropped:
            logging.getLogger(__name__).warning(
                "Request log lines were dropped: more than %d waited; %d are missing", self._capacity, dropped
            )

    def close(self) -> None:
        """Write what is left, and let go of the exit hook."""
        self.flush()
        atexit.unregister(self.flush)
