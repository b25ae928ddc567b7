"""What is a server called, for whom?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.types import Endpoint, ModelEntry
from app.services.registry.records import ServerRecord
from app.services.server_names import plain_text, server_name

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def record(**metadata: object) -> ServerRecord:
    endpoint = Endpoint("http", "10.0.0.5", 8000, "/llm")
    return ServerRecord("3f0c4a52-8c1e", endpoint, (ModelEntry("m", "m"),), NOON, NOON, metadata=metadata)


def test_who_may_know_is_told_where_it_is() -> None:
    assert server_name(record(description="lab box"), knows_host=True) == "10.0.0.5:8000/llm"


@pytest.mark.parametrize(
    ("description", "name"),
    [("lab  box\n", "lab box"), ("", "server 3f0c4a52"), (7, "server 3f0c4a52"), (None, "server 3f0c4a52")],
)
def test_others_are_told_what_its_owner_says(description: object, name: str) -> None:
    assert server_name(record(description=description), knows_host=False) == name


@given(st.text(max_size=300), st.integers(1, 200))
def test_what_strangers_write_is_cut_and_prints(text: str, longest: int) -> None:
    shown = plain_text(text, longest)
    assert shown.isprintable()
    assert len(shown) <= longest
    if text.isprintable() and len(text) <= longest:
        assert shown == text
