"""The API with real keys, groups and invites over a real SQLite file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from app.routers import groups, invites, keys, model_limits
from app.services.core.keys import KeyRing
from app.services.core.people.principal import LimitRule
from app.services.registry.people.invites import Invites
from app.services.registry.people.keys import Keys
from app.services.registry.people.store import PeopleStore
from tests.fakes.api import ADMIN_KEY, Api

ROUTERS = (keys.router, groups.router, model_limits.router, invites.router)


@dataclass
class People:
    """``rules`` are the limits of models that the data plane was handed last."""

    api: Api
    keys: Keys
    invites: Invites
    store: PeopleStore
    rules: Mapping[str, LimitRule]

    async def call(self, method: str, path: str, status: int = 200, key: str = ADMIN_KEY, **options: Any) -> Any:
        headers = {"authorization": f"Bearer {key}", **options.pop("headers", {})}
        answer = await self.api.client.request(method, path, headers=headers, **options)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def make(self, key: str = ADMIN_KEY, **fields: Any) -> dict[str, Any]:
        """Make a key; its answer."""
        made: dict[str, Any] = await self.call("POST", "/admin/keys", 201, key, json={"name": "some key"} | fields)
        return made

    async def group(self, name: str = "physics", **fields: Any) -> dict[str, Any]:
        made: dict[str, Any] = await self.call("POST", "/admin/groups", 201, json={"name": name} | fields)
        return made


@asynccontextmanager
async def people_of(api: Api, seed: int = 1) -> AsyncIterator[People]:
    """Give an API its keys: with a known seed they are the same each time."""
    world, gateway = api.world, api.gateway
    random_bytes = Random(seed).randbytes
    store = PeopleStore(world.database)

    def take(ring: KeyRing, rules: Mapping[str, LimitRule]) -> None:
        gateway.key_ring = ring
        people.rules = rules

    made = Keys(store, KeyRing.with_admin(ADMIN_KEY), world.clock, take, random_bytes)
    links = Invites(made, store, world.clock, random_bytes, "https://gateway.example")
    people = People(api, made, links, store, {})
    await made.load()
    served = {getattr(route, "path", "") for route in api.app.routes}
    for router in ROUTERS:
        if not router.prefix or not any(path.startswith(router.prefix) for path in served):
            api.app.include_router(router)
    api.app.state.keys, api.app.state.invites = made, links
    yield people
    await made.settle()
