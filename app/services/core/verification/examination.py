"""In which order are a server's claims about one model looked at?

One short answer tells its name, its speed and a sample to compare; the context takes one request more, or a look at
what the engine says of itself. A refusal is a finding; a fault is none.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.continuation.heard import Broken, Refused, hear
from app.services.core.verification.asking import Examined, Inconclusive, Look, Lost, Say
from app.services.core.verification.contexts import (
    PROBED,
    judge_length,
    judge_taken,
    named_length,
    probe_body,
    probe_length,
)
from app.services.core.verification.findings import Judgement, Subject, Verdict
from app.services.core.verification.hearing import listen, says_error
from app.services.core.verification.likeness import Sample, unsound
from app.services.core.verification.naming import aliases_in, is_same_name, judge_name, lacks_model

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from app.services.core.verification.asking import Ask, Claim, Examination, Reply, Told
    from app.services.core.verification.hearing import Pace, Said

__all__ = ["ANSWER_TOKENS", "QUESTION", "examine"]

QUESTION: Final = "Describe a lighthouse at night in two sentences."
"""Open enough that models differ in it, and told alike by one model on two machines."""
ANSWER_TOKENS: Final = 32
CHATS: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
EMBEDDINGS: Final = "/v1/embeddings"
_MODELS: Final = "/v1/models"
_HIDDEN_TOKENS: Final = 8
"""With so many tokens counted and none shown, a model has thought behind closed doors."""
_PASSING: Final = frozenset({401, 403, 408, 425, 429})
_WAYS: Final = ("chat", "plain chat", "completion")


class _FaultError(Exception):
    """Something that may pass."""


class _Refusal(Exception):
    """No way of asking is served. ``lacks``: because there is no such model."""

    def __init__(self, reason: str, *, lacks: bool) -> None:
        super().__init__(reason)
        self.lacks = lacks


def examine(claim: Claim) -> Examination:
    """Look at all that a server claims of a model."""
    try:
        return (yield from _examine(claim))
    except _FaultError as fault:
        return Inconclusive(str(fault))


def _examine(claim: Claim) -> Examination:
    try:
        way, said = yield from _answer(claim)
    except _Refusal as refusal:
        return (yield from _without_words(claim, refusal))
    judgements = [(yield from _name(claim, said.model)), *_pace(said.pace)]
    if said.text.strip() or not _thinks_in_secret(said):
        fault = unsound(said.text)
        if fault:
            judgements.append(Judgement(Subject.CANARY, Verdict.MISMATCH, fault))
        sample = None if fault else Sample.of(f"{way}{' without thoughts' if claim.thinking_off else ''}", said.text)
    else:
        hidden = f"it shows none of the {said.tokens} tokens that it wrote, thoughts perhaps"
        judgements.append(Judgement(Subject.CANARY, Verdict.UNCLEAR, hidden))
        sample = None
    try:
        judgements.append((yield from _context(claim)))
    except _FaultError as fault:
        return Examined(tuple(judgements), sample, fault=str(fault))
    return Examined(tuple(judgements), sample)


def _answer(claim: Claim) -> Generator[Ask, Reply, tuple[str, Said]]:
    """Ask for a short answer, in the way that is served."""
    reasons: list[str] = []
    for way in _WAYS:
        path = COMPLETIONS if way == "completion" else CHATS
        told = yield from _ask(Say(path, _body(claim, way)))
        heard = hear(told.status, told.body)
        if isinstance(heard, Broken):
            raise _FaultError(heard.reason)
        if not isinstance(heard, Refused):
            return path, listen(told.body, told.arrivals)
        message = claim.engine.error_message(heard.status, heard.body)
        if lacks_model(heard.status, message):
            raise _Refusal(f"lists the model, but answers {heard.status}: {message}", lacks=True)
        reasons.append(f"{heard.status}: {message}")
    raise _Refusal(reasons[0], lacks=False)


def _body(claim: Claim, way: str) -> bytes:
    body: dict[str, object] = {
        "model": claim.upstream_name,
        "temperature": 0,
        "max_tokens": ANSWER_TOKENS,
        "stream": True,
    }
    if way == "completion":
        return msgspec.json.encode(body | {"prompt": QUESTION})
    body["messages"] = [{"role": "user", "content": QUESTION}]
    if claim.thinking_off:
        body["chat_template_kwargs"] = {"enable_thinking": False}
    if way == "chat":  # what some servers refuse for being unknown to them
        body |= {"seed": 0, "stream_options": {"include_usage": True}}
    return msgspec.json.encode(body)


def _without_words(claim: Claim, refusal: _Refusal) -> Examination:
    """Judge a server that answers neither chats nor completions: its model may be one for embeddings."""
    if refusal.lacks:
        return Examined((Judgement(Subject.NAME, Verdict.MISMATCH, str(refusal)),))
    body = msgspec.json.encode({"model": claim.upstream_name, "input": "lighthouse"})
    told = yield from _ask(Say(EMBEDDINGS, body))
    if told.status == HTTPStatus.OK and not says_error(told.body):
        return Examined(((yield from _name(claim, listen(told.body, ()).model)),))
    detail = f"it answers neither chats, completions nor embeddings, so nothing could be looked at ({refusal})"
    return Examined((Judgement(Subject.NAME, Verdict.UNCLEAR, detail),))


def _name(claim: Claim, answered: str) -> Generator[Ask, Reply, Judgement]:
    aliases: frozenset[str] = frozenset()
    if answered and not is_same_name(claim.upstream_name, answered):
        told = yield from _ask(Look(_MODELS))
        aliases = aliases_in(_entries(told.body), claim.upstream_name, claim.engine)
    return judge_name(claim.upstream_name, answered, claim.engine.name, aliases)


def _pace(pace: Pace | None) -> tuple[Judgement, ...]:
    """Tell how fast an answer came: figures, and no verdict on them."""
    if pace is None:
        return ()
    first = Judgement(Subject.FIRST_TOKEN, Verdict.OK, "", round(pace.first_ms, 1))
    if pace.rate is None:
        return first, Judgement(Subject.SPEED, Verdict.UNCLEAR, "its answers come all at once, so nobody can tell")
    note = "" if pace.counted else "counted by events, for its engine counts no tokens"
    return first, Judgement(Subject.SPEED, Verdict.OK, note, round(pace.rate, 1))


def _context(claim: Claim) -> Generator[Ask, Reply, Judgement]:
    if claim.engine.name in PROBED and claim.context_length is not None:
        return (yield from _probe(claim, claim.context_length))
    told = (yield from _told_context(claim)) if claim.engine.name not in PROBED else None
    return judge_length(claim.context_length, told or claim.told_context)


def _probe(claim: Claim, claimed: int) -> Generator[Ask, Reply, Judgement]:
    engine = claim.engine.name
    first = yield from _ask(Say(CHATS, probe_body(claim.upstream_name, probe_length(claimed)), only_begin=True))
    if _is_taken(first):
        return judge_taken(claimed, engine)
    named = named_length(first.body)
    if named is None:
        return judge_length(claimed, claim.told_context)
    if named < claimed:  # some engines have named what was left of it: see whether it takes more than that
        body = probe_body(claim.upstream_name, probe_length(claimed, again=True))
        again = yield from _ask(Say(CHATS, body, only_begin=True))
        if _is_taken(again) and named < probe_length(claimed, again=True):
            return judge_taken(claimed, engine, named)
    return judge_length(claimed, named)


def _is_taken(told: Told) -> bool:
    return told.status == HTTPStatus.OK and not says_error(told.body)


def _told_context(claim: Claim) -> Generator[Ask, Reply, int | None]:
    """Ask the engine what it says of itself, now that the model is in its memory."""
    answers: dict[str, bytes] = {}
    for path in claim.engine.signal_paths():
        reply = yield Look(path)
        if not isinstance(reply, Lost) and reply.status == HTTPStatus.OK:
            answers[path] = reply.body
    contexts = claim.engine.signals(answers).contexts
    return contexts.get(claim.upstream_name) or contexts.get(f"{claim.upstream_name}:latest")


def _ask(ask: Ask) -> Generator[Ask, Reply, Told]:
    reply = yield ask
    if isinstance(reply, Lost):
        raise _FaultError(reply.reason)
    if reply.status in _PASSING or (reply.status >= 500 and reply.status != HTTPStatus.NOT_IMPLEMENTED):
        raise _FaultError(f"answered {reply.status}")
    return reply


def _thinks_in_secret(said: Said) -> bool:
    return (said.tokens or 0) >= _HIDDEN_TOKENS


class _Listing(msgspec.Struct):
    data: list[object] | None = None


def _entries(body: bytes) -> tuple[Mapping[str, object], ...]:
    try:
        listing = msgspec.json.decode(body, type=_Listing)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    return tuple(entry for entry in listing.data or () if isinstance(entry, dict))
