"""Does a page tell of a server that was killed, by itself, within three seconds of its connections being refused?"""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import expect

from tests.fakes.browser import Problems, SignIn, check_axe
from tests.fakes.pages_world import OwnWorld
from tests.fakes.real_model import StartModelServer

TOLD_WITHIN_MS = 3_000
STAYS = "window.stays === true"


@pytest.mark.timeout(120)
async def test_a_killed_server_is_told_without_a_reload(
    signed_in: SignIn, own_world: OwnWorld, start_model_server: StartModelServer, problems: Problems
) -> None:
    world = await own_world(HEALTH_CHECK_INTERVAL_SECONDS="10")  # the default
    server, other = start_model_server(), start_model_server()
    server_id, other_id = world.register(server.url), world.register(other.url)
    everything = await signed_in("admin", world=world, path="/ui/servers")
    one = await everything.context.new_page()
    await one.goto(f"/ui/servers/{server_id}")
    cards = [page.locator(f'[data-server-id="{server_id}"]').first for page in (everything, one)]
    for page, card in zip((everything, one), cards, strict=True):
        await expect(card).to_have_attribute("data-state", "healthy")
        await expect(page.locator("[data-live-state]")).to_have_text(re.compile(r"\blive$"))
        await page.evaluate("window.stays = true")

    await everything.bring_to_front()
    await asyncio.to_thread(server.kill)
    await expect(cards[0]).not_to_have_attribute("data-state", "healthy", timeout=TOLD_WITHIN_MS)
    await expect(cards[0]).to_contain_text("refused")
    await one.bring_to_front()
    await expect(cards[1]).not_to_have_attribute("data-state", "healthy", timeout=TOLD_WITHIN_MS)
    for page in (everything, one):
        assert await page.evaluate(STAYS)
    await check_axe(everything, "a server just died")
    await expect(everything.locator(f'[data-server-id="{other_id}"]')).to_have_attribute("data-state", "healthy")

    back = start_model_server(server.port)
    assert back.url == server.url
    await everything.bring_to_front()
    await expect(cards[0]).to_have_attribute("data-state", "healthy", timeout=60_000)
    assert await everything.evaluate(STAYS)
    problems.allow("request failed: GET .*/ui/live")
