"""Files rotate, batches are one write, failures are told once and cost lines only."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path

import pytest

from app.utils.log_sinks import BatchedLines, ConsoleSink, FileSink

pytestmark = pytest.mark.usefixtures("fresh_logging")


@pytest.fixture
def failures() -> list[OSError]:
    return []


@pytest.fixture
def sink(tmp_path: Path, fresh_logging: logging.Logger, failures: list[OSError]) -> FileSink:
    sink = FileSink(tmp_path / "logs/gateway.log", max_bytes=100, backup_count=2, on_failure=failures.append)
    fresh_logging.addHandler(sink)
    fresh_logging.setLevel(logging.INFO)
    return sink


def log_files(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((tmp_path / "logs").iterdir())}


def test_rotation_keeps_whole_lines_and_so_many_files(tmp_path: Path, sink: FileSink):
    for number in range(20):
        sink.write_lines(f"line {number:02} {'x' * 31}\n".encode())
    files = log_files(tmp_path)
    assert list(files) == ["gateway.log", "gateway.log.1", "gateway.log.2"]
    assert [len(content) for content in files.values()] == [80, 80, 80]
    assert files["gateway.log"].startswith(b"line 18")
    assert files["gateway.log.2"].startswith(b"line 14")


def test_size_counts_bytes_not_characters(tmp_path: Path, sink: FileSink):
    sink.handle(logging.makeLogRecord({"msg": "é" * 40, "levelno": logging.INFO}))
    sink.handle(logging.makeLogRecord({"msg": "é" * 40, "levelno": logging.INFO}))
    assert {name: len(content) for name, content in log_files(tmp_path).items()} == {
        "gateway.log": 81,
        "gateway.log.1": 81,
    }


def test_a_line_larger_than_the_limit_is_written_all_the_same(tmp_path: Path, sink: FileSink):
    sink.write_lines(b"x" * 500 + b"\n")
    assert log_files(tmp_path) == {"gateway.log": b"x" * 500 + b"\n"}


def test_an_existing_file_is_continued(tmp_path: Path, sink: FileSink):
    sink.write_lines(b"one\n")
    again = FileSink(tmp_path / "logs/gateway.log", max_bytes=100, backup_count=2, on_failure=pytest.fail)
    again.write_lines(b"two\n")
    again.close()
    assert log_files(tmp_path)["gateway.log"] == b"one\ntwo\n"


@pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be removed there")
def test_a_removed_file_is_made_anew(tmp_path: Path, sink: FileSink):
    sink.write_lines(b"one\n")
    (tmp_path / "logs/gateway.log").unlink()
    sink.write_lines(b"two\n")
    assert log_files(tmp_path) == {"gateway.log": b"two\n"}


def another_process(tmp_path: Path) -> FileSink:
    return FileSink(tmp_path / "logs/gateway.log", max_bytes=100, backup_count=2, on_failure=pytest.fail)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be renamed there")
def test_a_file_that_another_process_rotated_is_followed(tmp_path: Path, sink: FileSink):
    other = another_process(tmp_path)
    sink.write_lines(b"o" * 89 + b"\n")
    sink.write_lines(b"p" * 19 + b"\n")  # rotates
    for _ in range(3):
        other.write_lines(b"N" * 19 + b"\n")
    other.close()
    files = log_files(tmp_path)
    assert list(files) == ["gateway.log", "gateway.log.1"]
    assert files["gateway.log"] == b"p" * 19 + b"\n" + (b"N" * 19 + b"\n") * 3


@pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be renamed there")
def test_what_was_followed_to_is_rotated_when_it_is_full_too(tmp_path: Path, sink: FileSink):
    other = another_process(tmp_path)
    sink.write_lines(b"o" * 89 + b"\n")
    sink.write_lines(b"p" * 89 + b"\n")  # rotates
    other.write_lines(b"N" * 19 + b"\n")
    other.close()
    assert [content[:1] for content in log_files(tmp_path).values()] == [b"N", b"p", b"o"]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be renamed there")
def test_a_full_file_that_was_moved_away_is_made_anew(tmp_path: Path, sink: FileSink):
    sink.write_lines(b"o" * 89 + b"\n")
    (tmp_path / "logs/gateway.log").rename(tmp_path / "logs/moved")
    sink.write_lines(b"N" * 19 + b"\n")
    assert log_files(tmp_path) == {"gateway.log": b"N" * 19 + b"\n", "moved": b"o" * 89 + b"\n"}


def test_a_failing_file_is_told_once_and_again_after_it_recovered(
    sink: FileSink, failures: list[OSError], monkeypatch: pytest.MonkeyPatch
):
    real_write = os.write

    def full_disk(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full_disk)
    sink.write_lines(b"one\n")
    sink.write_lines(b"two\n")
    assert [error.errno for error in failures] == [28]
    monkeypatch.setattr(os, "write", real_write)
    sink.write_lines(b"three\n")
    monkeypatch.setattr(os, "write", full_disk)
    sink.write_lines(b"four\n")
    assert len(failures) == 2


def test_a_write_cut_short_is_completed(tmp_path: Path, sink: FileSink, monkeypatch: pytest.MonkeyPatch):
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:5]))
    sink.write_lines(b"123456789\n")
    assert log_files(tmp_path)["gateway.log"] == b"123456789\n"


def test_a_file_that_can_not_be_rotated_grows(tmp_path: Path, sink: FileSink, failures: list[OSError]):
    (tmp_path / "logs/gateway.log.1").touch()
    (tmp_path / "logs/gateway.log.2").mkdir()
    for _ in range(4):
        sink.write_lines(b"x" * 79 + b"\n")
    assert (tmp_path / "logs/gateway.log").stat().st_size == 320
    assert len(failures) == 1
    (tmp_path / "logs/gateway.log.2").rmdir()
    sink.write_lines(b"x" * 79 + b"\n")
    assert (tmp_path / "logs/gateway.log").stat().st_size == 80


def test_batches_reach_file_and_console(
    tmp_path: Path, sink: FileSink, fresh_logging: logging.Logger, capsys: pytest.CaptureFixture[str]
):
    fresh_logging.addHandler(ConsoleSink())
    lines = BatchedLines()
    lines.append(b"first")
    lines.append("zweite mit é".encode())
    assert log_files(tmp_path) == {"gateway.log": b""}
    lines.flush()
    lines.flush()
    assert log_files(tmp_path) == {"gateway.log": "first\nzweite mit é\n".encode()}
    assert capsys.readouterr().err == "first\nzweite mit é\n"
    lines.close()


def test_a_batch_is_one_write(sink: FileSink, monkeypatch: pytest.MonkeyPatch):
    writes: list[bytes] = []

    def count(descriptor: int, data: bytes) -> int:
        writes.append(data)
        return len(data)

    monkeypatch.setattr(os, "write", count)
    lines = BatchedLines()
    for number in range(1000):
        lines.append(b"%d" % number)
    lines.close()
    assert len(writes) == 1
    assert writes[0].count(b"\n") == 1000


def test_a_batched_line_stays_one_line(tmp_path: Path, sink: FileSink):
    lines = BatchedLines()
    lines.append(b"a\nb\r\x1b[31mc\x00\x7f\t")
    lines.close()
    assert log_files(tmp_path)["gateway.log"] == b"a?b??[31mc???\n"


def test_beyond_the_capacity_lines_are_dropped_counted_and_told(tmp_path: Path, sink: FileSink):
    lines = BatchedLines(capacity_lines=2)
    for _ in range(5):
        lines.append(b"x")
    lines.flush()
    content = b"".join(log_files(tmp_path).values())
    assert content.count(b"x\n") == 2
    assert b"3 are missing" in content
    lines.append(b"again")
    lines.close()
    assert b"again\n" in b"".join(log_files(tmp_path).values())


def test_blocks_count_by_their_lines(tmp_path: Path, sink: FileSink):
    lines = BatchedLines(capacity_lines=3)
    lines.extend(b"one\ntwo\n", 2)
    lines.extend(b"three\nfour\n", 2)
    lines.extend(b"five\n", 1)
    assert lines.dropped_lines == 2
    lines.flush()
    lines.extend(b"six\nseven\neight\n", 3)
    lines.close()
    content = b"".join(log_files(tmp_path).values())
    assert content.startswith(b"one\ntwo\nfive\n")
    assert b"2 are missing" in content
    assert content.endswith(b"six\nseven\neight\n")
    assert lines.dropped_lines == 2


def test_lines_below_the_level_are_not_written(tmp_path: Path, sink: FileSink, fresh_logging: logging.Logger):
    fresh_logging.setLevel(logging.WARNING)
    lines = BatchedLines()
    assert not lines.enabled
    lines.append(b"x")
    lines.close()
    assert log_files(tmp_path) == {"gateway.log": b""}


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_a_console_that_is_gone_costs_its_lines_only(stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch):
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    console = ConsoleSink()
    console.handle(logging.makeLogRecord({"msg": "x"}))
    console.write_lines(b"a\nb\n")
    assert console.lost_lines == 3


def test_a_console_of_another_encoding(monkeypatch: pytest.MonkeyPatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii", errors="strict"))
    ConsoleSink().write_lines("é\n".encode())
    assert raw.getvalue() == b"\\xe9\n"
