"""How is ``.env`` changed without losing a line of what its owner wrote?"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HEADER", "Change", "changes", "merge", "write_private"]

HEADER: Final = "# Settings of the gateway; .env.example and the documentation list all of them.\n"
_ASSIGNMENT: Final = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=(?P<value>.*)")
_QUOTES: Final = "\"'"


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that would become another; ``old`` is None where it was not set."""

    name: str
    old: str | None
    new: str

    def __str__(self) -> str:
        """A line such as ``~ PORT: 8000 -> 9000``."""
        new = self.new or "(none)"
        return f"+ {self.name}: {new}" if self.old is None else f"~ {self.name}: {self.old or '(none)'} -> {new}"


def changes(text: str, wanted: Mapping[str, str]) -> list[Change]:
    """What ``merge`` would change, in the order of ``wanted``. The last assignment of a name counts, as for readers."""
    present: dict[str, str] = {}
    for line in text.splitlines():
        match = _ASSIGNMENT.match(line)
        if match is not None:
            present[match["name"].upper()] = match["value"].strip().strip(_QUOTES)
    return [Change(name, present.get(name), value) for name, value in wanted.items() if present.get(name) != value]


def merge(text: str, wanted: Mapping[str, str]) -> str:
    """``text`` with every name of ``wanted`` set once, where it stood or at the end; all other lines untouched."""
    left = dict(wanted)
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        match = _ASSIGNMENT.match(line)
        name = match["name"].upper() if match is not None else ""
        if name not in wanted:
            lines.append(line)
        elif name in left:
            lines.append(f"{name}={left.pop(name)}\n")
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return "".join(lines or [HEADER]) + "".join(f"{name}={value}\n" for name, value in left.items())


def write_private(path: Path, text: str) -> None:
    """Replace a file as one step; only its owner may read it (mode 0600), before and after."""
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
