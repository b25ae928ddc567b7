"""What does one look at a server find? Used by registration and by the periodic checks alike.

The look is GET /v1/models, over the same link as all traffic, so the address is judged here too. It never asks for a
generation. What goes wrong is told in words that the server's owner understands, and without the server's key, even
where the server itself echoes it.

A server that says in its engine's own words that it is loading its model is not ill, only not ready. Some say so in
the list of models itself (llama.cpp until early 2026 answers 200 with it while everything else is 503).
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from app.services.core.errors import EndpointRefused
from app.services.core.types import CheckFailure, Inspection
from app.services.dataplane.fetch import AnswerBroken
from app.services.dataplane.link import ConnectFailed, ConnectFailure
from app.services.engines.identify import UNKNOWN, engine_named, identify
from app.services.engines.interface import Evidence, looks_like_html
from app.services.engines.reading import NotJson, decode, value_at
from app.services.engines.versions import version_in, version_paths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.services.core.types import DiscoveredModel, Endpoint
    from app.services.dataplane.fetch import FetchedAnswer
    from app.services.engines.interface import Engine

__all__ = ["Inspector", "SmallGet"]

MODELS_PATH: Final = "/v1/models"
MAX_LIST_BYTES: Final = 4 * 1024 * 1024
MAX_BRACKETS: Final = 100_000
"""A list that opens more objects and lists than this would hold up everybody while it is read."""
_EMPTY_LIST: Final = {"object": "list", "data": None}
"""How Ollama, as read at 0.33, says that it has no model."""
MAX_SIDE_BYTES: Final = 64 * 1024
MAX_VERSION_BYTES: Final = 1024 * 1024
"""SGLang's and llama.cpp's versions stand in an account of all their settings."""
VERSION_TIMEOUT_SECONDS: Final = 2.0
"""No registration waits longer for what it can do without."""
MAX_NAMES_SHOWN: Final = 5
REDACTED: Final = "[redacted]"
LOADING_REASON: Final = "loading the model"
MIN_SECRET_LENGTH: Final = 6
"""Shorter keys ("EMPTY", "none") are placeholders; taking them out would only garble the text."""

_BY_CONNECT_FAILURE: Final = {ConnectFailure.OWN: CheckFailure.NOT_MADE, ConnectFailure.TLS: CheckFailure.TLS}
_REDIRECTS: Final = range(300, 400)
_NOT_READY: Final = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})
_KEY_REJECTED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class SmallGet(Protocol):
    """Fetches one small answer; ``dataplane.fetch.Fetcher`` is the one."""

    async def get(
        self, endpoint: Endpoint, path: str, *, api_key: str | None, timeout_seconds: float, limit_bytes: int = ...
    ) -> FetchedAnswer:
        """Fetch ``path`` below the endpoint.

        Raises:
            EndpointRefused: the address may not be dialled.
            ConnectFailed: no connection.
            AnswerBroken: no whole, valid answer within the timeout and the limit.
        """


class Inspector:
    """Looks at servers.

    Args:
        fetcher: how answers are fetched.
        timeout_seconds: for the whole of each GET, connecting included.
    """

    def __init__(self, fetcher: SmallGet, timeout_seconds: float) -> None:
        self._fetcher = fetcher
        self._timeout_seconds = timeout_seconds

    async def inspect(
        self, endpoint: Endpoint, api_key: str | None, expected: Sequence[str], *, engine: str | None = None
    ) -> Inspection:
        """Look at a server once. What goes wrong there becomes an ``Inspection`` with a failure, never an exception.

        Args:
            endpoint: where it listens.
            api_key: what it wants to see, if anything.
            expected: upstream names that it is registered for; empty to take whatever it lists.
            engine: what an earlier look identified. None to find out, with up to two more GETs when the list alone
                does not tell, and one or two for the engine's version.
        """
        inspection = await self._look(endpoint, api_key, expected, engine)
        if engine is None and inspection.passed:
            inspection = replace(inspection, version=await self.version(endpoint, api_key, inspection.engine))
        return replace(inspection, reason=_without_key(inspection.reason, api_key))

    async def version(self, endpoint: Endpoint, api_key: str | None, engine: str) -> str:
        """Ask a server for its engine's own version; empty where it does not tell, for whatever reason."""
        limit_seconds = min(self._timeout_seconds, VERSION_TIMEOUT_SECONDS)
        for path in version_paths(engine):
            body = await self._side_get(endpoint, path, api_key, MAX_VERSION_BYTES, limit_seconds)
            if found := version_in(engine, path, _redacted(body, api_key)):
                return found
        return ""

    async def hears(self, endpoint: Endpoint, api_key: str | None, timeout_seconds: float) -> CheckFailure | None:
        """Find out whether a server answers at all: any whole answer will do.

        Args:
            endpoint: where it listens.
            api_key: what it wants to see, if anything.
            timeout_seconds: for the whole of it, connecting included.

        Returns:
            None when it answered; why it could not be asked, or that it is unreachable.
        """
        try:
            await self._get(endpoint, MODELS_PATH, api_key, MAX_LIST_BYTES, timeout_seconds)
        except EndpointRefused:
            return CheckFailure.REFUSED_ADDRESS
        except ConnectFailed as error:
            return _BY_CONNECT_FAILURE.get(error.kind, CheckFailure.UNREACHABLE)
        except AnswerBroken:
            return CheckFailure.UNREACHABLE
        return None

    async def _look(
        self, endpoint: Endpoint, api_key: str | None, expected: Sequence[str], known: str | None
    ) -> Inspection:
        try:
            answer = await self._get(endpoint, MODELS_PATH, api_key, MAX_LIST_BYTES)
        except EndpointRefused as error:
            return Inspection(CheckFailure.REFUSED_ADDRESS, error.message, code=error.code)
        except ConnectFailed as error:
            return Inspection(_BY_CONNECT_FAILURE.get(error.kind, CheckFailure.UNREACHABLE), error.reason)
        except AnswerBroken as error:
            reason = error.reason.replace("the answer is larger", "the list of models is larger")
            return Inspection(CheckFailure.UNREACHABLE, reason)
        if answer.status != HTTPStatus.OK:
            return _judge_status(_without_key_in_body(answer, api_key), known)
        return await self._judge_list(endpoint, api_key, expected, known, answer)

    async def _judge_list(
        self, endpoint: Endpoint, api_key: str | None, expected: Sequence[str], known: str | None, answer: FetchedAnswer
    ) -> Inspection:
        """Judge an answer with status 200, which proves nothing by itself."""
        if answer.body.count(b"{") + answer.body.count(b"[") > MAX_BRACKETS:
            return _bad(answer, "answered with a list of models that is too complex to read")
        try:
            listing = decode(answer.body)
        except NotJson:
            return _bad(answer, f"answered with {_kind_of(answer)}")
        if listing == _EMPTY_LIST:
            listing = {"data": []}
        evidence = Evidence(answer.headers, listing)
        if not isinstance(value_at(listing, ("data",)), list):
            return _bad(answer, _not_a_list(evidence, _without_key_in_body(answer, api_key)))
        if known is None and identify(evidence) is UNKNOWN:
            evidence = await self._more_evidence(endpoint, api_key, evidence)
        engine = identify(evidence)
        if engine is UNKNOWN and known is not None:
            engine = engine_named(known)
        if engine.is_loading(answer.status, answer.body):
            return _loading(engine, answer)
        return _judge_models(engine, engine.models(evidence), expected, answer.elapsed_ms)

    async def _more_evidence(self, endpoint: Endpoint, api_key: str | None, evidence: Evidence) -> Evidence:
        """Ask / and then /info, which some engines can only be told by. Failing to is no failure of the check."""
        root = await self._side_get(endpoint, "/", api_key)
        evidence = replace(evidence, root_body=root)
        if identify(evidence) is not UNKNOWN:
            return evidence
        try:
            return replace(evidence, info=decode(await self._side_get(endpoint, "/info", api_key)))
        except NotJson:
            return evidence

    async def _side_get(
        self,
        endpoint: Endpoint,
        path: str,
        api_key: str | None,
        limit_bytes: int = MAX_SIDE_BYTES,
        timeout_seconds: float | None = None,
    ) -> bytes:
        """Fetch a small page; empty when there is none, for whatever reason."""
        try:
            answer = await self._get(endpoint, path, api_key, limit_bytes, timeout_seconds)
        except (EndpointRefused, ConnectFailed, AnswerBroken):
            return b""
        return answer.body if answer.status == HTTPStatus.OK else b""

    async def _get(
        self,
        endpoint: Endpoint,
        path: str,
        api_key: str | None,
        limit_bytes: int,
        timeout_seconds: float | None = None,
    ) -> FetchedAnswer:
        limit_seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        return await self._fetcher.get(
            endpoint, path, api_key=api_key, timeout_seconds=limit_seconds, limit_bytes=limit_bytes
        )


def _judge_status(answer: FetchedAnswer, known: str | None) -> Inspection:
    """Say what a status other than 200 means. ``known``: what an earlier look identified, for answers without marks."""
    status = answer.status
    if status in _REDIRECTS:
        return _bad(answer, f"answered {status}: redirects are not followed; register the address it points to")
    engine = identify(Evidence(answer.headers))
    if engine is UNKNOWN and known is not None:
        engine = engine_named(known)
    message = engine.error_message(status, answer.body)
    reason = f"answered {status}: {message}"
    if status in _KEY_REJECTED:
        reason = f"{reason}, update the server's api_key"
        return Inspection(CheckFailure.CREDENTIALS, reason, latency_ms=answer.elapsed_ms)
    if engine.is_loading(status, answer.body):
        return _loading(engine, answer)
    if status in _NOT_READY:
        return Inspection(CheckFailure.NOT_READY, reason, latency_ms=answer.elapsed_ms)
    if status == HTTPStatus.NOT_FOUND:
        reason = f"{reason} (there is no {MODELS_PATH} at this address)"
    return _bad(answer, reason)


def _judge_models(
    engine: Engine, models: tuple[DiscoveredModel, ...], expected: Sequence[str], latency_ms: float
) -> Inspection:
    """Compare what is listed with what is expected."""
    listed = [model.name for model in models]
    lacking = engine.lacking(expected, frozenset(listed))
    failure, reason = None, ""
    if not listed:
        failure, reason = CheckFailure.MODEL_MISSING, "lists no model at all"
    elif lacking:
        failure = CheckFailure.MODEL_MISSING if len(lacking) == len(set(expected)) else None
        reason = f"lists models {_shown(listed)} but not {_shown(lacking)}"
    return Inspection(failure, reason, models, engine.name, latency_ms, frozenset(lacking))


def _loading(engine: Engine, answer: FetchedAnswer) -> Inspection:
    return Inspection(CheckFailure.LOADING, LOADING_REASON, engine=engine.name, latency_ms=answer.elapsed_ms)


def _bad(answer: FetchedAnswer, reason: str) -> Inspection:
    return Inspection(CheckFailure.BAD_ANSWER, reason, latency_ms=answer.elapsed_ms)


def _kind_of(answer: FetchedAnswer) -> str:
    """Name what a body is that is no JSON."""
    if not answer.body.strip():
        return "an empty body"
    if looks_like_html(answer.body):
        return "HTML, not a list of models"
    return "something that is not JSON"


def _not_a_list(evidence: Evidence, answer: FetchedAnswer) -> str:
    """Say what JSON without a list is: an error under status 200, as LM Studio answers, or something else."""
    if value_at(evidence.listing, ("error",)):
        return f"answered {answer.status}, but with an error: {identify(evidence).error_message(200, answer.body)}"
    return "answered with JSON that is not a list of models"


def _shown(names: Sequence[str]) -> str:
    """Shorten a list of names for one line."""
    more = len(names) - MAX_NAMES_SHOWN
    shown = ", ".join(names[:MAX_NAMES_SHOWN])
    return f"{shown} ... {more} more" if more > 0 else shown


def _without_key(reason: str, api_key: str | None) -> str:
    """Take the server's key out of a reason."""
    if api_key is None or len(api_key) < MIN_SECRET_LENGTH:
        return reason
    return reason.replace(api_key, REDACTED)


def _without_key_in_body(answer: FetchedAnswer, api_key: str | None) -> FetchedAnswer:
    """Take the server's key out of an answer before its text is shortened: half a key is a leak too."""
    return replace(answer, body=_redacted(answer.body, api_key))


def _redacted(body: bytes, api_key: str | None) -> bytes:
    """Take the server's key out of a body."""
    if api_key is None or len(api_key) < MIN_SECRET_LENGTH:
        return body
    return body.replace(api_key.encode(), REDACTED.encode())
