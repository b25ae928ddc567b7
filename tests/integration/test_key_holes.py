"""Are the holes closed through which keys of other gateways got out, or did more than they should?

Each test bears the name of what went wrong elsewhere, and runs against the whole gateway, on both ways in.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from app.services.core import keys as core_keys
from tests.fakes.gateway_in_process import ADMIN_KEY, SHELLS
from tests.fakes.keyed_gateway import CHAT, UNKNOWN, KeyedGateway, ask, bearer, chat, keyed_gateway, own_header
from tests.fakes.raw_http import RawConnection, connected, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

MISTYPED = UNKNOWN[:-1] + ("0" if UNKNOWN[-1] != "0" else "1")
INJECTIONS = (
    "' OR 1=1 --",
    "'/**/OR/**/'1'='1",
    "x';DROP/**/TABLE/**/api_keys;--",
    "mvk_'/**/UNION/**/SELECT/**/digest/**/FROM/**/key_secrets--",
    UNKNOWN + "'--",
    "%27%20OR%201%3D1",
    "${jndi:ldap://127.0.0.1/x}",
    '{"$ne":null}',
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KeyedGateway]:
    async with keyed_gateway(tmp_path_factory.mktemp("keys")) as opened:
        yield opened


# ------------------------------------------------------------------------------------- SQL in the key look-up


@contextmanager
def statements() -> Iterator[list[tuple[str, str]]]:
    """Gather every SQL statement that is executed meanwhile, with its parameters."""
    seen: list[tuple[str, str]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_others: Any) -> None:
        seen.append((statement, repr(parameters)))

    sa.event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(Engine, "before_cursor_execute", note)


async def test_looking_a_key_up_asks_no_database(house: KeyedGateway, shell: str) -> None:
    good = (await house.make())["key"]
    before = await house.records()
    tried = [*INJECTIONS, UNKNOWN, MISTYPED]
    async with httpx2.AsyncClient(base_url=house.url(shell), timeout=20) as client:
        with statements() as seen:
            for key in tried:
                for headers in (bearer(key), own_header(key)):
                    for method, path in (
                        ("POST", CHAT),
                        ("GET", "/v1/models"),
                        ("GET", "/admin/keys"),
                        ("GET", "/metrics"),
                    ):
                        answer = await client.request(method, path, headers=headers)
                        assert answer.status_code == 401, (key, path, answer.text)
                        assert answer.json()["error"]["type"] == "authentication_error"
                        assert key not in answer.text
            assert (await client.post(CHAT, json=chat(), headers=bearer(good))).status_code == 200
        held = {hashlib.sha256(key.encode()).digest() for key in (*tried, good)}
        for statement, parameters in seen:
            assert "key_secrets" not in statement
            assert not any(key in parameters or repr(digest)[2:-1] in parameters for key in tried for digest in held)
    assert await house.records() == before


async def test_form_and_checksum_tell_a_typing_error_from_an_unknown_key(house: KeyedGateway, shell: str) -> None:
    async with httpx2.AsyncClient(base_url=house.url(shell)) as client:
        for key, word in (
            (MISTYPED, "mistyped"),
            (UNKNOWN[:-1], "mistyped"),
            (UNKNOWN, "unknown"),
            ("x" * 40, "unknown"),
        ):
            for path in ("/v1/models", "/admin/keys"):
                answer = await client.get(path, headers=bearer(key))
                assert answer.status_code == 401
                assert word in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE api_keys; --", "' OR ''='", "x' UNION SELECT digest FROM key_secrets--"]
)
async def test_sql_in_what_is_looked_up_is_text(house: KeyedGateway, text: str) -> None:
    before = await house.records()
    group = await house.admin("POST", "/admin/groups", 201, json={"name": text})
    await house.admin("GET", "/admin/keys", params={"group": text})
    await house.admin("GET", f"/admin/keys/{text}", 404)
    await house.admin("DELETE", f"/admin/keys/{text}", 404)
    async with httpx2.AsyncClient(base_url=house.url("door")) as stranger:
        assert (await stranger.post(f"/invite/{text}")).status_code == 404
    await house.admin("DELETE", f"/admin/groups/{group['id']}", 204)
    assert await house.records() == before


# ------------------------------------------------------------------------------------- a path rebuilt from Host


@pytest.mark.parametrize(
    "host", ["gateway.test/health?", "gateway.test/v1/models#", "gateway.test:80", "x@gateway.test/health"]
)
async def test_what_host_says_opens_no_path(house: KeyedGateway, shell: str, host: str) -> None:
    user = await house.make(routes=["/v1/models"])
    forwarded = [("X-Forwarded-Host", host), ("X-Original-URL", "/v1/models"), ("X-Forwarded-Prefix", "/v1/models")]
    for method, path in (("GET", "/admin/keys"), ("POST", "/admin/keys"), ("POST", CHAT), ("GET", "/metrics")):
        for key in (UNKNOWN, user["key"]):
            async with connected(house.gateway.ports[shell]) as connection:
                body = b"{}" if method == "POST" else None
                await connection.send(
                    request(method, path, [("Authorization", f"Bearer {key}"), *forwarded], body, host=host)
                )
                answer = await connection.answer()
            assert answer.status in {400, 401, 403}, (path, host, answer)
            assert b'"keys"' not in answer.body


async def test_a_scope_of_routes_holds_for_every_way_of_writing_a_path(house: KeyedGateway, shell: str) -> None:
    user = await house.make(routes=["/v1/models"])
    async with httpx2.AsyncClient(base_url=house.url(shell)) as client:
        assert (await client.get("/v1/models", headers=bearer(user["key"]))).status_code == 200
        assert (await client.get("/v1/models/m", headers=bearer(user["key"]))).status_code == 200
    for target in (CHAT, "/v1/models/../chat/completions", "/v1/models/%2e%2e/chat/completions", "/v1/modelsx",
                   "/v1%2fmodels", "//v1/models", "/admin/keys", "/v1/models/../../admin/keys"):  # fmt: skip
        async with connected(house.gateway.ports[shell]) as connection:
            await connection.send(request("POST", target, [("Authorization", f"Bearer {user['key']}")], b"{}"))
            answer = await connection.answer()
        assert answer.status in {400, 403, 404, 405}, (target, answer)


# ------------------------------------------------------------------------------------- a wider key, minted by a user


async def take_over(house: KeyedGateway, key: str, status: int, targets: Sequence[Mapping[str, Any]]) -> None:
    """Try to get at others' keys by new secrets, or to end them. Itself every key may rotate."""
    for target in targets:
        path = f"/admin/keys/{target['id']}"
        if target["key"] != key:
            await house.admin("POST", f"{path}/rotate", status, key, json={"overlap_seconds": 0})
        await house.admin("POST", f"{path}/invite", status, key)
        await house.admin("DELETE", path, status, key)


async def test_nobody_mints_a_wider_key_in_any_way(house: KeyedGateway) -> None:
    await house.admin("POST", "/admin/groups", 201, json={"name": "lab", "models": ["m"]})
    bounds = {"models": ["m"], "limits": {"requests_per_minute": 5}, "expires_at": "2999-01-01T00:00:00Z"}
    user = await house.make(name="user", **bounds)
    owner = await house.make(name="owner", role="owner", reach="group", **bounds)
    teacher = await house.make(name="teacher", role="admin", group="lab")
    boss = await house.make(name="boss", role="admin")
    inside = await house.make(owner["key"], name="inside")
    before = await house.records()
    wider: list[dict[str, Any]] = [
        {"role": "admin"},
        {"models": None},
        {"models": ["m", "other"]},
        {"limits": None},
        {"limits": {"requests_per_minute": 6}},
        {"limits": {"tokens_per_day": 1}},
        {"expires_at": None},
        {"expires_at": "2999-01-01T00:00:01Z"},
        {"reach": "public"},
        {"tools_anywhere": True},
        {"names_people": True},
        {"person": "another"},
        {"weight": 99},
    ]
    for fields in wider:
        for key in (user["key"], owner["key"]):
            await house.admin("POST", "/admin/keys", 403, key, json={"name": "x"} | fields)
        await house.admin("PATCH", f"/admin/keys/{inside['id']}", 403, owner["key"], json=fields)
        for target in (user, owner, boss):
            for key, status in ((user["key"], 403), (owner["key"], 404)):
                await house.admin("PATCH", f"/admin/keys/{target['id']}", status, key, json=fields)
        terms = {"csv": "name\nMallory\n"} | {
            name: value for name, value in fields.items() if name not in {"person", "names_people"}
        }
        for key in (user["key"], owner["key"]):
            for handed in ("keys", "invites"):
                await house.admin("POST", "/admin/keys/import", 403, key, json=terms | {"as": handed})
    for key, status in ((user["key"], 403), (owner["key"], 404), (inside["key"], 403)):
        await take_over(house, key, status, (boss, owner, user))
    for fields in ({"group": None}, {"role": "admin", "group": None}):
        await house.admin("POST", "/admin/keys", 403, teacher["key"], json={"name": "x"} | fields)
        await house.admin("PATCH", f"/admin/keys/{teacher['id']}", 403, teacher["key"], json=fields)
    await house.admin("POST", f"/admin/keys/{boss['id']}/rotate", 404, teacher["key"])
    assert await house.records() == before


async def test_fields_that_nobody_sets_are_refused(house: KeyedGateway) -> None:
    made = await house.make()
    for fields in ({"id": "admin"}, {"key": ADMIN_KEY}, {"minted_by": "admin"}, {"secrets": []}, {"digest": "0"},
                   {"state": "active"}, {"revoked_at": None}, {"group_id": "x"}, {"__proto__": {}}):  # fmt: skip
        await house.admin("POST", "/admin/keys", 422, json={"name": "x"} | fields)
        await house.admin("PATCH", f"/admin/keys/{made['id']}", 422, json=fields)


async def test_what_an_owner_minted_stays_inside_when_the_owner_shrinks(house: KeyedGateway, shell: str) -> None:
    owner = await house.make(role="owner")
    child = await house.make(owner["key"])
    assert (await ask(house, shell, child["key"])).status_code == 200
    await house.admin("PATCH", f"/admin/keys/{owner['id']}", json={"models": ["other"]})
    assert (await ask(house, shell, child["key"])).status_code == 403
    assert (await ask(house, shell, child["key"], "other")).status_code == 200
    await house.admin("DELETE", f"/admin/keys/{owner['id']}", 204)
    assert (await ask(house, shell, child["key"], "other")).status_code == 401


# ------------------------------------------------------------------------------------- a limit on one header alone


async def test_one_extractor_counts_both_headers(house: KeyedGateway, shell: str) -> None:
    made = await house.make(limits={"requests_per_minute": 3})
    key = made["key"]
    ways = (bearer(key), own_header(key), {**bearer(key), **own_header(key)}, {"AUTHORIZATION": f"bearer  {key}"})
    async with httpx2.AsyncClient(base_url=house.url(shell), timeout=20) as client:
        for headers in ways[:3]:
            assert (await client.post(CHAT, json=chat(), headers=headers)).status_code == 200
        for headers in ways:
            refused = await client.post(CHAT, json=chat(), headers=headers)
            assert refused.status_code == 429, headers
            assert int(refused.headers["retry-after"]) >= 1
        for headers in ({**bearer(key), **own_header(ADMIN_KEY)}, {**bearer(ADMIN_KEY), **own_header(key)}):
            assert (await client.post(CHAT, json=chat(), headers=headers)).status_code == 401


async def test_a_scope_holds_for_both_headers(house: KeyedGateway, shell: str) -> None:
    made = await house.make(models=["other"])
    async with httpx2.AsyncClient(base_url=house.url(shell), timeout=20) as client:
        for headers in (bearer(made["key"]), own_header(made["key"])):
            assert (await client.post(CHAT, json=chat("other"), headers=headers)).status_code == 200
            assert (await client.post(CHAT, json=chat("m"), headers=headers)).status_code == 403
            assert (await client.get("/admin/keys", headers=headers)).status_code == 403


async def test_a_rotated_key_draws_on_the_same_limits(house: KeyedGateway, shell: str) -> None:
    made = await house.make(limits={"requests_per_minute": 2})
    rotated = await house.admin("POST", f"/admin/keys/{made['id']}/rotate", json={"overlap_seconds": 600})
    statuses = [(await ask(house, shell, key)).status_code for key in (made["key"], rotated["key"], made["key"])]
    assert statuses == [200, 200, 429]


# ------------------------------------------------------------------------------------- revoked keys that work on


def post(key: str) -> bytes:
    body = b'{"model": "m", "messages": []}'
    return request("POST", CHAT, [("Authorization", f"Bearer {key}"), ("Content-Type", "application/json")], body)


async def answered(connection: RawConnection, key: str) -> int:
    await connection.send(post(key))
    return (await connection.answer()).status


async def test_a_revoked_key_is_out_on_a_connection_that_is_kept_open(house: KeyedGateway, shell: str) -> None:
    made = await house.make()
    async with connected(house.gateway.ports[shell]) as models, connected(house.gateway.ports[shell]) as admin:
        list_keys = request("GET", "/v1/models", [("X-API-Key", made["key"])])
        await admin.send(list_keys)
        assert (await admin.answer()).status == 200
        for _request in range(3):
            assert await answered(models, made["key"]) == 200
        await house.admin("DELETE", f"/admin/keys/{made['id']}", 204)
        revoked_at = time.monotonic()
        assert await answered(models, made["key"]) == 401
        await admin.send(list_keys)
        assert (await admin.answer()).status == 401
        assert time.monotonic() - revoked_at < 1


@asynccontextmanager
async def load(house: KeyedGateway, key: str, clients: int) -> AsyncIterator[list[tuple[float, int]]]:
    """Ask without a pause on many kept connections of both ways in: when each was asked, and what came of it."""
    seen: list[tuple[float, int]] = []
    over = asyncio.Event()

    async def go_on(shell: str) -> None:
        async with httpx2.AsyncClient(base_url=house.url(shell), timeout=20) as client:
            while not over.is_set():
                asked_at = time.monotonic()
                answer = await client.post(CHAT, json=chat(), headers=bearer(key))
                seen.append((asked_at, answer.status_code))

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(go_on(SHELLS[number % len(SHELLS)]))
        try:
            yield seen
        finally:
            over.set()


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def test_a_revoked_key_is_out_under_load(house: KeyedGateway) -> None:
    made = await house.make()
    async with load(house, made["key"], clients=8) as seen:
        await until(lambda: len(seen) >= 40)
        await house.admin("DELETE", f"/admin/keys/{made['id']}", 204)
        revoked_at = time.monotonic()
        await until(lambda: sum(asked_at > revoked_at for asked_at, _status in seen) >= 40)
    assert {status for asked_at, status in seen if asked_at > revoked_at} == {401}
    assert 200 in {status for _asked_at, status in seen}


async def test_a_replaced_secret_is_out_under_load(house: KeyedGateway) -> None:
    made = await house.make()
    async with load(house, made["key"], clients=4) as seen:
        await until(lambda: len(seen) >= 20)
        rotated = await house.admin("POST", f"/admin/keys/{made['id']}/rotate", json={"overlap_seconds": 0})
        rotated_at = time.monotonic()
        await until(lambda: sum(asked_at > rotated_at for asked_at, _status in seen) >= 20)
    assert {status for asked_at, status in seen if asked_at > rotated_at} == {401}
    assert (await ask(house, "door", rotated["key"])).status_code == 200


async def test_a_scope_that_shrinks_counts_on_a_connection_that_is_kept_open(house: KeyedGateway, shell: str) -> None:
    made = await house.make()
    async with connected(house.gateway.ports[shell]) as connection:
        assert await answered(connection, made["key"]) == 200
        await house.admin("PATCH", f"/admin/keys/{made['id']}", json={"models": ["other"]})
        assert await answered(connection, made["key"]) == 403


# ------------------------------------------------------------------------------------- keys compared by their letters


async def test_keys_are_compared_by_their_digests(
    house: KeyedGateway, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compared are SHA-256 digests, whose octets nobody can choose: time tells nothing of a key."""
    made = await house.make()
    ring = house.gateway.app.state.keys.ring
    assert core_keys.digest(made["key"]) in ring.principals
    assert {type(known) for known in ring.principals} == {bytes}
    assert {len(known) for known in ring.principals} == {32}
    assert made["key"] not in repr(ring)
    digested: list[bytes] = []
    plain = core_keys.digest

    def watched(key: str | bytes) -> bytes:
        digested.append(key.encode() if isinstance(key, str) else key)
        return plain(key)

    monkeypatch.setattr(core_keys, "digest", watched)
    near = [made["key"][:-1] + "0", "mvk_" + "0" + made["key"][5:], ADMIN_KEY[:-1], ADMIN_KEY + "x"]
    async with httpx2.AsyncClient(base_url=house.url(shell)) as client:
        for key in (made["key"], *near):
            digested.clear()
            await client.get("/v1/models", headers=bearer(key))
            assert key.encode() in digested, "each is digested whole, good or bad"
