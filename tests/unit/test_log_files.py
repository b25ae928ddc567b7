"""Where do lines of the log stand?"""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services import log_files
from app.services.core.errors import FieldsInvalid
from app.services.log_files import LogFile, Position, opened_files


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(log_files, "BLOCK_BYTES", 7)


def pieces_of(path, end, floor):
    with opened_files(path, 1) as files:
        return list(files[0].lines_before(end, floor))


@given(data=st.binary(max_size=60).map(lambda data: data.replace(b"a", b"\n")), cuts=st.data())
def test_lines_come_backwards_each_with_its_place(tmp_path_factory, data, cuts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_files, "BLOCK_BYTES", 7)
        path = tmp_path_factory.mktemp("log") / "gateway.log"
        path.write_bytes(data)
        end = cuts.draw(st.integers(0, len(data)))
        floor = cuts.draw(st.integers(0, end))
        pieces = pieces_of(path, end, floor)
    whole = data[floor:end]
    expected = whole.removesuffix(b"\n").split(b"\n") if whole else []
    assert [piece for _place, piece in pieces] == expected[::-1]
    assert all(data[place : place + len(piece)] == piece for place, piece in pieces)
    assert all(place == floor or data[place - 1 : place] == b"\n" for place, _piece in pieces)


@pytest.mark.parametrize(("data", "ends"), [(b"", 0), (b"abc", 0), (b"a\nbc", 2), (b"a\n", 2), (b"a\n" + b"z" * 30, 2)])
def test_where_the_last_whole_line_ends(tmp_path, small_blocks, data, ends):
    path = tmp_path / "gateway.log"
    path.write_bytes(data)
    with path.open("rb", buffering=0) as stream:
        assert LogFile(stream).last_line_break() == ends


def test_a_position_is_read_back():
    position = Position(2**64 - 1, 12, 0xFFFFFFFF)
    assert Position.read(str(position)) == position
    with pytest.raises(FieldsInvalid):
        Position.read("here")


def test_files_are_opened_newest_first_and_closed(tmp_path):
    for name in ("gateway.log", "gateway.log.1", "gateway.log.3", "gateway.log.9"):
        (tmp_path / name).write_text(name)
    with opened_files(tmp_path / "gateway.log", 5) as files:
        assert [file.read_at(0, 100).decode() for file in files] == ["gateway.log", "gateway.log.1", "gateway.log.3"]
    with pytest.raises(ValueError, match="closed"):
        files[0].read_at(0, 1)


def test_a_file_that_is_seen_twice_counts_once(tmp_path):
    (tmp_path / "gateway.log").write_text("x")
    (tmp_path / "gateway.log.1").hardlink_to(tmp_path / "gateway.log")
    with opened_files(tmp_path / "gateway.log", 5) as files:
        assert len(files) == 1


def test_a_file_that_ends_early_ends_the_reading():
    class Cut(io.BytesIO):
        def fileno(self):
            return 0

    stream = Cut(b"abc")
    assert LogFile(stream).read_at(1, 100) == b"bc"
