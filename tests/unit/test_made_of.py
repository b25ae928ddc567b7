"""What is the gateway made of?"""

from __future__ import annotations

from pathlib import Path

from app import __version__
from app.services.made_of import database_file, versions


def test_versions_and_database_are_told(tmp_path: Path) -> None:
    told = dict(versions())
    assert told["Gateway"] == __version__
    assert {"Python", "SQLite", "fastapi", "uvicorn", "System"} <= told.keys()
    (tmp_path / "gateway.db").write_bytes(b"x" * 10)
    file = database_file(tmp_path / "gateway.db")
    assert (file.size_bytes, file.log_bytes) == (10, None)
    assert file.free_bytes
    assert file.path == str(tmp_path / "gateway.db")


def test_a_database_that_is_not_there_has_no_size(tmp_path: Path) -> None:
    file = database_file(tmp_path / "nowhere" / "gateway.db")
    assert (file.size_bytes, file.free_bytes) == (None, None)
