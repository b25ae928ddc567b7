"""What is an operator told when the gateway's start fails: the reason in words, or a traceback where it is a bug?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core.errors import StorageUnavailable
from app.services.registry.secrets import EncryptionKeyInvalid
from app.utils.config import SettingsInvalid
from app.utils.database import DatabaseUnusable

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["EXPECTED_FAILURES", "StartupWords"]

EXPECTED_FAILURES = (SettingsInvalid, DatabaseUnusable, StorageUnavailable, EncryptionKeyInvalid, OSError)
"""What the world outside can do to a start; their messages name the fix."""

_STARTUP_FAILED = "lifespan.startup.failed"


class StartupWords:
    """An ASGI app in front of the gateway's, for its lifespan alone: keeps a failure that was to be expected.

    Starlette turns whatever ends a start into a traceback, and uvicorn logs that. Here an expected failure is kept as
    ``failure``, and no traceback is made of it; all others take their usual way. `multiverse serve` puts it in front of
    the app and tells ``failure`` itself; for other ASGI servers it is a middleware of the app, with ``on_failure``.

    Args:
        app: the gateway's.
        on_failure: told of an expected failure, such as to log it; the server's own log gets no message then.
    """

    __slots__ = ("_app", "_on_failure", "failure")

    def __init__(self, app: ASGIApp, on_failure: Callable[[BaseException], None] | None = None) -> None:
        self._app = app
        self._on_failure = on_failure
        self.failure: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on but a failed start."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        held_back: list[Message] = []

        async def hold_failure_back(message: Message) -> None:
            if message["type"] == _STARTUP_FAILED:
                held_back.append(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, hold_failure_back)
        except EXPECTED_FAILURES as error:
            if not held_back:
                raise
            self.failure = error
            if self._on_failure is not None:
                self._on_failure(error)
            await send({"type": _STARTUP_FAILED, "message": ""})
        except BaseException:
            for message in held_back:
                await send(message)
            raise
