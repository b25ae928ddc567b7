"""Which backups are there, and how is one made while the gateway runs? By the command, in a process of its own.

``multiverse backup`` copies, checks and packs, which takes long for a large database: in another process it takes
nothing from requests. It lands in ``backups`` beside the database, where the command writes too when it is run there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.services.core.errors import Conflict, Unavailable
from app.services.registry.access import require_operators_word
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.services.core.people.principal import Principal
    from app.utils.config import Settings
    from app.utils.tasks import TaskKeeper

__all__ = ["BackupFile", "BackupState", "Backups"]

DEADLINE_SECONDS: Final = 3600.0
MOST_SHOWN: Final = 20
_SPARE_BYTES: Final = 16 * 1_048_576
_TOLD_CHARACTERS: Final = 400
_SIDE_FILES: Final = ("", "-wal", "-shm")
_PACKAGE_FOLDER: Final = Path(__file__).parents[2]

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BackupFile:
    """One archive."""

    path: Path
    size_bytes: int
    made_at: datetime


@dataclass(frozen=True, slots=True)
class BackupState:
    """How backups stand.

    Attributes:
        folder: where new ones go.
        files: those that are there, the newest first, at most ``MOST_SHOWN``.
        count: how many there are.
        running_since: when the one that is being made began; None where none is.
        written_bytes: how much of that one is written.
        failure: why the last one failed; empty where it did not.
    """

    folder: Path
    files: tuple[BackupFile, ...]
    count: int
    running_since: datetime | None
    written_bytes: int
    failure: str


class Backups:
    """Makes backups and lists them.

    Args:
        settings: where database and keys are.
        tasks: keeps the one that runs.
        now: the present moment, timezone-aware UTC.
    """

    def __init__(self, settings: Settings, tasks: TaskKeeper, now: Callable[[], datetime]) -> None:
        self._database = settings.database_path.absolute()
        self._folder = self._database.parent / "backups"
        self._environment = _environment(settings)
        self._tasks = tasks
        self._now = now
        self._running_since: datetime | None = None
        self._target: Path | None = None
        self._failure = ""

    async def state(self, principal: Principal) -> BackupState:
        """Say how backups stand.

        Raises:
            NotAllowed: not the operator's key.
        """
        require_operators_word(principal)
        return await asyncio.to_thread(self._look)

    async def begin(self, principal: Principal) -> None:
        """Begin to make one.

        Raises:
            NotAllowed: not the operator's key.
            Conflict: one is being made.
            Unavailable: the disk has no room for it.
        """
        require_operators_word(principal)
        if self._running_since is not None:
            raise Conflict("A backup is being made already. Wait until it is done.")
        self._running_since, self._failure = self._now(), ""
        try:
            self._target = await asyncio.to_thread(self._with_room, self._running_since)
            self._tasks.spawn(self._make(self._target, principal.name), name="backup")
        except BaseException:
            self._running_since = self._target = None
            raise

    async def _make(self, target: Path, by: str) -> None:
        try:
            self._failure = await self._run(target)
            if self._failure:
                logger.warning("A backup failed", file=str(target), reason=self._failure)
            else:
                logger.info("A backup was made", file=str(target), by=by)
        finally:
            self._running_since = self._target = None

    async def _run(self, target: Path) -> str:
        """Run the command; why it failed, in its own words."""
        command = (sys.executable, "-P", "-m", "app.cli", "backup", str(target), "--json")
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *command, env=self._environment, stdin=nothing, stdout=nothing, stderr=pipe
            )
        except OSError as error:
            return f"The command could not be started: {error.strerror or type(error).__name__}."
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                _out, told = await process.communicate()
        except TimeoutError:
            return f"It was not done after {DEADLINE_SECONDS / 60:.0f} minutes, and was given up."
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
        if process.returncode == 0:
            return ""
        words = " ".join(told.decode("utf-8", "replace").split())[:_TOLD_CHARACTERS]
        return words or f"The command ended with {process.returncode}. Run `multiverse backup` to see why."

    def _with_room(self, now: datetime) -> Path:
        """Name the archive, where there is room for it: the copy stands beside it for a while.

        Raises:
            Unavailable: there is not.
        """
        size_bytes = sum(_size(self._database.with_name(self._database.name + side)) for side in _SIDE_FILES)
        free_bytes = shutil.disk_usage(self._database.parent).free
        if free_bytes < 2 * size_bytes + _SPARE_BYTES:
            raise Unavailable(
                "The disk has no room for a backup: twice the size of the database is needed. Free some, or run "
                "`multiverse backup /another/disk/gateway.tar.gz`.",
                code="disk_full",
            )
        return self._folder / f"gateway-{now:%Y%m%dT%H%M%SZ}.tar.gz"

    def _look(self) -> BackupState:
        files = sorted(self._files(), key=lambda file: file.made_at, reverse=True)
        written = sum(_size(path) for path in self._unfinished()) if self._running_since else 0
        return BackupState(
            self._folder, tuple(files[:MOST_SHOWN]), len(files), self._running_since, written, self._failure
        )

    def _files(self) -> Iterator[BackupFile]:
        for folder in {self._folder, Path("backups").absolute()}:
            for path in folder.glob("gateway-*.tar.gz"):
                try:
                    status = path.stat()
                except OSError as error:
                    logger.debug("A backup can't be looked at", file=str(path), reason=error.strerror)
                    continue
                if path != self._target:  # told once the command has ended
                    yield BackupFile(path, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def _unfinished(self) -> Iterator[Path]:
        """The copy of the database, and the archive that it is packed into."""
        for folder in self._folder.glob(".gateway-backup-*"):
            yield from folder.glob("*")
        yield from self._folder.glob(".gateway-*.partial")


def _environment(settings: Settings) -> dict[str, str]:
    """What the command reads: this process's environment, with the values in force of what a backup is made of."""
    networks = ",".join(str(network) for network in settings.allowed_server_networks)
    own = {
        "DATABASE_URL": f"sqlite:///{settings.database_path.absolute()}",
        "GATEWAY_DATA_DIR": str(settings.gateway_data_dir.absolute()),
        "ALLOWED_SERVER_NETWORKS": networks,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(_PACKAGE_FOLDER), os.environ.get("PYTHONPATH", "")))),
    }
    return {**os.environ, **own}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
