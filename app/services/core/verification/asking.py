"""What is asked of a server whose claims are looked at, and what can come of it?

An examination is a generator: it yields what is to be asked, is sent what came of it, and returns what it amounts to.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from app.services.core.signals import Signals
    from app.services.core.verification.findings import Judgement
    from app.services.core.verification.likeness import Sample

__all__ = ["Ask", "Claim", "Examination", "Examined", "Inconclusive", "Look", "Lost", "Reply", "Say", "Speaks", "Told"]


class Speaks(Protocol):
    """What must be known of an engine; ``engines.interface.Engine`` is the one."""

    @property
    def name(self) -> str:
        """As servers are registered with it."""

    def error_message(self, status: int, body: bytes) -> str:
        """Return a short text of a refusal, for a person."""

    def names(self, entry: Mapping[str, object]) -> Iterator[object]:
        """Yield the names under which a model of its list may be asked for."""

    def signal_paths(self) -> tuple[str, ...]:
        """Return what is asked for to learn what it says of itself."""

    def signals(self, answers: Mapping[str, bytes]) -> Signals:
        """Read what it says of itself."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a server is registered for.

    Attributes:
        upstream_name: what it calls the model.
        engine: which engine it runs.
        context_length: in tokens, as registered or listed; None where nobody claimed any.
        told_context: in tokens, as its engine told lately; None where it did not.
        thinking_off: whether the model is known to be kept from thinking by its template's own switch.
    """

    upstream_name: str
    engine: Speaks
    context_length: int | None = None
    told_context: int | None = None
    thinking_off: bool = False


@dataclass(frozen=True, slots=True)
class Say:
    """A POST of JSON; ``path`` is below the endpoint.

    ``only_begin``: the answer is of no interest once it has begun, and must be cut off then.
    """

    path: str
    body: bytes
    only_begin: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """A GET; ``path`` is below the endpoint."""

    path: str


@dataclass(frozen=True, slots=True)
class Told:
    """An answer.

    Attributes:
        status: of HTTP.
        body: whole, or as far as it had come when it was cut.
        arrivals: how much of the body had come after how many seconds, in the order of time; empty for a GET.
    """

    status: int
    body: bytes
    arrivals: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """There was no answer. ``reason`` is in words for an owner."""

    reason: str


@dataclass(frozen=True, slots=True)
class Examined:
    """What an examination found.

    Attributes:
        judgements: the verdicts.
        sample: what is to be compared with other servers', where there is one.
        fault: what went wrong before all was looked at, in words for an owner; empty where nothing did.
    """

    judgements: tuple[Judgement, ...]
    sample: Sample | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Inconclusive:
    """Nothing was found, for a fault that may pass. ``reason`` is in words for an owner."""

    reason: str


Ask = Say | Look
Reply = Told | Lost
Examination = Generator[Ask, Reply, Examined | Inconclusive]
