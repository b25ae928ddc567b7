"""Is every page fit for everybody: light and dark, wide and narrow, empty and full, for each role that may see it?

One page is opened for each role and turned from one look into the next, as a person would turn a phone or the lights.
Where SCREENSHOTS=1 is set the same run makes the pictures of docs/screenshots, of a gateway as a small lab might have
it; where SCREENSHOTS is a folder, pictures of everything go there.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable
from dataclasses import dataclass

import pytest
from playwright.async_api import Page

from tests.fakes.browser import SignIn, check_axe, check_frame, check_inert, check_width, shot
from tests.fakes.pages_world import ROLES, PageWorld

OWNERS = ("admin", "group-admin", "owner")
OPERATOR = ("admin",)
HEIGHTS = {360: 740, 1440: 900}
LOOKS = (("light", 1440), ("dark", 1440), ("dark", 360), ("light", 360))
"""In an order in which each differs from the one before in one thing."""
NARROWEST = 320
"""Where nothing has to be scrolled sideways either: WCAG 2.1, 1.4.10."""
FEWER_LOOKS = (("light", 1440), ("dark", 360))
LARGE = ("models", "playground")
"""Hundreds of models, which take axe seconds each time: seen by one role in all looks, by the others in fewer."""


@dataclass(frozen=True)
class Place:
    """A page: its path (``{paused}`` stands for that server), and who may see it; the first of them is pictured."""

    name: str
    path: str
    roles: tuple[str, ...] = ROLES
    full_alone: bool = False


PAGES = (
    Place("overview", "/ui"),
    Place("servers", "/ui/servers", OWNERS),
    Place("servers-found", "/ui/servers?state=unhealthy", OPERATOR, full_alone=True),
    Place("server", "/ui/servers/{real}", OPERATOR, full_alone=True),
    Place("server-paused", "/ui/servers/{paused}", OPERATOR, full_alone=True),
    Place("server-down", "/ui/servers/{down}", OPERATOR, full_alone=True),
    Place("server-large", "/ui/servers/{large}", OPERATOR, full_alone=True),
    Place("server-own", "/ui/servers/{alices}", ("owner",), full_alone=True),
    Place("server-edit", "/ui/servers/{real}/edit", OPERATOR, full_alone=True),
    Place("server-remove", "/ui/servers/{real}/remove", OPERATOR, full_alone=True),
    Place("register", "/ui/register", OWNERS),
    Place("registered", "/ui/register/{alices}", ("owner",), full_alone=True),
    Place("models", "/ui/models"),
    Place("connect", "/ui/models/connect", ROLES, full_alone=True),
    Place("alias-new", "/ui/models/aliases/new", OPERATOR, full_alone=True),
    Place("playground", "/ui/playground"),
    Place("keys", "/ui/keys"),
    Place("key", "/ui/keys/{key}", OPERATOR, full_alone=True),
    Place("key-new", "/ui/keys/new", OWNERS, full_alone=True),
    Place("key-edit", "/ui/keys/{key}/edit", OPERATOR, full_alone=True),
    Place("key-revoke", "/ui/keys/{key}/revoke", OPERATOR, full_alone=True),
    Place("key-own", "/ui/keys/own", ("user", "owner"), full_alone=True),
    Place("keys-import", "/ui/keys/import", OPERATOR, full_alone=True),
    Place("groups", "/ui/keys/groups", OPERATOR, full_alone=True),
    Place("group", "/ui/keys/groups/{group}", OPERATOR, full_alone=True),
    Place("group-new", "/ui/keys/groups/new", OPERATOR, full_alone=True),
    Place("usage", "/ui/usage"),
    Place("usage-by-key", "/ui/usage?by=key", OWNERS, full_alone=True),
    Place("activity", "/ui/activity"),
    Place("activity-logs", "/ui/activity?show=logs", OPERATOR),
    Place("activity-audit", "/ui/activity?show=audit", OPERATOR),
    Place("settings", "/ui/settings", OPERATOR),
    Place("not-found", "/ui/no-such-page"),
)
NAMES = {place.name: place for place in PAGES}
PICTURED = [place.name for place in PAGES if not place.full_alone and place.name != "not-found"] + ["server", "connect"]


def _looks(place: Place, role: str, world: PageWorld) -> tuple[tuple[str, int], ...]:
    return FEWER_LOOKS if place.name in LARGE and world.servers and role != place.roles[0] else LOOKS


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", [place.name for place in PAGES])
async def test_the_full_page(signed_in: SignIn, page_world: PageWorld, name: str) -> None:
    place = NAMES[name]
    await _judge(signed_in, page_world, place, place.roles)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", [place.name for place in PAGES if not place.full_alone])
async def test_the_empty_page(signed_in: SignIn, empty_world: PageWorld, quiet_world: PageWorld, name: str) -> None:
    place = NAMES[name]
    await _judge(signed_in, empty_world, place, ("admin",))
    await _judge(signed_in, quiet_world, place, tuple(role for role in place.roles if role != "admin"))


@pytest.mark.parametrize("name", [place.name for place in PAGES if set(place.roles) != set(ROLES)])
async def test_who_may_not_see_a_page_is_told_so(signed_in: SignIn, page_world: PageWorld, name: str) -> None:
    place = NAMES[name]
    if place.full_alone:
        return
    for role in set(ROLES) - set(place.roles):
        page = await signed_in(role, world=page_world, path="/ui")
        answer = await page.goto(place.path.format(**page_world.ids))
        assert answer is not None
        assert answer.status == 403, role
        await check_frame(page)
        await check_axe(page, role)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", PICTURED if os.environ.get("SCREENSHOTS") else PICTURED[:1])
async def test_the_page_in_pictures(signed_in: SignIn, shown_world: PageWorld, name: str) -> None:
    page = await signed_in("admin", world=shown_world, path=NAMES[name].path.format(**shown_world.ids))
    for scheme, width in FEWER_LOOKS:
        await _turn(page, scheme, width)
        await check_axe(page)
        await shot(page, f"{name}-{scheme}-{width}", in_docs=True)


async def _judge(signed_in: SignIn, world: PageWorld, place: Place, roles: tuple[str, ...]) -> None:
    """Look at a page as each role, in each look; all faults are told together."""
    faults: list[str] = []
    for role in roles:
        page = await signed_in(role, world=world, path=place.path.format(**world.ids))
        for check in (check_frame, check_inert):
            faults += await _faults(check(page), role)
        for scheme, width in _looks(place, role, world):
            await _turn(page, scheme, width)
            look = f"{role} {scheme} {width}"
            faults += await _faults(check_axe(page, look), look)
            faults += await _faults(check_width(page), look)
            if role == place.roles[0]:
                kind = "full" if world.servers else "empty"
                await shot(page, f"{place.name}-{kind}-{scheme}-{width}")
        await page.set_viewport_size({"width": NARROWEST, "height": HEIGHTS[360]})
        faults += await _faults(check_width(page), f"{role} {NARROWEST}")
        await page.context.close()
    assert not faults, "\n".join(faults)


async def _turn(page: Page, scheme: str, width: int) -> None:
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size({"width": width, "height": HEIGHTS[width]})


async def _faults(check: Awaitable[None], look: str) -> list[str]:
    try:
        await check
    except AssertionError as fault:
        return [f"[{look}] {fault}"]
    return []
