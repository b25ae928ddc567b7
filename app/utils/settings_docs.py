"""What do ``.env.example`` and ``docs/settings.md`` say? Both are written from the settings themselves.

``python -m app.utils.settings_docs`` in the checkout rewrites them; a test fails when they are out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.utils.config import form_of, rule_of
from app.utils.setting_groups import GROUPS

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = ["ENV_EXAMPLE", "SETTINGS_PAGE", "env_example", "main", "settings_page"]

ENV_EXAMPLE = Path(".env.example")
SETTINGS_PAGE = Path("docs/settings.md")

_ENV_HEAD = """\
# Settings of the Multiverse Inference Gateway. Copy this file to .env in the folder where the gateway starts and take
# the # away from what you change. Variables of the environment win over .env. docs/settings.md has types and bounds.
"""
_PAGE_HEAD = """\
# Settings

The gateway reads its settings from the environment and from `.env` in the folder where it starts; the environment
wins. None is required. A value that can't be used stops the start with the setting's name, the value and the fix, and
exit code 2. An empty value counts as unset. Lists are separated by commas. Durations are seconds and take decimals. An
interval may be shorter than its timeout. Relative paths start in the working directory.

Where it says *`multiverse serve` only*, another ASGI server (`uvicorn app.main:app`) has an option of its own. Give
such a server the same address and port as `HOST` and `PORT`: the gateway refuses to dial itself and has to know where
it is.

This page and `.env.example` are written by `python -m app.utils.settings_docs`.
"""


def env_example() -> str:
    """Give ``.env.example``: each setting as ``# NAME=default`` under one line that says what it means."""
    lines = [_ENV_HEAD]
    for group in GROUPS:
        lines.append(f"# ---- {_title(group)} ----\n")
        lines += [
            f"# {field.description}\n# {name.upper()}={_default(field)}\n" for name, field in group.model_fields.items()
        ]
    return "\n".join(lines)


def settings_page() -> str:
    """Give ``docs/settings.md``: a table for each group of settings."""
    lines = [_PAGE_HEAD]
    for group in GROUPS:
        rows = [_row(name, field) for name, field in group.model_fields.items()]
        head = ["| setting | type | default | must be | meaning |", "|---|---|---|---|---|"]
        lines += [f"## {_title(group)}", "", *head, *rows, ""]
    return "\n".join(lines)


def main() -> None:
    """Rewrite both files in the working directory, which has to be the checkout."""
    if not Path("pyproject.toml").is_file():
        sys.exit("Run this in the root of the checkout, where pyproject.toml is.")
    SETTINGS_PAGE.parent.mkdir(exist_ok=True)
    ENV_EXAMPLE.write_text(env_example(), encoding="utf-8", newline="\n")
    SETTINGS_PAGE.write_text(settings_page(), encoding="utf-8", newline="\n")
    sys.stdout.write(f"Wrote {ENV_EXAMPLE} and {SETTINGS_PAGE}.\n")


def _row(name: str, field: FieldInfo) -> str:
    default = _default(field)
    cells = (f"`{name.upper()}`", form_of(field).kind, f"`{default}`" if default else "unset", rule_of(field))
    return "| " + " | ".join((*cells, field.description or "")) + " |"


def _title(group: type) -> str:
    return (group.__doc__ or "").splitlines()[0].removesuffix(".")


def _default(field: FieldInfo) -> str:
    """Write a default as it would stand in ``.env``: nothing for what is unset or empty."""
    if field.default is None or field.default == ():
        return ""
    if isinstance(field.default, bool):
        return str(field.default).lower()
    if isinstance(field.default, tuple):
        return ",".join(map(str, field.default))
    return field.default.as_posix() if isinstance(field.default, Path) else str(field.default)


if __name__ == "__main__":
    main()
