"""The whole API over a real registry and a real SQLite file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.api import Api, api_world


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_world(tmp_path) as made:
        yield made
