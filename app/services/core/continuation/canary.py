"""Can a server go on with an answer that broke, and how? What it is asked to find out.

The ways are tried in the order of ``Rung``, with the very bodies that a continuation is made of: by the messages, then
as plain text where the engine renders its own template, and apart from chats with the text behind a completion's
prompt. How the answers are judged stands in ``trial``.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.continuation.ability import Ability, Rung
from app.services.core.continuation.asking import Ask, Failed
from app.services.core.continuation.cutting import behind_white_space
from app.services.core.continuation.heard import Broken, Heard, Refused, hear
from app.services.core.continuation.reading import read_asked
from app.services.core.continuation.rendering import RENDERERS, Rendered, render_request, rendered_body, rendered_in
from app.services.core.continuation.request import CHATS, NotContinuable, continued_body
from app.services.core.continuation.trial import FaultError, LostError, TrialInTurn
from app.services.core.http.surfaces import COMPLETIONS

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from app.services.core.continuation.asking import Answered, Miss, Subject, Trial
    from app.services.core.continuation.delivered import Delivered

__all__ = ["chat_trial", "text_trial"]

QUESTIONS: Final = (
    "Name the planets in their order from the sun, one per line.",
    "Recite the alphabet with a word for each letter: A is for apple, B is for ...",
    "Count from one to thirty in words.",
)
BEGINNINGS: Final = (
    "The planets in their order from the sun are Mercury,",
    "A is for apple, B is for banana, C is for",
    "One, two, three, four, five, six,",
)
_BY_MESSAGE: Final = {"with continue_final_message": Rung.FLAGS, "with a trailing message alone": Rung.TRAILING}
_RENDERED: Final = "with the chat as plain text"
_BY_PROMPT: Final = "with the text behind the prompt"


def chat_trial(subject: Subject, misses: Mapping[str, Miss]) -> Trial:
    """Find out how chats go on. ``misses``: what an earlier trial counted that came to no verdict."""
    return _ChatTrial(subject, dict(misses)).run()


def text_trial(subject: Subject, misses: Mapping[str, Miss]) -> Trial:
    """Find out whether completions go on. ``misses``: as for ``chat_trial``."""
    return _TextTrial(subject, dict(misses)).run()


class _ChatTrial(TrialInTurn):
    path = CHATS
    questions = QUESTIONS

    def ways(self) -> tuple[str, ...]:
        return (*_BY_MESSAGE, _RENDERED) if self.subject.engine.name in RENDERERS else tuple(_BY_MESSAGE)

    def body(self, question: str, most_tokens: int, *, quiet: bool = False) -> bytes:
        asked = {"messages": [{"role": "user", "content": question}], **_common(self.subject, most_tokens)}
        return msgspec.json.encode(asked | ({"chat_template_kwargs": {"enable_thinking": False}} if quiet else {}))

    def go_on(
        self, way: str, body: bytes, half: Delivered
    ) -> Generator[Ask, Answered | Failed, tuple[Heard | Refused, Ability]]:
        if way == _RENDERED:
            return (yield from self._go_on_as_text(body, half))
        ability = Ability(chat=_BY_MESSAGE[way], thinking_off=self.thinking_off)
        path, continued = continued_body(body, read_asked(body, CHATS), half, ability, None)
        return (yield from self.ask(path, continued)), ability

    def details(self, way: str, ability: Ability) -> Generator[Ask, Answered | Failed, Ability]:
        """See whether white space at the end is lost.

        Where that can't be seen it counts as lost, which does no harm: it is then not sent, and comes again.
        """
        if way == _RENDERED:
            return ability
        trims = True
        whole = yield from self.whole()
        cut = behind_white_space(whole.heard)
        if cut is not None:
            try:
                heard, _ability = yield from self.go_on(way, whole.body, whole.until(cut))
                trims = isinstance(heard, Refused) or not whole.is_gone_on_with(heard, cut)
            except FaultError:
                trims = True
        return Ability(chat=ability.chat, thinking_off=ability.thinking_off, trims=trims)

    def unable(self, reason: str) -> Ability:
        return Ability(chat=Rung.NONE, reason=reason)

    def _go_on_as_text(
        self, body: bytes, half: Delivered
    ) -> Generator[Ask, Answered | Failed, tuple[Heard | Refused, Ability]]:
        name, engine = self.subject.upstream_name, self.subject.engine
        rendered = yield from self._side(render_request(body, engine.name, name, thinking_off=self.thinking_off))
        if isinstance(rendered, Refused):
            return rendered, Ability()
        ids = None
        if not isinstance(rendered.prompt, str):
            counted = yield from self._side(engine.count_request(name, half.content))
            if isinstance(counted, Refused):
                return counted, Ability()
            ids = None if isinstance(counted.prompt, str) else counted.prompt
        path, continued = rendered_body(body, read_asked(body, CHATS), half, rendered, None, text_ids=ids)
        rung = Rung.TEXT if ids is None else Rung.TOKENS
        return (yield from self.ask(path, continued)), Ability(chat=rung, thinking_off=self.thinking_off)

    def _side(self, request: tuple[str, bytes] | None) -> Generator[Ask, Answered | Failed, Rendered | Refused]:
        """Ask for what is no generation."""
        if request is None:
            raise NotContinuable("the engine has no route that renders a chat")
        reply = yield Ask(*request)
        if isinstance(reply, Failed):
            raise LostError(reply.reason)
        read = rendered_in(reply.body) if reply.status == HTTPStatus.OK else hear(reply.status, reply.body)
        if isinstance(read, Broken):
            raise FaultError(read.reason)
        if read is None or isinstance(read, Heard):
            raise NotContinuable("the engine did not render the chat")
        return read


class _TextTrial(TrialInTurn):
    path = COMPLETIONS
    questions = BEGINNINGS

    def ways(self) -> tuple[str, ...]:
        return (_BY_PROMPT,)

    def body(self, question: str, most_tokens: int, *, quiet: bool = False) -> bytes:
        del quiet  # no template is rendered here
        return msgspec.json.encode({"prompt": question, **_common(self.subject, most_tokens)})

    def go_on(
        self, way: str, body: bytes, half: Delivered
    ) -> Generator[Ask, Answered | Failed, tuple[Heard | Refused, Ability]]:
        del way
        ability = Ability(text=Rung.TEXT)
        path, continued = continued_body(body, read_asked(body, COMPLETIONS), half, ability, None)
        return (yield from self.ask(path, continued)), ability

    def unable(self, reason: str) -> Ability:
        return Ability(text=Rung.NONE, reason=reason)


def _common(subject: Subject, most_tokens: int) -> dict[str, object]:
    return {"model": subject.upstream_name, "temperature": 0, "seed": 0, "max_tokens": most_tokens, "stream": True}
