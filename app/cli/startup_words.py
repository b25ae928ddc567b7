"""What is an operator told when the gateway's start fails: the reason in words, or a traceback where it is a bug?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.registry.secrets import EncryptionKeyInvalid
from app.utils.database import DatabaseUnusable

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["EXPECTED_FAILURES", "StartupWords"]

EXPECTED_FAILURES = (DatabaseUnusable, EncryptionKeyInvalid, OSError)
"""What the world outside can do to a start; their messages name the fix."""

_STARTUP_FAILED = "lifespan.startup.failed"


class StartupWords:
    """An ASGI app in front of the gateway's, for its lifespan alone: keeps a failure that was to be expected.

    Starlette turns whatever ends a start into a traceback, and uvicorn logs that. Here an expected failure is kept as
    ``failure``, for the command to tell, and no traceback is made of it; all others take their usual way.
    """

    __slots__ = ("_app", "failure")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
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
            await send({"type": _STARTUP_FAILED, "message": ""})
        except BaseException:
            for message in held_back:
                await send(message)
            raise
