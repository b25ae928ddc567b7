"""A real Chromium in front of running gateways. What tests of pages are written with:

``page_world`` (session)
    The full gateway (``tests.fakes.pages_world.PageWorld``): servers of every state, real llama.cpp with traffic.
    ``page_world.servers["real"]`` and so on are ids; ``.fake("model")`` starts and registers one more scripted server,
    ``.call("POST", "/admin/...", {...}, role="owner")`` calls the API. It is shared: a test makes what it changes.
``shown_world`` (session)
    A gateway as a small lab might have it, for pictures.
``quiet_world`` (session)
    A gateway with a key of each role and nothing else.
``empty_world`` (session)
    A gateway with nothing in it: ask it as "admin" alone.
``own_world`` (function)
    ``await own_world(SETTING="value")`` starts one more gateway for this test, which may be killed.
``signed_in`` (function)
    ``page = await signed_in("owner", width=360, scheme="dark", world=quiet_world, path="/ui/servers")`` opens a page of
    a browser of its own, signed in by role: "admin", "group-admin", "owner" or "user"; ``role=None``: not signed in;
    ``javascript=False``: without scripts. ``page.goto("/ui/keys")`` takes paths.
``problems`` (function, always on)
    Collects console errors, uncaught errors, reports of the content security policy, dialogs, inline scripts, requests
    to other hosts, failed requests and answers from 500 on, of every page of the test. At its end there must be none;
    ``problems.allow("answered 503: .*")`` lets pass what a test brings about.
``start_model_server`` (session)
    Starts one more real llama.cpp server, to be killed if need be.

From ``tests.fakes.browser``: ``check_axe(page)``, ``check_frame(page)``, ``check_inert(page)``, ``check_width(page)``,
``focus_by_tab(page, locator)`` (by keyboard alone), ``settled(page)`` and ``shot(page, "servers-light-1440")``, which
takes a picture into the folder that SCREENSHOTS names; with ``in_docs=True`` SCREENSHOTS=1 takes it into
docs/screenshots. Tests are coroutines of one loop for the whole session.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.fakes.browser import CHROMIUM_ARGUMENTS, Problems, SignIn, find_chromium
from tests.fakes.pages_world import FakeHouse, OwnWorld, PageWorld, fill, open_world
from tests.fakes.real_model import StartModelServer, bundled_model, model_server_starter
from tests.fakes.shown_world import furnish

HEIGHTS = {360: 740}
SLOWEST_SECONDS = 300
"""A test that is the first to ask for a world waits for it to be filled, and each page is looked at with axe."""
HEIGHT = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser lives in one event loop, and so does what talks to it."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(SLOWEST_SECONDS))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = find_chromium()
    async with async_playwright() as driver:
        chromium = await driver.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield chromium
        await chromium.close()


@pytest.fixture(scope="session")
def fake_house() -> Iterator[FakeHouse]:
    with FakeHouse() as house:
        yield house


@pytest.fixture(scope="session")
def start_model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartModelServer]:
    log_file = tmp_path_factory.mktemp("model-servers") / "llama.log"
    with model_server_starter(bundled_model(), log_file) as start:
        yield start


@pytest.fixture(scope="session")
def page_world(
    tmp_path_factory: pytest.TempPathFactory, fake_house: FakeHouse, start_model_server: StartModelServer
) -> Iterator[PageWorld]:
    find_chromium()
    urls = [start_model_server().url for _server in range(2)]
    with open_world(tmp_path_factory.mktemp("full") / "gateway", fake_house, UNHEALTHY_THRESHOLD="1") as world:
        fill(world, *urls)
        yield world


@pytest.fixture(scope="session")
def shown_world(fake_house: FakeHouse, start_model_server: StartModelServer) -> Iterator[PageWorld]:
    find_chromium()
    urls = [start_model_server().url for _server in range(2)]
    with (
        TemporaryDirectory(prefix="multiverse-") as folder,  # whose name is in the pictures
        open_world(Path(folder), fake_house, UNHEALTHY_THRESHOLD="1") as world,
    ):
        furnish(world, *urls)
        yield world


@pytest.fixture(scope="session")
def quiet_world(tmp_path_factory: pytest.TempPathFactory, fake_house: FakeHouse) -> Iterator[PageWorld]:
    find_chromium()
    with open_world(tmp_path_factory.mktemp("quiet") / "gateway", fake_house) as world:
        yield world


@pytest.fixture(scope="session")
def empty_world(tmp_path_factory: pytest.TempPathFactory, fake_house: FakeHouse) -> Iterator[PageWorld]:
    find_chromium()
    with open_world(tmp_path_factory.mktemp("empty") / "gateway", fake_house) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def own_world(tmp_path: Path, fake_house: FakeHouse) -> AsyncIterator[OwnWorld]:
    with ExitStack() as stack:

        async def start(**settings: str) -> PageWorld:
            return await asyncio.to_thread(
                stack.enter_context, open_world(tmp_path / "gateway", fake_house, **settings)
            )

        yield start


@pytest.fixture(autouse=True)
def problems() -> Iterator[Problems]:
    found = Problems()
    yield found
    found.check()


@pytest_asyncio.fixture(loop_scope="session")
async def signed_in(
    browser: Browser,
    problems: Problems,
    own_world: OwnWorld,  # ends after its pages have been closed, or they would ask one that is gone
    request: pytest.FixtureRequest,
) -> AsyncIterator[SignIn]:
    async with AsyncExitStack() as stack:

        async def open_page(
            role: str | None = "admin",
            *,
            width: int = 1440,
            scheme: str = "light",
            world: PageWorld | None = None,
            path: str = "/ui",
            javascript: bool = True,
        ) -> Page:
            there = world or request.getfixturevalue("page_world")
            context = await browser.new_context(
                base_url=there.url,
                viewport={"width": width, "height": HEIGHTS.get(width, HEIGHT)},
                color_scheme=scheme,
                reduced_motion="reduce",
                locale="en-GB",
                timezone_id="UTC",
                java_script_enabled=javascript,
            )
            stack.push_async_callback(context.close)
            context.set_default_timeout(15_000)
            await problems.watch(context, there.url)
            if role is not None:
                form = {"key": there.key(role), "next": "/ui/settings"}
                answer = await context.request.post("/ui/sign-in", form=form, max_redirects=0)
                assert answer.status == 303, await answer.text()
            page = await context.new_page()
            await page.goto(path)
            return page

        yield open_page
