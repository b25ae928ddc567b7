"""Can a server that is not registered yet go on with an answer that broke? One model, tried at once, within seconds.

What is asked is what ``canary`` asks of registered servers, in the background and with more patience. Here a person
waits: what is not found in time is left for later. An engine that loads models inside requests is left alone, for this
would load one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from app.services.core.continuation.ability import Ability
from app.services.core.continuation.asking import Answered, Failed, Found, Subject
from app.services.core.continuation.canary import chat_trial
from app.services.core.errors import EndpointRefused
from app.services.dataplane.fetch import AnswerBroken
from app.services.dataplane.link import ConnectFailed
from app.services.engines.identify import engine_named

if TYPE_CHECKING:
    from app.services.core.continuation.asking import Ask, Unclear
    from app.services.core.types import Endpoint, ModelEntry
    from app.services.dataplane.fetch import Posts

__all__ = ["Tryout"]

PATIENCE_SECONDS: Final = 12.0
"""For all questions together; a small model on a laptop takes about two seconds."""
MAX_ANSWER_BYTES: Final = 262_144
REDACTED: Final = b"[redacted]"
MIN_SECRET_LENGTH: Final = 6
"""Shorter keys ("EMPTY", "none") are placeholders; taking them out would only garble the text."""
LATER: Final = "It is tried in the background once the server is registered."


class Tryout:
    """Tries servers out.

    Args:
        posts: sends requests on the way that traffic takes.
        patience_seconds: how long a person waits for all of it.
    """

    def __init__(self, posts: Posts, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._posts = posts
        self._patience_seconds = patience_seconds

    async def try_out(self, endpoint: Endpoint, api_key: str | None, model: ModelEntry, engine: str) -> Ability:
        """Find out how chats with a model go on. What can't be told is unjudged, with a reason.

        Args:
            endpoint: where it listens.
            api_key: its own key.
            model: one that it lists.
            engine: what runs there.
        """
        spoken = engine_named(engine)
        if spoken.swaps_models:
            return Ability(reason=f"This engine loads models when they are asked for. {LATER}")
        subject = Subject(model.upstream_name, spoken)
        try:
            async with asyncio.timeout(self._patience_seconds):
                verdict = await self._verdict(endpoint, api_key, subject)
        except TimeoutError:
            return Ability(reason=f"It did not answer enough within {self._patience_seconds:g} seconds. {LATER}")
        return (
            verdict.ability if isinstance(verdict, Found) else Ability(reason=f"{verdict.reason.rstrip('.')}. {LATER}")
        )

    async def _verdict(self, endpoint: Endpoint, api_key: str | None, subject: Subject) -> Found | Unclear:
        trial = chat_trial(subject, {})
        ask = next(trial)
        while True:
            try:
                ask = trial.send(await self._answer(endpoint, api_key, ask))
            except StopIteration as end:
                verdict: Found | Unclear = end.value
                return verdict

    async def _answer(self, endpoint: Endpoint, api_key: str | None, ask: Ask) -> Answered | Failed:
        try:
            answer = await self._posts.post(
                endpoint,
                ask.path,
                ask.body,
                api_key=api_key,
                timeout_seconds=self._patience_seconds,
                limit_bytes=MAX_ANSWER_BYTES,
            )
        except EndpointRefused as error:
            return Failed(error.message)
        except (ConnectFailed, AnswerBroken) as error:
            return Failed(error.reason)
        return Answered(answer.status, _without_key(answer.body, api_key))


def _without_key(body: bytes, api_key: str | None) -> bytes:
    """Take the server's key out of its words, which its owner is shown."""
    if api_key is None or len(api_key) < MIN_SECRET_LENGTH:
        return body
    return body.replace(api_key.encode(), REDACTED)
