"""What does the page Settings tell of the gateway?"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from app.routers.dashboard.settings_views import setting_groups
from app.utils.config import Settings
from app.utils.setting_sources import SettingState, Source, Standing
from tests.fakes.gateway_in_process import ADMIN_KEY, GatewayInProcess, open_in_process
from tests.fakes.gateway_process import until

in_gateway = pytest.mark.asyncio(loop_scope="module")
SECRET = "a-key-for-metrics-0123"


def standing(**states: SettingState) -> Standing:
    return Standing({name: states.get(name, SettingState(Source.DEFAULT)) for name in Settings.model_fields})


def rows_of(settings: Settings, where: Standing, search: str = "", **options: bool) -> dict[str, Any]:
    return {row.name: row for group in setting_groups(settings, where, search, **options) for row in group.rows}


@pytest.fixture
def settings(empty_directory: Path) -> Settings:
    return Settings(
        _env_file=None,
        metrics_key=SECRET,
        allowed_server_networks="10.0.0.0/8,192.168.0.0/16",
        connect_timeout_seconds=2.5,
        otel_exporter_otlp_headers="authorization=top-secret",
    )


def test_all_settings_are_told_with_their_rules(settings: Settings) -> None:
    rows = rows_of(settings, standing(connect_timeout_seconds=SettingState(Source.ENV_FILE)))
    assert {name.lower() for name in rows} == set(Settings.model_fields)
    assert (rows["CONNECT_TIMEOUT_SECONDS"].value, rows["CONNECT_TIMEOUT_SECONDS"].default) == ("2.5", "5")
    assert (rows["CONNECT_TIMEOUT_SECONDS"].source, rows["PORT"].source) == (".env", "Default")
    assert rows["ALLOWED_SERVER_NETWORKS"].value == "10.0.0.0/8, 192.168.0.0/16"
    assert rows["REQUIRE_CLIENT_AUTH"].value == "true"
    assert rows["LOG_FILE"].value == "logs/gateway.log"
    assert rows["PORT"].rule == "a whole number of at least 1 and at most 65535"
    assert all(row.description and row.rule for row in rows.values())
    assert not any("`" in row.description for row in rows.values())
    assert not rows["TLS_CERT_FILE"].is_set


def test_secrets_are_told_as_set_or_unset_and_never_found(settings: Settings) -> None:
    where = standing(metrics_key=SettingState(Source.ENV_FILE, will_change=True, next_value=settings.metrics_key))
    rows = rows_of(settings, where)
    assert (rows["METRICS_KEY"].is_secret, rows["METRICS_KEY"].is_set, rows["METRICS_KEY"].value) == (True, True, "set")
    assert rows["METRICS_KEY"].next_value == "another value"
    assert rows["OTEL_EXPORTER_OTLP_HEADERS"].value == "set"
    assert (rows["ADMIN_API_KEY"].is_set, rows["ADMIN_API_KEY"].value) == (False, "unset")
    told = repr(rows)
    assert SECRET not in told
    assert "top-secret" not in told
    assert rows_of(settings, where, SECRET[:6]) == {}


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("connect_TIMEOUT", {"CONNECT_TIMEOUT_SECONDS"}),
        ("192.168.0.0", {"ALLOWED_SERVER_NETWORKS"}),
        (".*", set()),
        ("of .env", set()),
    ],
)
def test_a_search_is_literal_and_in_any_case(settings: Settings, search: str, found: set[str]) -> None:
    assert set(rows_of(settings, standing(), search)) == found


def test_only_what_is_not_the_default_may_be_shown(settings: Settings) -> None:
    where = standing(
        host=SettingState(Source.ENVIRONMENT), port=SettingState(Source.DEFAULT, will_change=True, next_value=9001)
    )
    rows = rows_of(settings, where, changed_only=True)
    assert set(rows) == {"HOST", "PORT"}
    assert rows["PORT"].next_value == "9001"


# ----------------------------------------------------------------------------------------------------- the page


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayInProcess]:
    async with open_in_process(tmp_path_factory.mktemp("settings"), metrics_key=SECRET) as running:
        yield running


@asynccontextmanager
async def visiting(gateway: GatewayInProcess, key: str = ADMIN_KEY) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=gateway.app, client=("127.0.0.1", 50_000))
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://gateway.example", headers={"accept": "text/html"}
    ) as client:
        assert (await client.post("/ui/sign-in", data={"key": key})).status_code == 303
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def admin(gateway: GatewayInProcess) -> AsyncIterator[httpx2.AsyncClient]:
    async with visiting(gateway) as client:
        yield client


def token_of(text: str) -> str:
    found = re.search(r'name="csrf" value="([\w-]+)"', text)
    assert found is not None
    return found[1]


@in_gateway
async def test_the_page_shows_values_and_no_secret(gateway: GatewayInProcess, admin: httpx2.AsyncClient) -> None:
    text = (await admin.get("/ui/settings")).text
    assert "Values in force" in text
    assert "MAX_ATTEMPTS" in text
    assert str(gateway.settings.database_path) in text
    for secret in (SECRET, ADMIN_KEY):
        assert secret not in text


@in_gateway
async def test_a_search_is_an_address(admin: httpx2.AsyncClient) -> None:
    text = (await admin.get("/ui/settings?q=max_attempts")).text
    assert "1 of " in text
    assert "QUEUE_MAX_SIZE" not in text
    assert "No setting like that" in (await admin.get("/ui/settings", params={"q": "<script>" * 100})).text
    assert (await admin.get("/ui/settings?changed=1")).status_code == 200


@in_gateway
@pytest.mark.parametrize("role", ["user", "owner"])
async def test_others_are_told_that_they_may_not(gateway: GatewayInProcess, role: str) -> None:
    made = (await gateway.client.post("/admin/keys", json={"name": "somebody", "role": role})).json()
    async with visiting(gateway, made["key"]) as client:
        for path in ("/ui/settings", "/ui/settings/backups"):
            assert (await client.get(path)).status_code == 403
        page = await client.get("/ui")
        posted = await client.post("/ui/settings/backups", data={"csrf": token_of(page.text)})
        assert posted.status_code == 403


@in_gateway
async def test_a_backup_is_made_by_a_button(gateway: GatewayInProcess, admin: httpx2.AsyncClient) -> None:
    text = (await admin.get("/ui/settings")).text
    assert (await admin.post("/ui/settings/backups", data={"csrf": "forged"})).status_code == 403
    answer = await admin.post("/ui/settings/backups", data={"csrf": token_of(text)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/settings#backups")
    assert "A backup is being made" in (await admin.get("/ui/settings")).text

    async def is_there() -> bool:
        return "is being made" not in (await admin.get("/ui/settings/backups")).text

    await until(is_there, "the backup is listed", seconds=40)
    folder = gateway.settings.database_path.parent / "backups"
    (file,) = folder.glob("gateway-*.tar.gz")
    assert f"gateway-{datetime.now(UTC):%Y}" in file.name
    assert "A backup was made" in gateway.log


@in_gateway
async def test_the_demo_makes_none(gateway: GatewayInProcess, admin: httpx2.AsyncClient) -> None:
    token = token_of((await admin.get("/ui/settings")).text)
    gateway.app.state.demo = object()
    try:
        assert "there is nothing to back up" in (await admin.get("/ui/settings")).text
        assert (await admin.post("/ui/settings/backups", data={"csrf": token})).status_code == 409
    finally:
        gateway.app.state.demo = None
