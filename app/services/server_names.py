"""What is a server called? Where it listens, for those who may know; else what its owner says of it, or its id.

What owners write freely is made harmless to read: what does not print, marks that turn the direction of text among it,
is shown as a sign of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from app.services.registry.records import ServerRecord

__all__ = ["plain_text", "server_name"]

_LONGEST_NAME: Final = 100
_ID_SHOWN: Final = 8
_NOT_SHOWN: Final = "\N{REPLACEMENT CHARACTER}"


def server_name(record: ServerRecord, *, knows_host: bool) -> str:
    """Name a server.

    Args:
        record: the server.
        knows_host: whether it is for somebody who may know where the server is.
    """
    if knows_host:
        return plain_text(record.endpoint.url.partition("://")[2], _LONGEST_NAME)
    said = record.metadata.get("description")
    described = " ".join(said.split()) if isinstance(said, str) else ""
    return plain_text(described, _LONGEST_NAME) if described else f"server {record.id[:_ID_SHOWN]}"


def plain_text(text: str, longest: int) -> str:
    """Cut a text that somebody else wrote, and take out of it what does not print."""
    cut = text if len(text) <= longest else f"{text[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"
    return cut if cut.isprintable() else "".join(each if each.isprintable() else _NOT_SHOWN for each in cut)
