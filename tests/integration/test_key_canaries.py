"""Do keys and links stand in nothing that is kept or told: logs, metrics, errors, audit, database, backups?"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from app.services.registry.people.tokens import mint_token
from app.utils.database import backup_database
from tests.fakes.gateway_in_process import ADMIN_KEY, SHELLS
from tests.fakes.keyed_gateway import CHAT, UNKNOWN, KeyedGateway, ask, bearer, chat, keyed_gateway, own_header

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KeyedGateway]:
    async with keyed_gateway(tmp_path_factory.mktemp("keys")) as opened:
        yield opened


PAGES = (
    *("/metrics", "/admin/keys", "/admin/groups", "/admin/model-limits", "/admin/audit", "/admin/audit?format=csv"),
    *("/admin/usage?group_by=key", "/admin/usage?group_by=key&format=csv", "/admin/servers", "/openapi.json", "/"),
)
"""All that an operator may read."""


def asked(secret: str) -> list[tuple[str, str]]:
    """What is asked with a key, or with it in the address."""
    paths = ("/v1/models", "/v1/usage", "/admin/keys", "/admin/usage", "/admin/audit", "/metrics")
    misplaced = ("/{}", "/admin/keys/{}", "/admin/groups/{}", "/invite/{}")
    return [
        ("POST", CHAT),
        *(("GET", path) for path in paths),
        *((method, path.format(secret)) for method in ("GET", "POST", "DELETE") for path in misplaced),
    ]


async def use(house: KeyedGateway, key: str) -> list[str]:
    """Send a key in all the right and wrong places; what was answered."""
    said: list[str] = []
    places: list[dict[str, Any]] = [
        {"headers": bearer(key)},
        {"headers": own_header(key)},
        {"headers": {"authorization": f"Basic {key}"}},
        {"headers": {"authorization": f"Bearer {key} {key}"}},
        {"headers": {**bearer(key), "x-api-key": f"{key}x"}},
        {"headers": {"cookie": f"key={key}", "user-agent": key, "referer": f"http://x/{key}"}},
        {"headers": bearer(key), "params": {"api_key": key, "group": key, "state": key, "group_by": key}},
    ]
    for shell in SHELLS:
        async with httpx2.AsyncClient(base_url=house.url(shell), timeout=20) as client:
            for place in places:
                for method, path in asked(key):
                    body = {"json": chat()} if path == CHAT else {}
                    answer = await client.request(method, path, **place, **body)
                    assert answer.status_code != 500, (method, path, answer.text)
                    said.append(answer.text)
            bodies = ({"name": key, "api_key": key}, {"name": 1, "role": key}, {"name": "x", "group": key}, [key])
            answers = [await client.post("/admin/keys", json=body, headers=bearer(ADMIN_KEY)) for body in bodies]
            said += [answer.text for answer in answers]
    return said


async def test_keys_stand_in_nothing_that_is_kept_or_told(house: KeyedGateway, tmp_path: Path) -> None:
    made = await house.make(name="canary", limits={"requests_per_minute": 500})
    rotated = await house.admin("POST", f"/admin/keys/{made['id']}/rotate", json={"overlap_seconds": 600})
    imported = await house.admin("POST", "/admin/keys/import", 201, json={"csv": "name\nCanary One\n"})
    invited = await house.admin("POST", "/admin/keys/import", 201, json={"csv": "name\nCanary Two\n", "as": "invites"})
    link = invited["made"][0]["link"].removeprefix("https://gateway.example")
    unused = await house.admin("POST", "/admin/keys/import", 201, json={"csv": "name\nCanary Three\n", "as": "invites"})
    json_only = {"accept": "application/json"}
    async with httpx2.AsyncClient(base_url=house.url("door"), headers=json_only, timeout=20) as person:
        claimed = (await person.post(link)).json()
        assert (await person.post(link)).status_code == 410
    keys = [made["key"], rotated["key"], imported["made"][0]["key"], claimed["key"], UNKNOWN]
    tokens = [link.rpartition("/")[2], unused["made"][0]["link"].rpartition("/")[2], mint_token(bytes(32))]
    said = [text for secret in (*keys, *tokens) for text in await use(house, secret)]
    await house.admin("DELETE", f"/admin/keys/{made['id']}", 204)
    said.append((await ask(house, "door", made["key"])).text)
    for path in PAGES:
        answer = await house.gateway.client.get(path)
        assert answer.status_code == 200, (path, answer.text)
        said.append(answer.text)
    database = Path(house.gateway.settings.database_url.removeprefix("sqlite:///"))
    copy = tmp_path / "saved.db"
    await asyncio.to_thread(backup_database, database, copy)
    assert [text for text in said if any(secret in text for secret in (*keys, *tokens))] == []
    told = "\n".join(said)
    assert not any(hashlib.sha256(secret.encode()).hexdigest() in told for secret in (*keys, *tokens))
    secrets = [core.partition("_")[2].encode() for core in (*keys, *tokens)]
    kept = [path for path in database.parent.rglob("*") if path.is_file()] + [copy]
    assert {database, Path(house.gateway.settings.log_file)} <= set(kept)
    for path in kept:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret[:16] in content or secret[-16:] in content], path
    for path in (database, copy):
        with sqlite3.connect(path) as connection:
            dump = "\n".join(connection.iterdump())
        connection.close()
        assert not re.search(r"mv[ki]_[0-9A-Za-z]{20}", dump)


async def test_no_server_hears_the_clients_key(house: KeyedGateway, shell: str) -> None:
    made = await house.make()
    house.server.requests.clear()
    assert (await ask(house, shell, made["key"])).status_code == 200
    async with httpx2.AsyncClient(base_url=house.url(shell), timeout=20) as client:
        headers = {**own_header(made["key"]), "cookie": f"session={made['key']}"}
        assert (await client.post(CHAT, json=chat(), headers=headers)).status_code == 200
    for seen in house.server.requests:
        assert made["key"] not in repr(seen.headers)
