"""A registry over a real SQLite file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.registry import World, registry_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with registry_world(tmp_path) as made:
        yield made
