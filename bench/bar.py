"""How is somebody who waits told how far a benchmark is? A bar on a terminal, lines elsewhere, on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import ProgressColumn

__all__ = ["ShownProgress"]


class ShownProgress:
    """A bar that is there while the benchmark runs. What its stages are, and what is said without it, differs.

    Args:
        columns: what the bar shows.
        description: what it says at first.
        total: what is to come in all, in the unit of ``advance``; None where nobody knows yet.
        refresh_per_second: how often it is drawn.
    """

    def __init__(
        self, *columns: ProgressColumn, description: str, total: float | None, refresh_per_second: float = 1
    ) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            *columns, console=self._console, refresh_per_second=refresh_per_second, transient=True
        )
        self._task = self._progress.add_task(description, total=total)
        self._shows = self._console.is_terminal

    def __enter__(self) -> Self:
        """Show it."""
        if self._shows:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it away."""
        if self._shows:
            self._progress.stop()
