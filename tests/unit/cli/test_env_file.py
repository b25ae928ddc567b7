"""Is .env changed where it should be, and nowhere else?"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.env_file import HEADER, Change, changes, merge, write_private

OTHER_LINES = st.lists(
    st.sampled_from(
        ["# a comment\n", "\n", "LOG_LEVEL=DEBUG\n", "PORTAL=1\n", "export X_PORT='7'\n", "no assignment\n"]
    ),
    max_size=8,
)


def test_an_absent_file_gets_a_header_and_the_settings() -> None:
    assert merge("", {"PORT": "9000"}) == f"{HEADER}PORT=9000\n"


def test_a_setting_is_changed_where_it_stands() -> None:
    assert merge("A=1\nexport port = 8000\nB=2", {"PORT": "9000"}) == "A=1\nPORT=9000\nB=2\n"


def test_a_setting_given_twice_is_left_once() -> None:
    assert merge("PORT=1\nPORT=2\n", {"PORT": "3"}) == "PORT=3\n"


@given(before=OTHER_LINES, after=OTHER_LINES, old=st.none() | st.integers(0, 9), new=st.integers(0, 9))
def test_other_lines_stay_as_they_are(before: list[str], after: list[str], old: int | None, new: int) -> None:
    present = [] if old is None else [f"PORT={old}\n"]
    merged = merge("".join([*before, *present, *after]), {"PORT": str(new)})
    kept = [line for line in merged.splitlines(keepends=True) if line not in {f"PORT={new}\n", HEADER}]
    assert kept == [*before, *after]
    assert merged.count(f"\nPORT={new}\n") + merged.startswith(f"PORT={new}\n") == 1
    assert changes(merged, {"PORT": str(new)}) == []
    assert merge(merged, {"PORT": str(new)}) == merged


def test_changes_are_told_in_words() -> None:
    found = changes("HOST='127.0.0.1'\nPORT=8000\n", {"HOST": "127.0.0.1", "PORT": "9000", "LOG_LEVEL": "DEBUG"})
    assert found == [Change("PORT", "8000", "9000"), Change("LOG_LEVEL", None, "DEBUG")]
    assert [str(change) for change in found] == ["~ PORT: 8000 -> 9000", "+ LOG_LEVEL: DEBUG"]


def test_the_file_is_private_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("old")
    write_private(path, "new\n")
    assert path.read_text() == "new\n"
    assert [entry.name for entry in tmp_path.iterdir()] == [".env"]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.write_text("old")

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_private(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == [".env"]
