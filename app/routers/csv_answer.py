"""How does an answer become a file of CSV?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from fastapi import Response

from app.services.core.reporting.csv_rows import csv_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CSV_ANSWER", "Format", "csv_answer"]

Format = Literal["json", "csv"]
CSV_ANSWER: Final[dict[str, Any]] = {"content": {"text/csv": {"schema": {"type": "string"}}}}
"""Says in the API's description that an answer may be CSV too."""


def csv_answer(columns: Iterable[str], rows: Iterable[Mapping[str, Any]], name: str) -> Response:
    """Make a file of this name, without its ending, of rows."""
    return Response(
        csv_text(columns, rows).encode(errors="replace"),
        media_type="text/csv; charset=utf-8; header=present",
        headers={"content-disposition": f'attachment; filename="{name}.csv"'},
    )
