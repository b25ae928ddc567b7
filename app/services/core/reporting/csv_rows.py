"""How do rows read as CSV?

That of RFC 4180, with a header line. Spreadsheets take a cell that begins with ``=``, ``+``, ``-``, ``@`` or a tab for
a formula, and names are chosen by people: such a cell gets an apostrophe before it.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["csv_text"]

_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With what a formula begins; the last four are the first four in full width."""


def csv_text(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Write rows.

    Args:
        columns: their names, in order; what a row has beside them is left out.
        rows: numbers, texts, times and JSON objects by the names of columns; what is absent or None is empty.
    """
    names = list(columns)
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return page.getvalue()


def _cell(value: Any) -> str | int | float:
    """Write a value so that no spreadsheet takes it for a formula; numbers are our own and may be below zero."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return f"'{text}" if text.startswith(_FORMULAS) else text
