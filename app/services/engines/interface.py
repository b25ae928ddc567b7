"""What must the gateway know of an engine? The one interface, with what most engines have in common.

An adapter mostly states facts: how the engine signs its answers, where it tells a model's context length, what its
errors look like. Everything here is pure: evidence comes in, values go out.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Final

from app.services.core.signals import NO_SIGNALS
from app.services.core.types import DiscoveredModel
from app.services.engines.reading import (
    NotJson,
    Path,
    count_at,
    decode,
    entries,
    is_model_name,
    objects_at,
    readable,
    text_at,
    value_at,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from app.services.core.signals import Signals

__all__ = ["MAX_MODELS", "Engine", "Evidence", "header_starts", "looks_like_html", "owner"]

MAX_MODELS: Final = 1000
"""Models taken from one list; the rest is left out."""
MAX_TOKENS: Final = 10**9
"""A count beyond it is nonsense."""

MAX_PLACE_STEPS: Final = 8
MAX_JUDGED_CHARACTERS: Final = 1000
"""As much of an error's text is searched for words."""

_LOADING: Final = re.compile(
    r"\bloading\b|\bnot (?:yet )?(?:ready|loaded)\b|\bstill starting\b|\bstarting up\b|\bwarming up\b", re.IGNORECASE
)
_FAILED: Final = re.compile(r"\b(?:fail|error|unable|cannot|can't|could not|couldn't|abort)", re.IGNORECASE)

COMMON_ERROR_PATHS: Final[tuple[Path, ...]] = (
    ("error", "message"),
    ("error",),
    ("message",),
    ("detail",),
    ("detail", "message"),
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a server has shown of itself.

    Attributes:
        headers: of the answer to GET /v1/models, names in lower case.
        listing: that answer's body, decoded; None if it was no JSON.
        root_body: what GET / answered, if it was asked.
        info: what GET /info answered, decoded, if it was asked.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    listing: object = None
    root_body: bytes = b""
    info: object = None


class Engine(ABC):
    """One kind of model server."""

    name: ClassVar[str]
    """As the API and the database spell it."""
    context_paths: ClassVar[tuple[Path, ...]] = ()
    """Where an entry of the list tells the context length in tokens; the first that holds a number counts."""
    error_paths: ClassVar[tuple[Path, ...]] = ()
    """Where an error's text stands, tried before the common places."""
    loading_words: ClassVar[tuple[str, ...]] = ()
    """How the text of a 503 begins, in lower case, while a model is loaded, beside the common ways to say so."""
    swaps_models: ClassVar[bool] = False
    """Whether it loads a model inside a request, and may put another out of memory for it."""

    @abstractmethod
    def recognises(self, evidence: Evidence) -> bool:
        """Whether the evidence bears this engine's mark."""

    def models(self, evidence: Evidence) -> tuple[DiscoveredModel, ...]:
        """Return the models that the server lists, each name once, at most 1000."""
        found: dict[str, DiscoveredModel] = {}
        for entry in entries(evidence.listing):
            context_length = self.context_length(entry, evidence)
            for name in filter(is_model_name, self.names(entry)):
                found.setdefault(name, DiscoveredModel(name, context_length))
            if len(found) >= MAX_MODELS:
                break
        return tuple(islice(found.values(), MAX_MODELS))

    def names(self, entry: Mapping[str, object]) -> Iterator[object]:
        """Yield what one entry of the list may be asked for by; not yet judged."""
        yield entry.get("id")

    def context_length(self, entry: Mapping[str, object], evidence: Evidence) -> int | None:  # noqa: ARG002 - for overrides
        """Return an entry's context length in tokens, if it tells one."""
        counts = (count_at(entry, path) for path in self.context_paths)
        return next((count for count in counts if count is not None), None)

    def lacking(self, expected: Iterable[str], listed: Collection[str]) -> list[str]:
        """Return the expected names that the server does not answer to, each once, in the order given."""
        return [name for name in dict.fromkeys(expected) if name not in listed]

    def count_request(self, model: str, text: str) -> tuple[str, bytes] | None:  # noqa: ARG002 - for overrides
        """Make the POST that has a text cut into tokens, with no special ones added.

        Args:
            model: as the server calls it.
            text: what is to be counted.

        Returns:
            The path, beside ``/v1`` and not below it, and the JSON body; None for an engine that has no such route.
        """
        return None

    def count_in(self, answer: bytes) -> int | None:
        """Read how many tokens an answer to ``count_request`` tells of; None if it tells of none."""
        try:
            document = decode(answer)
        except NotJson:
            return None
        count, tokens = value_at(document, ("count",)), value_at(document, ("tokens",))
        if isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= MAX_TOKENS:
            return count
        return len(tokens) if isinstance(tokens, list) else None

    def signal_paths(self) -> tuple[str, ...]:
        """Return what is asked for, beside the health checks, to learn how busy a server is; paths from the root."""
        return ()

    def signals(self, answers: Mapping[str, bytes]) -> Signals:  # noqa: ARG002 - for overrides
        """Read what a server says of itself.

        Args:
            answers: the bodies by path, of those in ``signal_paths`` that were answered with 200. Anybody's bytes.
        """
        return NO_SIGNALS

    def error_message(self, status: int, body: bytes) -> str:
        """Return a short text for a person: what the error's body says, else what the status is called.

        Args:
            status: the answer's HTTP status.
            body: its body, of any kind; may be cut short.
        """
        return readable(self._error_text(body)) or _phrase(status)

    def is_loading(self, status: int, body: bytes) -> bool:
        """Whether an answer says that the server is well and will soon serve: it still starts, or loads its model.

        Args:
            status: the answer's HTTP status.
            body: its body, of any kind; may be cut short.
        """
        if status != HTTPStatus.SERVICE_UNAVAILABLE:
            return False
        text = self._error_text(body)[:MAX_JUDGED_CHARACTERS].strip()
        if text.lower().startswith(self.loading_words):
            return True
        return _LOADING.search(text) is not None and _FAILED.search(text) is None

    def _error_text(self, body: bytes) -> str:
        """Find the text of an error, empty if the body has none."""
        try:
            document = decode(body)
        except NotJson:
            return "" if looks_like_html(body) else body.decode("utf-8", "replace")
        if isinstance(document, str):
            return document
        texts = (text_at(document, path) for path in (*self.error_paths, *COMMON_ERROR_PATHS))
        return next((text for text in texts if text.strip()), "") or _first_complaint(document)


def owner(evidence: Evidence) -> str:
    """Return ``data[0].owned_by`` of the list: where most engines sign. Empty if it is not there."""
    return next((text_at(entry, ("owned_by",)) for entry in entries(evidence.listing)), "")


def header_starts(evidence: Evidence, header: str, prefix: str) -> bool:
    """Whether a header begins with ``prefix``, in any case."""
    return evidence.headers.get(header, "").lower().startswith(prefix)


def looks_like_html(body: bytes) -> bool:
    """Whether a body is markup rather than text or JSON."""
    return body[:256].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _first_complaint(document: object) -> str:
    """Return what FastAPI finds wrong with a body first, and where: ``{"detail": [{"loc": [...], "msg": ...}]}``."""
    first: Mapping[str, object] = next(objects_at(document, ("detail",)), {})
    message, place = text_at(first, ("msg",)), first.get("loc")
    names = (
        [str(step) for step in place[:MAX_PLACE_STEPS] if isinstance(step, str | int)]
        if isinstance(place, list)
        else []
    )
    return f"{'.'.join(names)}: {message}" if message and names else message


def _phrase(status: int) -> str:
    """Return the status's registered name (RFC 9110, 15), or a general word for one that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"
