"""Is an answer exact: each token once, in order, one role, one reason of the end, one ``[DONE]``, one id? Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from bench.churn.answering import CALL_NAME
from bench.churn.said import Answer, Choice, Usage, read_answer
from bench.churn.words import Form

if TYPE_CHECKING:
    from bench.churn.kinds import Expected

__all__ = ["Fate", "Seam", "StreamJudge", "judge_whole"]

_SHOWN_CHARACTERS = 200


class Fate(StrEnum):
    """What became of an answer."""

    EXACT = "exact"
    CUT = "cut"
    """It began and ended early, without a word."""
    TOLD = "told"
    """It ended early, and an error told so."""
    CORRUPTED = "corrupted"
    """Something in it is wrong: a token missing, twice or another, a second role, two ids, wrong usage ..."""
    REFUSED = "refused"
    """An error in place of an answer, by its status."""
    UNREACHED = "unreached"
    """No connection, or one that ended before the answer began."""
    LATE = "late"
    """Not there when the client's patience was over."""


class Wrong(Exception):
    """What is wrong with an answer."""


@dataclass(frozen=True, slots=True)
class Seam:
    """Where an answer went on elsewhere: which process ended, which went on, seconds between their tokens."""

    before: str
    after: str
    gap_seconds: float


@dataclass(slots=True)
class _Told:
    """What came of one choice."""

    text: str = ""
    roles: int = 0
    finish: str | None = None
    call_ids: list[str] = field(default_factory=list)
    call_name: str = ""


class StreamJudge:
    """Reads a stream as it comes.

    Args:
        expected: what must come.
        is_rewritten: whether the gateway writes answers anew, so that only text, end and order can be held against it.

    Attributes:
        seams: where it went on elsewhere.
        first_text_at: when the first token came; None until then.
        server: the process that wrote the last token.
    """

    def __init__(self, expected: Expected, *, is_rewritten: bool = False) -> None:
        self.seams: list[Seam] = []
        self.first_text_at: float | None = None
        self.server = ""
        self._expected = expected
        self._is_rewritten = is_rewritten
        self._told = [_Told() for _text in expected.texts]
        self._identity: tuple[str | None, int | None, str | None] | None = None
        self._usages = 0
        self._is_done = False
        self._wrong = ""
        self._error = ""
        self._unread = b""
        self._data: list[bytes] = []
        self._last_text_at = 0.0

    def feed(self, data: bytes, now: float) -> None:
        """Take what came. ``now``: seconds by any steady clock."""
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            content = line.removesuffix(b"\r")
            if content.startswith(b"data:"):
                self._data.append(content[5:].removeprefix(b" "))
            elif not content and self._data:
                event, self._data = b"\n".join(self._data), []
                self._take(event, now)

    def verdict(self, *, is_whole: bool) -> tuple[Fate, str]:
        """What became of it, and why. ``is_whole``: whether HTTP says that the body has ended."""
        if self._wrong:
            return Fate.CORRUPTED, self._wrong
        if self._error:
            return Fate.TOLD, self._error
        is_complete = self._is_done and all(told.finish for told in self._told)
        if not is_complete or not is_whole:
            return Fate.CUT, "the stream ended early" if is_whole else "the connection was lost"
        missing = self._missing()
        return (Fate.CORRUPTED, missing) if missing else (Fate.EXACT, "")

    def _take(self, event: bytes, now: float) -> None:
        """Judge one event. What follows one that is wrong, or an error, changes nothing any more."""
        if self._wrong or self._error:
            return
        try:
            self._read(event, now)
        except Wrong as wrong:
            self._wrong = str(wrong)

    def _read(self, event: bytes, now: float) -> None:
        if self._is_done:
            raise Wrong("an event behind [DONE]")
        if event == b"[DONE]":
            self._is_done = True
            return
        said = read_answer(event)
        if said is None:
            raise Wrong(f"no event of an answer: {event[:_SHOWN_CHARACTERS]!r}")
        if said.error:
            self._error = str(said.error)[:_SHOWN_CHARACTERS]
        else:
            self._judge(said, now)

    def _judge(self, said: Answer, now: float) -> None:
        identity = (said.id, said.created, said.model)
        self._identity = self._identity or identity
        if identity != self._identity and not self._is_rewritten:
            raise Wrong(f"id, created or model changed: {self._identity} became {identity}")
        for choice in said.choices:
            if not 0 <= choice.index < len(self._told):
                raise Wrong("a choice that nobody asked for")
            if self._judge_choice(choice, self._told[choice.index]):
                self._mark(said.system_fingerprint or "", now)
        if said.usage and not self._is_rewritten:
            self._usages += 1
            if self._expected.usage is None or self._usages > 1:
                raise Wrong("usage twice" if self._usages > 1 else "usage that nobody asked for")
            if not all(told.finish for told in self._told):
                raise Wrong("usage before the reason of the end")
            _judge_usage(said.usage, self._expected.usage)

    def _judge_choice(self, said: Choice, told: _Told) -> bool:
        """Whether it bears text."""
        text = self._text_of(said, told)
        if told.roles > 1 and not self._is_rewritten:
            raise Wrong("a second role")
        if text and told.finish:
            raise Wrong("text behind the reason of the end")
        if not self._expected.texts[said.index].startswith(text, len(told.text)):
            raise Wrong(f"behind {told.text[-20:]!r} comes {text[:40]!r}")
        if text and self._expected.logprobs and _scored(said) != text:
            raise Wrong("a token without its logprobs")
        told.text += text
        if said.finish_reason:
            if told.finish:
                raise Wrong("a second reason of the end")
            told.finish = said.finish_reason
            _judge_finish(told.finish, self._expected)
        return bool(text)

    def _text_of(self, said: Choice, told: _Told) -> str:
        if not self._expected.is_chat:
            return said.text or ""
        if said.delta is None:
            return ""
        if said.delta.role and (told.text or told.call_ids) and not self._is_rewritten:
            raise Wrong("a role behind the beginning")
        told.roles += bool(said.delta.role)
        if self._expected.form is not Form.CALL:
            return said.delta.content or ""
        text = ""
        for call in said.delta.tool_calls or []:
            if call.id and told.text:
                raise Wrong("a call's name behind its arguments")
            told.call_ids += [call.id] if call.id else []
            if call.function is not None:
                told.call_name += call.function.name or ""
                text += call.function.arguments or ""
        return text

    def _mark(self, server: str, now: float) -> None:
        """Note which process wrote a token, and when."""
        if self.first_text_at is None:
            self.first_text_at = now
        elif server != self.server:
            self.seams.append(Seam(self.server, server, now - self._last_text_at))
        self.server, self._last_text_at = server, now

    def _missing(self) -> str:
        """What a stream lacks that ended in order."""
        for told, text in zip(self._told, self._expected.texts, strict=True):
            if told.text != text:
                return f"{len(text) - len(told.text)} characters are missing at the end"
            if self._expected.form is Form.CALL and (len(set(told.call_ids)), told.call_name) != (1, CALL_NAME):
                return f"a call of {told.call_name!r} with {len(set(told.call_ids))} ids"
            if self._expected.is_chat and not told.roles and not self._is_rewritten:
                return "no role"
        if self._expected.usage is not None and not self._usages and not self._is_rewritten:
            return "no usage"
        return ""


def judge_whole(body: bytes, expected: Expected, *, is_rewritten: bool = False) -> tuple[Fate, str]:
    """Judge an answer without streaming whose body has ended, under status 200."""
    said = read_answer(body)
    if said is None:
        return Fate.CUT, "the body is no answer"
    if said.error:
        return Fate.TOLD, str(said.error)[:_SHOWN_CHARACTERS]
    try:
        _judge_texts(said, expected)
        if expected.usage and not is_rewritten:
            _judge_usage(said.usage, expected.usage)
    except Wrong as wrong:
        return Fate.CORRUPTED, str(wrong)
    return Fate.EXACT, ""


def _judge_texts(said: Answer, expected: Expected) -> None:
    if len(said.choices) != len(expected.texts):
        raise Wrong(f"{len(said.choices)} choices in place of {len(expected.texts)}")
    for choice, text in zip(said.choices, expected.texts, strict=True):
        if choice.message is None or choice.message.content != text:
            raise Wrong("the text is another")
        _judge_finish(choice.finish_reason, expected)


def _judge_finish(finish: str | None, expected: Expected) -> None:
    if finish != expected.finish:
        raise Wrong(f"it ends by {finish!r}, not by {expected.finish!r}")


def _judge_usage(usage: Usage | None, expected: tuple[int, int]) -> None:
    if usage is None:
        raise Wrong("no usage")
    told = (usage.prompt_tokens, usage.completion_tokens)
    if told != expected or usage.total_tokens != sum(expected):
        raise Wrong(f"usage is {told}, {usage.total_tokens} in all, not {expected}")


def _scored(said: Choice) -> str:
    scored = said.logprobs.content if said.logprobs else None
    return "".join(entry.token for entry in scored or [])
