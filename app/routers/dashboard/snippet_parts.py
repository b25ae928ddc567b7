"""What is one text to copy, and where does a key stand in it? The values that snippets are made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.routers.dashboard.quoting import in_javascript, in_shell

__all__ = ["PLACEHOLDER", "Connection", "Part", "Quoting", "Tool"]

PLACEHOLDER: Final = "YOUR_KEY"


class Quoting(StrEnum):
    """How a key is quoted where it stands."""

    SHELL = "shell"
    STRING = "string"
    """In double quotes, as JavaScript, Python and YAML read alike."""
    PLAIN = "plain"


_QUOTED: Final[dict[Quoting, str]] = {
    Quoting.SHELL: in_shell(PLACEHOLDER),
    Quoting.STRING: in_javascript(PLACEHOLDER),
    Quoting.PLAIN: PLACEHOLDER,
}


@dataclass(frozen=True, slots=True)
class Connection:
    """What is connected to.

    Attributes:
        model: its name, as it is asked for.
        base_url: of the API, with ``/v1``.
        context_length: in tokens; None where it is not known.
        embeds: whether it makes vectors, not answers.
    """

    model: str
    base_url: str
    context_length: int | None = None
    embeds: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One text to copy.

    Attributes:
        label: where it goes: a file, a field, a terminal.
        before: all of it, or what stands before the key.
        key: how the key is quoted there; None where none is needed.
        after: what follows the key.
    """

    label: str
    before: str
    key: Quoting | None = None
    after: str = ""

    @property
    def placeholder(self) -> str:
        """What stands in place of the key."""
        return "" if self.key is None else _QUOTED[self.key]

    @property
    def text(self) -> str:
        """The whole text, with the placeholder."""
        return f"{self.before}{self.placeholder}{self.after}"

    @property
    def is_short(self) -> bool:
        """Whether it is one value for a field rather than a text of lines."""
        return "\n" not in self.text


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool and what it takes.

    Attributes:
        id: for links to it.
        name: as its makers write it.
        steps: what to do, in a sentence or two.
        parts: what to copy, in order.
    """

    id: str
    name: str
    steps: str
    parts: tuple[Part, ...]
