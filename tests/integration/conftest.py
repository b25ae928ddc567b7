"""Both ways in: every test that asks for ``house`` runs on the door and on plain ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.house import House, open_house


@pytest.fixture(params=["door", "asgi"])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def house(shell: str) -> AsyncIterator[House]:
    async with open_house(shell) as opened:
        yield opened
