"""Which backups are there, and how is one made while the gateway runs?"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tarfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.services.backups import MOST_SHOWN, Backups
from app.services.core.errors import Conflict, NotAllowed, Unavailable
from app.services.core.keys import Principal, Role
from app.utils.config import Settings, load_settings
from app.utils.tasks import TaskKeeper
from tests.fakes.gateway_process import until

OPERATOR = Principal("admin", "operator", Role.ADMIN)
NOW = datetime(2030, 1, 31, 8, 0, tzinfo=UTC)


@pytest.fixture
def settings(empty_directory: Path) -> Settings:
    with closing(sqlite3.connect(empty_directory / "gateway.db")) as database:
        database.execute("CREATE TABLE some (thing)")
        database.execute("PRAGMA user_version=3")
        database.commit()
    (empty_directory / "data").mkdir()
    (empty_directory / "data" / "encryption.key").write_bytes(b"k" * 32)
    return load_settings()


def made(settings: Settings) -> Backups:
    return Backups(settings, TaskKeeper(), lambda: NOW)


async def ended(backups: Backups) -> Any:
    async def is_over() -> object:
        state = await backups.state(OPERATOR)
        return state if state.running_since is None else None

    return await until(is_over, "the backup ends", seconds=40)


async def test_a_backup_is_made_and_listed(settings: Settings) -> None:
    backups = made(settings)
    assert (await backups.state(OPERATOR)).files == ()
    await backups.begin(OPERATOR)
    with pytest.raises(Conflict):
        await backups.begin(OPERATOR)
    assert (await backups.state(OPERATOR)).running_since == NOW
    state = await ended(backups)
    assert state.failure == ""
    (file,) = state.files
    assert file.path == Path.cwd() / "backups" / "gateway-20300131T080000Z.tar.gz"
    assert file.size_bytes > 0
    with tarfile.open(file.path) as archive:
        assert set(archive.getnames()) == {"manifest.json", "gateway.db", "encryption.key"}
    if os.name == "posix":
        assert file.path.stat().st_mode & 0o077 == 0


async def test_the_database_in_force_is_saved_whatever_the_environment_says(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups = Backups(load_settings(database_url="sqlite:///./gateway.db"), TaskKeeper(), lambda: NOW)
    monkeypatch.setenv("DATABASE_URL", "sqlite:///./elsewhere.db")
    await backups.begin(OPERATOR)
    assert (await ended(backups)).failure == ""


async def test_a_failure_is_told_in_the_commands_words(settings: Settings) -> None:
    backups = made(settings)
    Path("gateway.db").write_bytes(b"no database at all" * 100)
    await backups.begin(OPERATOR)
    state = await ended(backups)
    assert "database" in state.failure
    assert state.files == ()


async def test_a_full_disk_is_found_before(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=10))
    backups = made(settings)
    with pytest.raises(Unavailable, match="no room"):
        await backups.begin(OPERATOR)
    assert (await backups.state(OPERATOR)).running_since is None


async def test_the_newest_are_listed_first_and_not_all(settings: Settings) -> None:
    folder = Path("backups")
    folder.mkdir()
    for number in range(MOST_SHOWN + 3):
        path = folder / f"gateway-{number}.tar.gz"
        path.write_bytes(b"x" * number)
        moment = (NOW + timedelta(hours=number)).timestamp()
        os.utime(path, (moment, moment))
    (folder / "something-else.txt").touch()
    state = await made(settings).state(OPERATOR)
    assert state.count == MOST_SHOWN + 3
    assert [file.size_bytes for file in state.files] == list(range(MOST_SHOWN + 2, 2, -1))
    assert state.files[0].made_at == NOW + timedelta(hours=MOST_SHOWN + 2)


@pytest.mark.parametrize(
    "principal", [Principal("o", "owner", Role.OWNER), Principal("g", "group's admin", Role.ADMIN, group="lab")]
)
async def test_only_the_operator_may(settings: Settings, principal: Principal) -> None:
    backups = made(settings)
    with pytest.raises(NotAllowed):
        await backups.begin(principal)
    with pytest.raises(NotAllowed):
        await backups.state(principal)
