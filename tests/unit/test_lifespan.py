"""Can the gateway be started again after it has ended, in another event loop too?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.lifespan import begin_drain
from app.main import create_app
from app.utils.config import load_settings
from app.utils.logger import configure_logging


@pytest.fixture(autouse=True)
def log_of_its_own() -> Iterator[None]:
    """The gateway sets up the log of the whole process, with a file in a folder that goes away."""
    yield
    configure_logging()


@contextmanager
def started(app) -> Iterator[TestClient]:
    with TestClient(app) as client:
        for page in ("/health", "/ready"):
            assert client.get(page).status_code == 200
        yield client


@pytest.mark.usefixtures("empty_directory")
def test_it_starts_as_often_as_it_is_asked_to() -> None:
    app = create_app(load_settings())
    gateways = []
    for _time in range(3):
        with started(app) as client:
            gateways.append(app.state.gateway)
            assert client.get("/ready").json()["status"] == "ready"
        assert app.state.plane.open_exchanges == 0
    assert len(set(map(id, gateways))) == 3


@pytest.mark.usefixtures("empty_directory")
def test_it_starts_again_after_a_start_that_failed() -> None:
    settings = load_settings(database_url="sqlite:///./there/gateway.db")
    app = create_app(settings)
    there = Path("there")
    there.write_text("a file where a folder should be")
    with pytest.raises(Exception, match="there"), TestClient(app):
        pytest.fail("it started")
    there.unlink()
    with started(app):
        pass


@pytest.mark.usefixtures("empty_directory")
async def test_the_end_of_one_drain_is_not_the_end_of_the_next_run(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(drain_grace_seconds=0, drain_timeout_seconds=0.1)
    app = create_app(settings)
    lifespan = app.router.lifespan_context
    async with lifespan(app):
        begin_drain(app, settings)
        handed_over = app.state.gateway
    async with lifespan(app):
        ends: list[object] = []
        monkeypatch.setattr(app.state.plane, "shut", lambda: ends.append(app.state.gateway))
        assert app.state.gateway is not handed_over
        begin_drain(app, settings)  # its own end comes after the other's
        async with asyncio.timeout(5):
            while not ends:
                await asyncio.sleep(0.01)
        assert ends == [app.state.gateway]
