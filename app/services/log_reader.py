"""What does the log say? A page of it at a time, newest first, back into the files that it was before.

Nothing is kept: each call opens the files, reads from the end as far as it must, and closes them, in a thread. A call
looks through a bounded number of bytes, and rests between blocks, so that requests go on meanwhile. Secrets were taken
out when the lines were written; what is read is redacted again, in case that something else wrote there.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec import structs

from app.services.core.reporting.log_lines import CONTINUATION, moment_of_line, read_record
from app.services.core.reporting.log_query import OUT_OF_ORDER, is_past, may_hold, wants
from app.services.log_files import BLOCK_BYTES, Position, opened_files
from app.services.registry.access import require_operators_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from app.services.core.people.principal import Principal
    from app.services.core.reporting.log_lines import LogRecord
    from app.services.core.reporting.log_query import LogQuery
    from app.services.log_files import LogFile
    from app.utils.log_redaction import Redactor

__all__ = ["LogPage", "LogReader"]

MOST_BYTES: Final = 8 * 1_048_576
_MOST_AT_ONCE: Final = 2
"""How many calls may read at the same time; others wait for their turn."""
_WORK_SECONDS: Final = 0.001
_REST_SECONDS: Final = 0.0005
"""A thread that reads works and rests by turns: the event loop would wait for it up to 5 ms otherwise, each time."""
_LONGEST_LINE_BYTES: Final = 262_144
_NEAR_ENOUGH_BYTES: Final = 524_288
_MEBIBYTE: Final = 1_048_576
_CONTINUATION: Final = CONTINUATION.encode()


@dataclass(frozen=True, slots=True)
class LogPage:
    """Records, the newest first.

    Attributes:
        records: those that are wanted.
        older: gets the page before this one; empty where there is nothing older to look at.
        newest: gets, by ``tail``, what is written from now on.
        note: what a reader should know, in words; empty mostly.
        is_cut: of ``tail``: more was written since than is told here.
        is_anew: of ``tail``: the place was not found any more; these are the newest records there are.
    """

    records: tuple[LogRecord, ...] = ()
    older: str = ""
    newest: str = ""
    note: str = ""
    is_cut: bool = False
    is_anew: bool = False


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What of a file is to be looked through: from ``end`` down to ``begin``, or to ``floor`` if that is first."""

    file: LogFile
    begin: int
    end: int
    floor: int


class LogReader:
    """Reads the log.

    Args:
        path: the log file.
        backup_count: how many files it was before are kept, as ``.1`` to ``.N``.
        redactor: takes secrets out of what is shown.
        most_bytes: how much a call looks through.
        rest: called now and then by a thread that reads, to let others run.
    """

    def __init__(
        self,
        path: Path,
        *,
        backup_count: int,
        redactor: Redactor,
        most_bytes: int = MOST_BYTES,
        rest: Callable[[], None] = lambda: time.sleep(_REST_SECONDS),
    ) -> None:
        self._path = path
        self._backup_count = backup_count
        self._redactor = redactor
        self._most_bytes = most_bytes
        self._rest = rest
        self._turn = asyncio.Semaphore(_MOST_AT_ONCE)

    async def page(self, principal: Principal, query: LogQuery, cursor: str = "") -> LogPage:
        """Read a page.

        Args:
            principal: who asks.
            query: which records are wanted.
            cursor: ``older`` of the page after this one; empty: the newest.

        Raises:
            NotAllowed: not the operator's key: the log tells of everybody.
            FieldsInvalid: the cursor is none.
        """
        require_operators_word(principal)
        place = Position.read(cursor) if cursor else None
        return await self._in_thread(lambda files: self._page(files, query, place))

    async def tail(self, principal: Principal, query: LogQuery, after: str) -> LogPage:
        """Read what was written since, as far as it is wanted: the newest of it where it is much.

        Args:
            principal: who asks.
            query: which records are wanted.
            after: ``newest`` of an earlier call; empty: all there is.

        Raises:
            NotAllowed: not the operator's key.
            FieldsInvalid: ``after`` is no place in the log.
        """
        require_operators_word(principal)
        place = Position.read(after) if after else None
        return await self._in_thread(lambda files: self._tail(files, query, place))

    async def _in_thread(self, read: Callable[[list[LogFile]], LogPage]) -> LogPage:
        async with self._turn:
            return await asyncio.to_thread(self._opened, read)

    def _opened(self, read: Callable[[list[LogFile]], LogPage]) -> LogPage:
        try:
            with opened_files(self._path, self._backup_count) as files:
                if not files:
                    return LogPage(note=f"There is no log at {self._path} yet: it begins with the first line.")
                return read(files)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return LogPage(note=f"The log at {self._path} can't be read: {reason}. See to its access rights.")

    def _page(self, files: list[LogFile], query: LogQuery, place: Position | None) -> LogPage:
        newest = files[0].position(files[0].last_line_break())
        holder = 0 if place is None else _holder(files, place)
        if holder is None:
            note = f"What came before is gone: the last {self._backup_count} files are kept (LOG_BACKUP_COUNT)."
            return LogPage(newest=str(newest), note=note)
        first_end = files[holder].size_bytes if place is None else place.offset
        page = self._read(files[holder:], query, first_end, None)
        return LogPage(page.records, page.older, str(newest), page.note)

    def _tail(self, files: list[LogFile], query: LogQuery, place: Position | None) -> LogPage:
        newest = files[0].position(files[0].last_line_break())
        holder = None if place is None else _holder(files, place)
        if place is None or holder is None:
            page = self._read(files, query, newest.offset, None)
            return LogPage(page.records, newest=str(newest), is_anew=True)
        page = self._read(files[: holder + 1], query, newest.offset, place.offset)
        return LogPage(page.records, newest=str(newest), is_cut=bool(page.older))

    def _read(self, files: Sequence[LogFile], query: LogQuery, first_end: int, last_begin: int | None) -> LogPage:
        """Look through files from one place back to another, or to the beginning of the last."""
        found: list[LogRecord] = []
        left, near = self._most_bytes, None
        older: Position | None = None
        for number, file in enumerate(files):
            end = file.size_bytes if number else first_end
            begin = (last_begin or 0) if file is files[-1] else 0
            end = _cut_to_time(file, begin, end, query.until)
            stretch = _Stretch(file, begin, end, max(begin, end - left))
            for place, lines in self._groups(stretch, is_first=older is None):
                older = file.position(place)
                record, near = self._judged(query, lines, near)
                if record is not None:
                    found.append(record)
                is_last = place == begin and file is files[-1]
                if len(found) >= query.limit:
                    return LogPage(tuple(found), "" if is_last else str(older))
                if near is not None and is_past(query, near):
                    return LogPage(tuple(found))
            left -= end - stretch.floor
            if stretch.floor > begin:
                return LogPage(tuple(found), str(older), note=self._looked_through(near))
        return LogPage(tuple(found))

    def _groups(self, stretch: _Stretch, *, is_first: bool) -> Iterator[tuple[int, list[bytes]]]:
        """Give the lines of one record after the other, the newest record first, each with the place of its begin.

        A record that is cut by the floor is left for the next call, unless this one would get nowhere then.
        """
        pending: list[bytes] = []
        rested_at = time.perf_counter()
        for place, raw in stretch.file.lines_before(stretch.end, stretch.floor):
            pending.append(raw.rstrip(b"\r"))
            is_at_floor = place == stretch.floor
            if is_at_floor and place > stretch.begin and not is_first:
                return
            if is_at_floor or not raw.startswith(_CONTINUATION):
                yield place, pending[::-1]
                pending, is_first = [], False
            if time.perf_counter() - rested_at > _WORK_SECONDS:  # after each line: one that is wanted takes some 0.4 ms
                self._rest()
                rested_at = time.perf_counter()

    def _judged(
        self, query: LogQuery, lines: list[bytes], near: datetime | None
    ) -> tuple[LogRecord | None, datetime | None]:
        """Read a record, if it is wanted.

        Returns:
            The record, and when it was written: as it says, else when its newer neighbour was.
        """
        raw = b"\n".join(lines)[:_LONGEST_LINE_BYTES]
        told = raw.decode("utf-8", "backslashreplace").split("\n")
        if not raw.strip():
            return None, near
        if not may_hold(query, raw):
            return None, near if query.since is None else moment_of_line(told[0]) or near
        record = read_record(told)
        near = record.time or near
        if not wants(query, record, near):
            return None, near
        shown = self._redacted(record)
        return (shown if shown == record or wants(query, shown, near) else None), near

    def _redacted(self, record: LogRecord) -> LogRecord:
        """Take out secrets again."""
        fields = self._redactor(None, "", dict(record.fields))
        return structs.replace(
            record,
            text=self._redactor.text(record.text),
            fields=tuple((name, str(value)) for name, value in fields.items()),
            detail=self._redactor.text(record.detail),
        )

    def _looked_through(self, near: datetime | None) -> str:
        """Say how far a call came that found less than a page."""
        back_to = "" if near is None else f" back to {near:%Y-%m-%d %H:%M:%S} UTC"
        return f"Looked through {self._most_bytes / _MEBIBYTE:.3g} MiB of the log{back_to}. Go on to look further."


def _holder(files: Sequence[LogFile], place: Position) -> int | None:
    """Which of the files a place lies in."""
    return next((number for number, file in enumerate(files) if file.holds(place)), None)


def _cut_to_time(file: LogFile, begin: int, end: int, until: datetime | None) -> int:
    """Find a place from which on all is too new, by halves, so that old times are found soon in a long file."""
    while until is not None and end - begin > _NEAR_ENOUGH_BYTES:
        middle = (begin + end) // 2
        place, moment = _first_moment(file, middle)
        if moment is not None and moment > until + OUT_OF_ORDER and place < end:
            end = place
        else:
            begin = middle
    return end


def _first_moment(file: LogFile, offset: int) -> tuple[int, datetime | None]:
    """Find the first line behind a place that says when it was written: where it begins, and when that was."""
    cut, *lines = file.read_at(offset, BLOCK_BYTES).split(b"\n")
    place = offset + len(cut) + 1
    for line in lines[:-1]:
        if moment := moment_of_line(line.decode("utf-8", "backslashreplace")):
            return place, moment
        place += len(line) + 1
    return place, None
