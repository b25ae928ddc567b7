"""Where does the change come from that is being made? Set for each request to the admin API, read by the audit."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Origin", "coming_from", "current_origin"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The address of who asks, and the id of the request; both empty for what the gateway does by itself."""

    client: str = ""
    request_id: str = ""


_NOWHERE: Final = Origin()
_ORIGIN: ContextVar[Origin] = ContextVar("origin", default=_NOWHERE)


def current_origin() -> Origin:
    """Say where the change comes from that is being made."""
    return _ORIGIN.get()


@contextmanager
def coming_from(origin: Origin) -> Iterator[None]:
    """Make changes in the name of this origin."""
    token = _ORIGIN.set(origin)
    try:
        yield
    finally:
        _ORIGIN.reset(token)
