"""Do two processes of one user find each other, and nobody else them?"""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from app.cli.exits import CommandFailed
from app.cli.handover_place import HANDOVER_SOCKET, MeetingPlace, call

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such sockets there")


def met(folder: Path, place: MeetingPlace) -> bool:
    """Whether who calls gets through to this place."""
    caller = call(folder)
    assert caller is not None
    with caller:
        try:
            place.listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


def test_it_is_private_and_goes_with_its_process(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "data"
    place = MeetingPlace(folder)
    assert stat.S_IMODE((folder / HANDOVER_SOCKET).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [HANDOVER_SOCKET]
    assert met(folder, place)
    place.close()
    assert list(folder.iterdir()) == []


def test_there_is_none_to_call(tmp_path: Path) -> None:
    assert call(tmp_path / "nowhere") is None
    (tmp_path / HANDOVER_SOCKET).touch()
    assert call(tmp_path) is None


def test_one_that_was_killed_leaves_a_path_that_the_next_one_takes(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / HANDOVER_SOCKET))
        killed.listen()
    assert call(tmp_path) is None
    place = MeetingPlace(tmp_path)
    assert met(tmp_path, place)
    place.close()


def test_the_latest_is_found_and_the_one_before_takes_nothing_away(tmp_path: Path) -> None:
    before, after = MeetingPlace(tmp_path), MeetingPlace(tmp_path)
    before.close()
    assert met(tmp_path, after)
    after.close()


def test_a_folder_that_goes_is_no_trouble(tmp_path: Path) -> None:
    place = MeetingPlace(tmp_path / "data")
    (tmp_path / "data" / HANDOVER_SOCKET).unlink()
    (tmp_path / "data").rmdir()
    place.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a way round")
def test_a_path_may_be_long(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["long" * 10] * 4)
    place = MeetingPlace(folder)
    assert met(folder, place)
    place.close()


def test_a_place_that_can_not_be_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / HANDOVER_SOCKET).mkdir()
    with pytest.raises(OSError, match="directory"):
        MeetingPlace(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [HANDOVER_SOCKET]


def test_one_that_may_not_be_spoken_to_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_connection: socket.socket, _address: str) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(socket.socket, "connect", denied)
    with pytest.raises(CommandFailed, match="can't be reached") as caught:
        call(tmp_path)
    assert "as the user who runs the gateway" in caught.value.fix
