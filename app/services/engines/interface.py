"""What must the gateway know of an engine? The one interface, with what most engines have in common.

An adapter mostly states facts: how the engine signs its answers, where it tells a model's context length, what its
errors look like. Everything here is pure: evidence comes in, values go out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Final

from app.services.core.types import DiscoveredModel
from app.services.engines.reading import (
    NotJson,
    Path,
    count_at,
    decode,
    entries,
    is_model_name,
    readable,
    text_at,
    value_at,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

__all__ = ["MAX_MODELS", "Engine", "Evidence", "header_starts", "looks_like_html", "owner"]

MAX_MODELS: Final = 1000
"""Models taken from one list; the rest is left out."""
MAX_TOKENS: Final = 10**9
"""A count beyond it is nonsense."""

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

    def error_message(self, status: int, body: bytes) -> str:
        """Return a short text for a person: what the error's body says, else what the status is called.

        Args:
            status: the answer's HTTP status.
            body: its body, of any kind; may be cut short.
        """
        return readable(self._error_text(body)) or _phrase(status)

    def _error_text(self, body: bytes) -> str:
        """Find the text of an error, empty if the body has none."""
        try:
            document = decode(body)
        except NotJson:
            return "" if looks_like_html(body) else body.decode("utf-8", "replace")
        if isinstance(document, str):
            return document
        texts = (text_at(document, path) for path in (*self.error_paths, *COMMON_ERROR_PATHS))
        return next((text for text in texts if text.strip()), "")


def owner(evidence: Evidence) -> str:
    """Return ``data[0].owned_by`` of the list: where most engines sign. Empty if it is not there."""
    return next((text_at(entry, ("owned_by",)) for entry in entries(evidence.listing)), "")


def header_starts(evidence: Evidence, header: str, prefix: str) -> bool:
    """Whether a header begins with ``prefix``, in any case."""
    return evidence.headers.get(header, "").lower().startswith(prefix)


def looks_like_html(body: bytes) -> bool:
    """Whether a body is markup rather than text or JSON."""
    return body[:256].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _phrase(status: int) -> str:
    """Return the status's registered name (RFC 9110, 15), or a general word for one that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"
