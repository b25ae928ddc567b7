"""Both ways in, and ``world``: a gateway that the tests of a file share, with the file's ``SETTINGS`` if it has any."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fakes.gateway_in_process import SHELLS
from tests.faults.world import World, lent, running_world


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SHELLS)
async def shared_world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    settings = getattr(request.module, "SETTINGS", {})
    async with running_world(tmp_path_factory.mktemp("gateway"), str(request.param), **settings) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared_world: World) -> AsyncIterator[World]:
    """The gateway, for one test: files that ask for it run all tests in one loop (``loop_scope="module"``)."""
    async with lent(shared_world) as opened:
        yield opened
