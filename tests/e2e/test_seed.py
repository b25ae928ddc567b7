"""Is all that the project started from still true? Its paths, its commands, its files, its manners."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import json
import logging
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from alembic import command
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from app.services.registry.tables import metadata
from app.utils.config import Settings
from app.utils.database import Migrations
from app.utils.log_sinks import FileSink
from tests.fakes.gateway_in_process import open_in_process
from tests.fakes.gateway_process import ADMIN_KEY, REPOSITORY, SHELLS, GatewayProcess, open_gateway, until
from tests.fakes.model_server import FakeModelServer, serving

pytestmark = pytest.mark.e2e

PATHS = [
    "app/__init__.py", "app/main.py", "app/routers/__init__.py", "app/services/__init__.py", "app/utils/__init__.py",
    "app/utils/logger.py", "app/utils/config.py", "app/utils/database.py", "tests", "plans", "devlog",
    "requirements.txt", ".env.example", ".gitignore", "README.md",
]  # fmt: skip
SWAGGER = REPOSITORY / "app" / "assets" / "swagger-ui"
ELSEWHERE = re.compile(
    r"""(?:src|href|url\(|@import|import\s*\(|fetch\s*\()\s*[=(]?\s*["']?\s*(?:https?:)?//""", re.IGNORECASE
)
MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00) ")


@pytest.mark.parametrize("path", PATHS)
def test_the_path_is_there(path: str) -> None:
    assert (REPOSITORY / path).exists()


def test_plans_and_devlog_hold_entries() -> None:
    assert list((REPOSITORY / "plans").glob("*.md"))
    assert list((REPOSITORY / "devlog").glob("*.md"))


def test_requirements_are_pinned_to_one_version_each() -> None:
    lines = [line.split("#")[0].strip() for line in (REPOSITORY / "requirements.txt").read_text().splitlines()]
    pins = [line for line in lines if line]
    assert pins
    for pin in pins:
        assert re.fullmatch(r"[A-Za-z0-9._\[\]-]+==[0-9][^ ,;]*( ;.*)?", pin), pin


def test_what_the_gateway_writes_is_ignored_by_git() -> None:
    written = [".env", "gateway.db", "gateway.db-wal", "gateway.db-shm", "logs/gateway.log", "data/admin.key"]
    found = subprocess.run(
        ["git", "check-ignore", "--no-index", *written], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if found.returncode == 128:
        pytest.skip("not a git checkout")
    assert found.stdout.split() == written


# ------------------------------------------------------------------------------------------------- in an empty folder


@pytest.fixture(scope="module", params=SHELLS)
def fresh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway started in an empty folder without any setting but its port."""
    gateway = GatewayProcess(tmp_path_factory.mktemp("fresh") / "empty", request.param)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.close()


@pytest.fixture
def visitor(fresh: GatewayProcess) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=fresh.url, timeout=20) as client:
        yield client


def test_it_runs_in_an_empty_folder_and_makes_what_it_needs(fresh: GatewayProcess, visitor: httpx2.Client) -> None:
    made = {str(path.relative_to(fresh.folder)) for path in fresh.folder.rglob("*") if path.is_file()}
    assert made - {"gateway.db-wal", "gateway.db-shm", "gateway.db.lock"} == {
        "data/admin.key", "data/encryption.key", "gateway.db", "logs/gateway.log",
    }  # fmt: skip
    for secret in ("data/admin.key", "data/encryption.key", "gateway.db"):
        assert stat.S_IMODE((fresh.folder / secret).stat().st_mode) == 0o600, secret
    key = (fresh.folder / "data" / "admin.key").read_text().strip()
    assert key not in fresh.output
    assert str((fresh.folder / "data" / "admin.key").resolve()) in fresh.output
    assert visitor.get("/admin/servers").status_code == 401
    assert visitor.get("/admin/servers", headers={"authorization": f"Bearer {key}"}).json()["total"] == 0


def test_health_tells_of_the_database(visitor: httpx2.Client) -> None:
    answer = visitor.get("/health")
    assert answer.status_code == 200
    health = answer.json()
    assert set(health) == {"status", "version", "uptime_seconds", "database", "servers"}
    assert (health["status"], health["database"]["status"]) == ("healthy", "healthy")
    assert health["database"]["latency_ms"] >= 0
    assert health["servers"] == {"total": 0, "healthy": 0}
    assert visitor.get("/ready").status_code == 200


def test_the_root_tells_of_the_api(visitor: httpx2.Client) -> None:
    answer = visitor.get("/")
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told["name"] == "Multiverse Inference Gateway"
    assert told["documentation"] == "/docs"
    assert any("/v1/chat/completions" in endpoint for endpoint in told["endpoints"])


def test_the_documentation_needs_no_other_host(visitor: httpx2.Client) -> None:
    page = visitor.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert set(policy["img-src"].split()) <= {"'self'", "data:"}
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) >= 4
    for path in loaded:
        part = visitor.get(f"/{path}")
        assert part.status_code == 200, path
        if not path.endswith(".png"):
            assert not ELSEWHERE.search(part.text.replace("xmlns=", "")), path
    assert not ELSEWHERE.search(page.text)
    described = visitor.get("/openapi.json").json()
    assert {"/v1/chat/completions", "/admin/register", "/health"} <= set(described["paths"])
    assert "servers" not in described  # whatever host the page came from is the one that is tried


def test_what_was_vendored_is_what_was_published() -> None:
    listed = dict(reversed(line.split()) for line in (SWAGGER / "CHECKSUMS.sha256").read_text().splitlines())
    assert {"swagger-ui-bundle.js", "swagger-ui.css"} <= set(listed)
    for name, checksum in listed.items():
        assert hashlib.sha256((SWAGGER / name).read_bytes()).hexdigest() == checksum, name


def test_the_database_is_in_wal_mode_and_knows_its_schema(fresh: GatewayProcess) -> None:
    with closing(sqlite3.connect(f"file:{fresh.folder}/gateway.db?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert "model_servers" in tables
        indexes = database.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'model_servers'")
        assert len([name for (name,) in indexes if not name.startswith("sqlite_")]) >= 1
        assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        assert database.execute("PRAGMA user_version").fetchone()[0] >= 1
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_log_says_when_how_grave_and_what(fresh: GatewayProcess) -> None:
    lines = (fresh.folder / "logs" / "gateway.log").read_text().splitlines()
    assert lines
    for line in lines:
        assert MOMENT.match(line), line
        assert re.search(r" (DEBUG|INFO|WARNING|ERROR|CRITICAL) ", line), line
        assert "\x1b" not in line
    assert any("The gateway is ready" in line for line in lines)
    assert "The gateway is ready" in fresh.output
    assert "\x1b[" not in fresh.output  # nobody's terminal


# ------------------------------------------------------------------------------------------------------------ the log


async def test_the_console_is_coloured_where_it_is_wished(
    tmp_path: Path, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    async with open_gateway(tmp_path / "gateway", shell) as gateway:
        coloured = [line for line in gateway.output.splitlines() if "The gateway is ready" in line]
        assert "\x1b[" in coloured[0]
        assert "\x1b" not in (gateway.folder / "logs" / "gateway.log").read_text()


async def test_the_file_rotates_at_ten_megabytes_and_five_are_kept(tmp_path: Path) -> None:
    async with open_in_process(tmp_path):
        (sink,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, FileSink)]
        assert (sink.maxBytes, sink.backupCount) == (10 * 1024 * 1024, 5)
        assert sink.baseFilename == str(tmp_path / "gateway.log")


async def test_full_files_are_kept_up_to_the_number_wished(tmp_path: Path) -> None:
    async with open_in_process(tmp_path, log_max_bytes=1024, log_backup_count=2, log_level="DEBUG") as gateway:

        async def rotated() -> bool:
            for _request in range(20):
                await gateway.client.post("/v1/chat/completions", json={"model": "nobody"})
            return (tmp_path / "gateway.log.2").exists()

        await until(rotated, "the log has been rotated twice")
        await until(rotated, "and goes on rotating")
    files = sorted(path.name for path in tmp_path.glob("gateway.log*"))
    assert files == ["gateway.log", "gateway.log.1", "gateway.log.2"]


async def test_a_requests_id_is_on_its_lines_and_in_its_answer(tmp_path: Path) -> None:
    async with serving(FakeModelServer()) as (server,), open_in_process(tmp_path) as gateway:
        answer = await gateway.client.post(
            "/admin/register", json={"endpoint_url": server.url}, headers={"x-request-id": "registering-1"}
        )
        assert answer.headers["x-request-id"] == "registering-1"
        chat = {"model": "m", "messages": []}
        answer = await gateway.client.post("/v1/chat/completions", json=chat, headers={"x-request-id": "chatting-1"})
        assert answer.headers["x-request-id"] == "chatting-1"
        await until(lambda: "chatting-1" in gateway.log, "the request's line is written")
        assert re.search(r"A server was registered.*registering-1", gateway.log)
        answer = await gateway.client.get("/health", headers={"x-request-id": "no good\tid"})
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_secrets_are_in_no_line(tmp_path: Path) -> None:
    async with serving(FakeModelServer()) as (server,), open_in_process(tmp_path, log_level="DEBUG") as gateway:
        assert (await gateway.register(server.url, api_key="sk-the-servers-own-canary")).status_code == 201
        for headers in ({"authorization": "Bearer sk-a-strangers-canary"}, {"x-api-key": "mvk_canary"}):
            await gateway.client.get("/admin/servers", params={"api_key": "sk-in-the-query"}, headers=headers)
        logging.getLogger("somewhere").warning("it was called with %s", gateway.settings.secret_values()[0])
        logging.getLogger("somewhere").warning("Authorization: Bearer sk-in-a-library")
        await gateway.chat(messages=[{"role": "user", "content": "prompt-canary"}])
        await until(lambda: "/v1/chat/completions" in gateway.log, "the request's line is written")
        assert "somewhere" in gateway.log
        for secret in (ADMIN_KEY, *gateway.settings.secret_values(), "-canary", "_canary", "sk-in-"):
            assert secret not in gateway.log


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
async def test_each_level_is_taken(tmp_path: Path, level: str) -> None:
    async with open_in_process(tmp_path, log_level=level) as gateway:
        assert logging.getLogger().level == getattr(logging, level)
        assert ("The gateway is ready" in gateway.log) is (level in {"DEBUG", "INFO"})


# ------------------------------------------------------------------------------------------------------------ settings


def test_there_are_over_thirty_settings_and_each_is_explained() -> None:
    names = {name.upper() for name in Settings.model_fields}
    assert len(names) > 30
    example = (REPOSITORY / ".env.example").read_text()
    assert {name for name in names if not re.search(rf"^#? ?{name}=", example, re.MULTILINE)} == set()
    assert all(field.description for field in Settings.model_fields.values())


async def test_the_settings_are_read_from_the_file_beside_it(tmp_path: Path, shell: str) -> None:
    folder = tmp_path / "gateway"
    folder.mkdir()
    key = "the-key-from-the-file-0123"
    (folder / ".env").write_text(
        f"ADMIN_API_KEY={key}\nLOG_FILE=elsewhere/own.log\nLOG_FORMAT=json\nDATABASE_URL=sqlite:///own.db\n"
    )
    async with open_gateway(folder, shell, admin_key=None) as gateway, gateway.client() as client:
        found = await client.get("/admin/servers", headers={"authorization": f"Bearer {key}"})
        assert found.status_code == 200
        assert (folder / "own.db").exists()
        lines = (folder / "elsewhere" / "own.log").read_text().splitlines()
        assert all(json.loads(line)["timestamp"] for line in lines)
        assert not (folder / "data" / "admin.key").exists()


BAD_VALUES = {
    "LOG_LEVEL": "LOUD",
    "MAX_ATTEMPTS": "none",
    "HEALTH_CHECK_INTERVAL_SECONDS": "0",
    "DATABASE_URL": "mysql://somewhere/db",
    "ALLOWED_SERVER_NETWORKS": "10.0.0.0/99",
    "REQUIRE_CLIENT_AUTH": "perhaps",
    "ADMIN_API_KEY": "short",
    "CORS_ORIGINS": "not an origin",
}


async def test_bad_values_stop_the_start_with_name_value_and_fix(tmp_path: Path, shell: str) -> None:
    gateway = GatewayProcess(tmp_path / "gateway", shell, BAD_VALUES)
    try:
        await asyncio.to_thread(gateway.spawn)
        assert await asyncio.to_thread(gateway.wait_ended) not in {0, None}
    finally:
        gateway.close()
    assert "Traceback" not in gateway.output
    for name, value in BAD_VALUES.items():
        (line,) = [line for line in gateway.output.splitlines() if re.match(rf"\W*{name}\b", line)]
        assert (repr(value) in line) is (name != "ADMIN_API_KEY"), line
        assert re.search(r"\b(must|write) ", line), line
    assert not (gateway.folder / "gateway.db").exists()


# ------------------------------------------------------------------------------------------------------------ database


async def test_an_old_database_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    async with open_in_process(tmp_path):
        pass
    config = Migrations(REPOSITORY / "app" / "services" / "registry" / "migrations", metadata).config()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        head = MigrationContext.configure(connection).get_current_revision()
        command.downgrade(config, "-1")
        before = MigrationContext.configure(connection).get_current_revision()
    engine.dispose()
    assert before != head
    async with open_in_process(tmp_path) as gateway:
        assert (await gateway.client.get("/admin/servers")).json()["total"] == 0
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == (head,)


@pytest.mark.parametrize("content", ["no bytes", "no tables", "no version yet"])
async def test_a_database_from_before_the_first_schema_is_made_into_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "gateway.db"
    path.touch()
    with closing(sqlite3.connect(path)) as database:
        if content == "no tables":
            database.execute("VACUUM")
        if content == "no version yet":
            database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    async with open_in_process(tmp_path) as gateway:
        assert (await gateway.client.get("/admin/servers")).json()["total"] == 0
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def refused_start(folder: Path, shell: str) -> str:
    """Start where it cannot start; return what was said."""
    gateway = GatewayProcess(folder, shell, {"ADMIN_API_KEY": ADMIN_KEY})
    try:
        gateway.spawn()
        assert gateway.wait_ended() not in {0, None}
    finally:
        gateway.close()
    assert "Traceback" not in gateway.output
    return " ".join(gateway.output.split())


async def test_a_newer_database_is_refused_and_left_as_it_is(tmp_path: Path, shell: str) -> None:
    folder = tmp_path / "gateway"
    async with open_gateway(folder, shell) as gateway:
        await asyncio.to_thread(gateway.stop)
    with closing(sqlite3.connect(folder / "gateway.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.execute("CREATE TABLE of_tomorrow (id INTEGER)")
    before = (folder / "gateway.db").read_bytes()
    said = await asyncio.to_thread(refused_start, folder, shell)
    assert "schema revision '9999'" in said
    assert "newer release" in said
    assert "multiverse restore" in said
    assert (folder / "gateway.db").read_bytes() == before


async def test_what_is_no_database_of_ours_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    folder.mkdir()
    path = folder / "gateway.db"
    path.write_text("this is a shopping list, and long enough to be taken for something else" * 50)
    before = path.read_bytes()
    assert "gateway.db" in await asyncio.to_thread(refused_start, folder, "door")
    assert path.read_bytes() == before
    path.unlink()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE recipes (id INTEGER)")
    assert "another program" in await asyncio.to_thread(refused_start, folder, "door")


# ---------------------------------------------------------------------------------------------------------------- CORS


@pytest.fixture(params=["https://app.example", "*"])
async def cors(
    request: pytest.FixtureRequest, tmp_path: Path, shell: str
) -> AsyncIterator[tuple[str, httpx2.AsyncClient]]:
    async with (
        open_in_process(tmp_path, cors_origins=request.param) as gateway,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{gateway.ports[shell]}") as client,
    ):
        yield request.param, client


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/admin/register", "/health"])
async def test_cors_lets_in_who_is_named_and_nobody_else(cors: tuple[str, httpx2.AsyncClient], path: str) -> None:
    allowed, client = cors
    method = "POST" if path in {"/v1/chat/completions", "/admin/register"} else "GET"
    wish = {"access-control-request-method": method, "access-control-request-headers": "authorization,content-type"}
    welcome = await client.options(path, headers={"origin": "https://app.example", **wish})
    assert welcome.status_code in {200, 204}
    assert welcome.headers["access-control-allow-origin"] == allowed
    assert method in welcome.headers["access-control-allow-methods"]
    assert "authorization" in welcome.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in welcome.headers
    answer = await client.request(method, path, headers={"origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == allowed
    for origin in ("https://evil.example", "https://app.example.evil", "null", "http://app.example"):
        for asked in (
            await client.options(path, headers={"origin": origin, **wish}),
            await client.request(method, path, headers={"origin": origin}),
        ):
            assert asked.headers.get("access-control-allow-origin") == ("*" if allowed == "*" else None), origin


# ---------------------------------------------------------------------------------------------------------------- code

SOURCES = sorted(
    path for folder in ("app", "bench", "scripts", "tests") for path in (REPOSITORY / folder).rglob("*.py")
)
LONGEST_FILE, LONGEST_FUNCTION = 320, 60
Function = ast.FunctionDef | ast.AsyncFunctionDef


def trees(folder: str) -> Iterator[tuple[Path, str, ast.Module]]:
    for path in SOURCES:
        if path.is_relative_to(REPOSITORY / folder):
            text = path.read_text()
            yield path.relative_to(REPOSITORY), text, ast.parse(text)


def names_bound(node: ast.AST) -> list[str]:
    """The names that a node brings into being."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
            return [name]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return [name]
        case ast.alias(asname=str(name)):
            return [name]
    return []


@pytest.mark.parametrize("folder", ["app", "bench", "scripts", "tests"])
def test_no_name_is_a_single_letter(folder: str) -> None:
    found = [
        f"{path}:{getattr(node, 'lineno', 1)} {name}"
        for path, _text, tree in trees(folder)
        for node in ast.walk(tree)
        for name in names_bound(node)
        if len(name.strip("_")) == 1
    ]
    assert found == []


def test_every_function_says_what_it_takes_and_gives() -> None:
    found = []
    for path, _text, tree in trees("app"):
        for node in ast.walk(tree):
            if isinstance(node, Function):
                taken = [
                    *node.args.posonlyargs,
                    *node.args.args,
                    *node.args.kwonlyargs,
                    node.args.vararg,
                    node.args.kwarg,
                ]
                bare = [
                    each.arg for each in taken if each and each.annotation is None and each.arg not in {"self", "cls"}
                ]
                if bare or node.returns is None:
                    found.append(f"{path}:{node.lineno} {node.name} {bare}")
    assert found == []


def undocumented(node: ast.AST) -> Iterator[ast.ClassDef | Function]:
    """Public classes and functions without a docstring; what is inside a function is nobody else's."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | Function) and not child.name.startswith("_"):
            if ast.get_docstring(child) is None:
                yield child
            if isinstance(child, ast.ClassDef):
                yield from undocumented(child)
        elif isinstance(child, ast.If | ast.Try):
            yield from undocumented(child)


def test_every_public_thing_says_what_it_is() -> None:
    found = []
    for path, _text, tree in trees("app"):
        found += [] if ast.get_docstring(tree) else [str(path)]
        found += [f"{path}:{node.lineno} {node.name}" for node in undocumented(tree)]
    assert found == []


def test_files_and_functions_are_short() -> None:
    found = []
    for path, text, tree in trees("app"):
        found += [str(path)] if text.count("\n") > LONGEST_FILE else []
        found += [
            f"{path}:{node.lineno} {node.name}"
            for node in ast.walk(tree)
            if isinstance(node, Function) and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
        ]
    assert found == []


def test_importing_the_package_starts_nothing(tmp_path: Path) -> None:
    """``app.main`` makes its app when it is asked for, and not to whoever only imports a part."""
    code = "import app.main, app.cli, os; assert os.listdir() == [], os.listdir()"
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
