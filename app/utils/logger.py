"""How does the gateway log? Events with fields by structlog, written by the standard library's handlers.

::

    logger = get_logger(__name__)
    logger.info("Server registered", server_id=server_id, models=3)

A constant sentence and fields; never a body, a key or a prompt. What a library logs takes the same way: redacted, on
one line, to the console and to the file.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Literal, Self, cast

import structlog
from structlog.contextvars import bind_contextvars, merge_contextvars, reset_contextvars
from structlog.stdlib import BoundLogger, ProcessorFormatter

from app.utils.log_format import render_json, text_renderer
from app.utils.log_redaction import Redactor
from app.utils.log_sinks import BatchedLines, ConsoleSink, FileSink

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextvars import Token
    from pathlib import Path

    from structlog.typing import Processor

__all__ = [
    "BatchedLines",
    "BoundLogger",
    "RequestIdBinding",
    "bind_request_id",
    "configure_logging",
    "get_logger",
    "quiet_on_console",
]

Format = Literal["console", "json"]

_BROUGHT_IN_LINE = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access", "alembic", "asyncio", "sqlalchemy")
"""Loggers that others may have given handlers of their own (uvicorn does, before it imports the app)."""
_QUIETED = {
    "alembic": logging.WARNING,  # we say ourselves what became of the schema
    "aiosqlite": logging.WARNING,  # at DEBUG it writes every statement with its parameters
    "sqlalchemy": logging.WARNING,  # at INFO likewise
    "asyncio": logging.INFO,
    "httpcore": logging.WARNING,
    "httpcore2": logging.WARNING,
    "httpx": logging.WARNING,
    "httpx2": logging.WARNING,
}


def get_logger(name: str) -> BoundLogger:
    """Give the logger of a module. Cheap, and may be called before logging is configured."""
    if not structlog.is_configured():
        _configure_structlog()
    return structlog.stdlib.get_logger(name)


def configure_logging(
    *,
    level: str = "INFO",
    log_format: Format = "console",
    file: Path | None = None,
    max_bytes: int = 10_485_760,
    backup_count: int = 5,
    secrets: Iterable[str] = (),
    colour: bool | None = None,
) -> None:
    """Send all logging to the console and to a file. Calling it again replaces what an earlier call set up.

    Args:
        level: the least severe level that is written, such as ``"INFO"``.
        log_format: lines for people or for machines, in both places.
        file: the log file, or None for the console alone. One that can't be opened is told on the console.
        max_bytes: size at which the file is rotated.
        backup_count: how many rotated files are kept.
        secrets: exact values that are masked wherever they appear.
        colour: whether the console is coloured; None: on a terminal, or when FORCE_COLOR is set.
    """
    _configure_structlog()
    redactor = Redactor(secrets)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, ConsoleSink | FileSink)]:
        root.removeHandler(handler)
        handler.close()
    console = ConsoleSink()
    console.setFormatter(_formatter(redactor, log_format, colour=_wants_colour() if colour is None else colour))
    root.addHandler(console)
    root.setLevel(level)
    _bring_others_in_line()
    if file is not None:
        _add_file(root, console, _formatter(redactor, log_format, colour=False), file, max_bytes, backup_count)


def quiet_on_console(name: str) -> None:
    """Keep what one logger says below WARNING off the console, until logging is configured again; files have it."""

    def is_wanted(record: logging.LogRecord) -> bool:
        return record.name != name or record.levelno >= logging.WARNING

    for handler in logging.getLogger().handlers:
        if isinstance(handler, ConsoleSink):
            handler.addFilter(is_wanted)


class RequestIdBinding:
    """A request id bound to the running context; as a context manager it is unbound at the end."""

    __slots__ = ("_tokens",)

    def __init__(self, tokens: dict[str, Token[object]]) -> None:
        self._tokens = tokens

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        reset_contextvars(**self._tokens)


def bind_request_id(request_id: str) -> RequestIdBinding:
    """Put a request's id on every line that this task and those it spawns log from now on."""
    return RequestIdBinding(dict(bind_contextvars(request_id=request_id)))


def _configure_structlog() -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_common_processors(),
            structlog.stdlib.PositionalArgumentsFormatter(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _common_processors() -> list[Processor]:
    return [
        merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _formatter(redactor: Redactor, log_format: Format, *, colour: bool) -> ProcessorFormatter:
    render = render_json if log_format == "json" else text_renderer(colour=colour)
    return ProcessorFormatter(
        processors=[
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            cast("Processor", redactor),
            cast("Processor", render),
        ],
        foreign_pre_chain=_common_processors(),
    )


def _bring_others_in_line() -> None:
    """Let other libraries' loggers go through the root's handlers, and silence uvicorn's own line per request."""
    for name in _BROUGHT_IN_LINE:
        other = logging.getLogger(name)
        for handler in list(other.handlers):
            other.removeHandler(handler)
        other.propagate = True
    for name, floor in _QUIETED.items():
        logging.getLogger(name).setLevel(max(floor, logging.getLogger().level))
    logging.getLogger("uvicorn.access").propagate = False  # uvicorn asks hasHandlers() and then skips the line


def _add_file(
    root: logging.Logger,
    console: ConsoleSink,
    formatter: ProcessorFormatter,
    file: Path,
    max_bytes: int,
    backup_count: int,
) -> None:
    def tell(error: OSError) -> None:
        """Say on the console alone that the file fails: the file's own handler is the one that called."""
        message = "The log file can't be written, lines go to the console only; give write access or free the disk"
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, f"{message}: %s (%s)", (file, error), None)
        console.handle(record)

    try:
        sink = FileSink(file, max_bytes=max_bytes, backup_count=backup_count, on_failure=tell)
    except OSError as error:
        tell(error)
        return
    sink.setFormatter(formatter)
    root.addHandler(sink)


def _wants_colour() -> bool:
    """Follow force-color.org and no-color.org: FORCE_COLOR, then NO_COLOR, then whether it is a terminal."""
    if os.environ.get("FORCE_COLOR"):
        return True
    return not os.environ.get("NO_COLOR") and sys.stderr is not None and sys.stderr.isatty()
