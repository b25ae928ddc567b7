"""Each test of a contract has a protocol of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.uvicorn_kit import Kit, turns


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    made = Kit()
    yield made
    made.close()
    await turns(2)
