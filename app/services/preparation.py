"""What is a server sent so that it goes on with an answer? Where need be, it is asked something first.

The text that a client has is counted in the server's own tokens, where a limit depends on it; and where a chat can only
go on as raw text, the server's own template renders it. Both are small questions with a deadline, since a client waits:
a count that does not come in time is estimated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.continuation.ability import UNJUDGED, Rung
from app.services.core.continuation.judgement import Complete, judge
from app.services.core.continuation.rendering import render_request, rendered_body, rendered_in
from app.services.core.continuation.request import NotContinuable, continued_body, text_sent
from app.services.core.errors import EndpointRefused
from app.services.dataplane.fetch import AnswerBroken
from app.services.dataplane.link import ConnectFailed
from app.services.dataplane.onward import Order
from app.services.engines.identify import engine_named

if TYPE_CHECKING:
    from app.services.core.choice.snapshot import Candidate
    from app.services.dataplane.fetch import Posts
    from app.services.dataplane.onward import Leg

__all__ = ["Preparation"]

TIMEOUT_SECONDS: Final = 0.5
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""A long prompt comes back as a list of ids, about eight octets each."""


class Preparation:
    """Makes requests for continuations. Args: poster: how servers are asked."""

    def __init__(self, poster: Posts) -> None:
        self._poster = poster

    async def prepare(self, body: bytes, path: str, leg: Leg, candidate: Candidate) -> Order | Complete:  # noqa: ARG002 - the contract's
        """Make what ``candidate`` is sent; or find that nothing is left to be generated.

        Raises:
            NotContinuable: this server can't go on with this answer.
        """
        asked, delivered, server = leg.asked, leg.delivered, candidate.server
        ability = server.abilities.get(candidate.model.upstream_name, UNJUDGED)
        tokens: int | None = delivered.content_tokens
        if tokens is None and (asked.limits or asked.min_tokens):
            tokens = await self._tokens(candidate, leg)
        verdict = judge(asked, delivered, tokens)
        if isinstance(verdict, Complete):
            return verdict
        known = delivered.tokens if tokens is None else tokens
        if asked.chat and ability.chat in (Rung.TEXT, Rung.TOKENS):
            new_path, new_body = await self._rendered(body, leg, candidate, tokens)
            return Order(new_path, new_body, known, from_completions=True)
        new_path, new_body = continued_body(body, asked, delivered, ability, tokens, first_engine=leg.first_engine)
        comes_again = text_sent(asked, delivered, ability) != delivered.content
        return Order(new_path, new_body, known, trims=comes_again)

    async def _tokens(self, candidate: Candidate, leg: Leg) -> int | None:
        """How many tokens the delivered text was said in; None where the server does not count.

        That is as many as it makes of the text, white space apart that it is not sent: it may take two tokens for one
        there. And no fewer than there were events, as an event bears one at least.
        """
        delivered = leg.delivered
        ability = candidate.server.abilities.get(candidate.model.upstream_name, UNJUDGED)
        text = text_sent(leg.asked, delivered, ability)
        counted = await self._counted(candidate, text) if text else 0
        if counted is None:
            return None
        left_out = delivered.white_tokens if text != delivered.content else 0
        return max(counted + left_out, delivered.text_events)

    async def _counted(self, candidate: Candidate, text: str) -> int | None:
        """How many tokens a text is for this server; None where it does not say."""
        engine = engine_named(candidate.server.engine)
        question = engine.count_request(candidate.model.upstream_name, text)
        answer = None if question is None else await self._ask(candidate, *question)
        return None if answer is None else engine.count_in(answer)

    async def _rendered(self, body: bytes, leg: Leg, candidate: Candidate, tokens: int | None) -> tuple[str, bytes]:
        """The completion that goes on with a chat, made with the server's own template."""
        engine, upstream_name = candidate.server.engine, candidate.model.upstream_name
        ability = candidate.server.abilities.get(upstream_name, UNJUDGED)
        question = render_request(body, engine, upstream_name, thinking_off=ability.thinking_off)
        answer = None if question is None else await self._ask(candidate, *question)
        rendered = None if answer is None else rendered_in(answer)
        if rendered is None:
            raise NotContinuable("the server did not render the chat")
        ids = None
        if not isinstance(rendered.prompt, str):
            ids = await self._ids(candidate, leg.delivered.content)
        return rendered_body(body, leg.asked, leg.delivered, rendered, tokens, text_ids=ids)

    async def _ids(self, candidate: Candidate, text: str) -> tuple[int, ...] | None:
        """The ids of a text's tokens."""
        question = engine_named(candidate.server.engine).count_request(candidate.model.upstream_name, text)
        answer = None if question is None else await self._ask(candidate, *question)
        found = None if answer is None else rendered_in(answer)
        return found.prompt if found is not None and not isinstance(found.prompt, str) else None

    async def _ask(self, candidate: Candidate, path: str, body: bytes) -> bytes | None:
        """Ask a small question; None where no answer came in time."""
        server = candidate.server
        try:
            answer = await self._poster.post(
                server.endpoint,
                path,
                body,
                api_key=server.api_key,
                timeout_seconds=TIMEOUT_SECONDS,
                limit_bytes=MAX_ANSWER_BYTES,
            )
        except (EndpointRefused, ConnectFailed, AnswerBroken):
            return None  # the request itself will tell what is wrong, and then another server is asked
        return answer.body if answer.status == 200 else None  # noqa: PLR2004 - OK
