"""In which order is a server tried, and when is the verdict in? What trials of chats and of completions have in common.

A server's own answer is cut in half, the first half is given back to it as what was delivered, and what it says then
must equal the second half. A way is given up after two completed refusals or mismatches. What may pass, a fault or an
answer without text, decides nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar, Final

from app.services.core.continuation.asking import Ask, Failed, Found, Miss, Unclear
from app.services.core.continuation.cutting import LEAST_TOLD, in_half
from app.services.core.continuation.delivered import Delivered
from app.services.core.continuation.heard import Broken, Heard, Refused, hear
from app.services.core.continuation.request import NotContinuable

if TYPE_CHECKING:
    from collections.abc import Generator

    from app.services.core.continuation.ability import Ability
    from app.services.core.continuation.asking import Answered, Misses, Subject, Trial

__all__ = ["FaultError", "LostError", "TrialInTurn", "Whole"]

MOST_MISSES: Final = 2
"""So many completed refusals or mismatches speak against a way."""
SHORT_TOKENS: Final = 24
LONG_TOKENS: Final = 512
"""Where a model can't be kept from thinking: room for its thoughts before the text."""
MOST_REASON_CHARACTERS: Final = 600
_WHOLE: Final = "asked for an answer"
_LIMIT: Final = "length"
_SAME_START: Final = 8
"""With so many characters alike, an answer begins as the other did."""


class FaultError(Exception):
    """Something that may pass."""


class LostError(FaultError):
    """A request without an answer."""


class UnableError(Exception):
    """A model that does not answer such requests at all."""


class Whole:
    """An answer of the server's own, and the request that it answers: without options that concern thoughts."""

    __slots__ = ("body", "cut", "heard")

    def __init__(self, body: bytes, heard: Heard, cut: int) -> None:
        self.body = body
        self.heard = heard
        self.cut = cut

    def until(self, cut: int) -> Delivered:
        """What was delivered up to ``cut``."""
        events = sum(end <= cut for end in accumulate(map(len, self.heard.pieces)))
        return Delivered(content=self.heard.text[:cut], text_events=events)

    def is_gone_on_with(self, heard: Heard, cut: int) -> bool:
        """Whether an answer is the rest behind ``cut``.

        Where only the limit on tokens ended either of them, the other may be longer: events are not tokens.
        """
        text, rest = heard.text, self.heard.text[cut:]
        if heard.thinks:
            return False
        if self.heard.finish == _LIMIT and text.startswith(rest):
            return True
        cut_short = heard.finish == _LIMIT and rest.startswith(text) and len(text.strip()) >= LEAST_TOLD
        return text == rest or (cut_short and not self.heard.text.lstrip().startswith(text.strip()))


class TrialInTurn(ABC):
    """What trials of chats and completions have in common."""

    path: ClassVar[str]
    questions: ClassVar[tuple[str, ...]]

    def __init__(self, subject: Subject, misses: Misses) -> None:
        self.subject = subject
        self.misses = misses
        self.thinking_off = False
        self.may_turn_off = True
        self._whole: Whole | None = None
        self._asked = 0
        self._led_elsewhere = False

    def run(self) -> Trial:
        """Try the ways in turn."""
        try:
            return (yield from self._find())
        except UnableError:
            return self._unable()
        except FaultError as fault:
            return Unclear(str(fault), self.misses, is_lost=isinstance(fault, LostError))

    @abstractmethod
    def ways(self) -> tuple[str, ...]:
        """The ways to try, best first."""

    @abstractmethod
    def body(self, question: str, most_tokens: int, *, quiet: bool = False) -> bytes:
        """The request for an answer; ``quiet``: without thoughts."""

    @abstractmethod
    def go_on(
        self, way: str, body: bytes, half: Delivered
    ) -> Generator[Ask, Answered | Failed, tuple[Heard | Refused, Ability]]:
        """Ask to go on behind ``half``; what came of it, and the ability if that was right."""

    @abstractmethod
    def unable(self, reason: str) -> Ability:
        """What is found where no way leads on."""

    def details(self, way: str, ability: Ability) -> Generator[Ask, Answered | Failed, Ability]:  # noqa: ARG002 - for overrides
        """Find out more of a way that leads on."""
        yield from ()
        return ability

    def ask(self, path: str, body: bytes) -> Generator[Ask, Answered | Failed, Heard | Refused]:
        """Ask for an answer. Raises what may pass."""
        reply = yield Ask(path, body)
        if isinstance(reply, Failed):
            raise LostError(reply.reason)
        heard = hear(reply.status, reply.body)
        if isinstance(heard, Broken):
            raise FaultError(heard.reason)
        return heard

    def whole(self) -> Generator[Ask, Answered | Failed, Whole]:
        """Have an answer that can be cut; the same one until ``another`` is called."""
        for _question in self.questions:
            if self._whole is not None:
                return self._whole
            body, heard = yield from self._answer(self.questions[self._asked % len(self.questions)])
            if isinstance(heard, Refused):
                self.missed(_WHOLE, self._refusal(heard))
                if not self.is_open(_WHOLE):
                    raise UnableError
                continue
            if not heard.text.strip():
                raise FaultError("its answer was thoughts alone" if heard.thinks else "its answer was empty")
            cut = in_half(heard)
            self._asked += cut is None
            self._whole = None if cut is None else Whole(body, heard, cut)
        if self._whole is None:
            raise FaultError("its answers are too short, or repeat themselves, so nothing can be told from them")
        return self._whole

    def another(self) -> None:
        """Forget the answer at hand, so that another question is asked."""
        self._whole = None
        self._asked += 1

    def is_open(self, way: str) -> bool:
        """Whether a way may still lead on."""
        return way not in self.misses or self.misses[way].count < MOST_MISSES

    def missed(self, way: str, reason: str) -> None:
        """Count against a way."""
        self.misses[way] = Miss(self.misses[way].count + 1 if way in self.misses else 1, reason)

    def _find(self) -> Generator[Ask, Answered | Failed, Found | Unclear]:
        for way in self.ways():
            while self.is_open(way):
                ability = yield from self._try(way)
                if ability is not None:
                    return Found((yield from self.details(way, ability)))
        if self._led_elsewhere and not (yield from self._is_steady()):
            return Found(self.unable("its answers at temperature 0 differ from one time to the next"))
        return self._unable()

    def _try(self, way: str) -> Generator[Ask, Answered | Failed, Ability | None]:
        whole = yield from self.whole()
        try:
            heard, ability = yield from self.go_on(way, whole.body, whole.until(whole.cut))
        except NotContinuable as error:
            self.missed(way, str(error))
            return None
        if isinstance(heard, Heard) and whole.is_gone_on_with(heard, whole.cut):
            return ability
        if self._thinks_anew(heard):
            self.thinking_off, self.may_turn_off = True, False
            self._whole = None
        elif isinstance(heard, Refused):
            self.missed(way, self._refusal(heard))
        else:
            self._led_elsewhere = True
            self.missed(way, _elsewhere(whole.heard, heard))
            self.another()
        return None

    def _answer(self, question: str) -> Generator[Ask, Answered | Failed, tuple[bytes, Heard | Refused]]:
        """Ask for an answer without thoughts, where the model can be kept from them; else with room for both."""
        body = self.body(question, SHORT_TOKENS)
        if self.thinking_off:
            return body, (yield from self.ask(self.path, self.body(question, SHORT_TOKENS, quiet=True)))
        heard = yield from self.ask(self.path, body)
        if isinstance(heard, Refused) or not heard.thinks:
            return body, heard
        if self.may_turn_off:
            self.may_turn_off = False
            quiet = yield from self.ask(self.path, self.body(question, SHORT_TOKENS, quiet=True))
            if isinstance(quiet, Heard) and quiet.text.strip() and not quiet.thinks:
                self.thinking_off = True
                return body, quiet
        if heard.text.strip():
            return body, heard
        body = self.body(question, LONG_TOKENS)
        return body, (yield from self.ask(self.path, body))

    def _thinks_anew(self, heard: Heard | Refused) -> bool:
        """Whether it was the model's thinking that stood in the way, which may be turned off."""
        if not self.may_turn_off:
            return False
        return b"enable_thinking" in heard.body if isinstance(heard, Refused) else heard.thinks

    def _is_steady(self) -> Generator[Ask, Answered | Failed, bool]:
        """Whether the model says the same to the same question. Where that can't be seen, it passes for steady."""
        try:
            _body, first = yield from self._answer(self.questions[0])
            _body, second = yield from self._answer(self.questions[0])
        except FaultError:
            return True
        return isinstance(first, Refused) or isinstance(second, Refused) or first.text == second.text

    def _refusal(self, refused: Refused) -> str:
        return f"answered {refused.status}: {self.subject.engine.error_message(refused.status, refused.body)}"

    def _unable(self) -> Found:
        reasons = [f"{way}: {miss.reason}" for way, miss in self.misses.items() if miss.count >= MOST_MISSES]
        return Found(self.unable("; ".join(reasons)[:MOST_REASON_CHARACTERS]))


def _elsewhere(whole: Heard, heard: Heard) -> str:
    """Say in an owner's words how an answer is not the rest of another."""
    text = heard.text.strip()
    if heard.thinks:
        return "it thinks anew"
    if not text:
        return "it says nothing more"
    is_anew = text.startswith(whole.text.strip()[:_SAME_START])
    return "it begins anew" if is_anew else "it goes on otherwise than it did at first"
