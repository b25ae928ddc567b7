"""How do commands speak to people and to scripts: colours on a terminal, plain lines elsewhere, JSON when asked?

Results go to stdout, progress and errors to stderr: a pipe gets nothing but the result. Rich honours ``NO_COLOR``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "Steps",
    "byte_progress",
    "confirm",
    "is_interactive",
    "print_error",
    "print_json",
    "print_verbatim",
    "stderr_console",
    "stdout_console",
]

PIPE_WIDTH_COLUMNS = 200
"""Width of tables when stdout is no terminal: nothing is cut off for want of a screen."""


def _console(stream: TextIO, *, to_stderr: bool) -> Console:
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH_COLUMNS
    return Console(stderr=to_stderr, width=width, highlight=False, legacy_windows=None)


def stdout_console() -> Console:
    """A console for results; made anew each time so that redirected streams are followed."""
    return _console(sys.stdout, to_stderr=False)


def stderr_console() -> Console:
    """A console for progress and errors."""
    return _console(sys.stderr, to_stderr=True)


def is_interactive() -> bool:
    """Whether a person can be asked: both stdin and stderr are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def print_json(value: object) -> None:
    """Write one JSON document on one line of stdout, and nothing else."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def print_verbatim(text: str = "") -> None:
    """Write a line to stdout exactly as it is: never wrapped, so that it can be copied and pasted."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_error(failure: CommandFailed) -> None:
    """Say on stderr what went wrong and what to do about it."""
    console = stderr_console()
    console.print("[bold red]Error:[/bold red] ", end="", soft_wrap=True)
    console.print(failure.message, markup=False, soft_wrap=True)
    if failure.fix:
        console.print("[bold]Fix:[/bold]   ", end="", soft_wrap=True)
        console.print(failure.fix, markup=False, soft_wrap=True)


class Steps:
    """Progress of a start: a spinner on a terminal, one plain line a step elsewhere, both on stderr."""

    __slots__ = ("_clock", "_console", "_live")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = stderr_console()
        self._live = sys.stderr.isatty()
        self._clock = clock

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Show ``doing`` while the body runs, then that it is done and how many seconds it took."""
        started = self._clock()
        if self._live:
            with self._console.status(doing, spinner="line"):
                yield
        else:
            self._console.print(f"{doing} ...", markup=False, soft_wrap=True)
            yield
        elapsed_seconds = self._clock() - started
        if self._live:
            self._console.print(f"[green]done[/green] {doing} [dim]({elapsed_seconds:.1f} s)[/dim]", soft_wrap=True)

    def say(self, text: str) -> None:
        """One line between two steps."""
        self._console.print(text, markup=False, soft_wrap=True)


@contextmanager
def byte_progress(doing: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A progress bar over bytes on stderr; yields a function to call with the number of bytes just done."""
    console = stderr_console()
    if not sys.stderr.isatty():
        console.print(f"{doing} ({total_bytes:,} bytes) ...", markup=False, soft_wrap=True)
        yield lambda _done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(doing, total=total_bytes)
        yield lambda done: progress.advance(task, done)


def confirm(question: str, *, unasked: str = "--yes") -> None:
    """Ask on a terminal; refuse to guess without one. ``unasked`` is the option that does without.

    Raises:
        CommandFailed: the answer was no, or nobody could be asked.
    """
    if not is_interactive():
        raise CommandFailed("Nobody can be asked: this is no terminal.", fix=f"Add {unasked}.", code=ExitCode.USAGE)
    if not typer.confirm(question, default=False, err=True):
        raise CommandFailed("Nothing was changed.")
