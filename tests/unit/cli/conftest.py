"""What do the tests of the commands share: an empty folder, a runner, and a small gateway that answers over HTTP?"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli.root import build

KEY = "a-key-of-the-small-gateway"
Answer = tuple[int, Any]


class SmallGateway:
    """A real HTTP server with the routes that the commands use; keeps what it was asked."""

    def __init__(self) -> None:
        self.servers: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.answers: dict[tuple[str, str], Answer] = {}
        self.key: str | None = KEY
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                status, answer = gateway.answer(self.command, self.path, body, self.headers.get("authorization"))
                content = (
                    b"" if answer is None else answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                )
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = handle_any  # noqa: N815 - the names that http.server looks for

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
                del format, args

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def add(self, registration_id: str, url: str, **fields: Any) -> dict[str, Any]:
        server = {
            "registration_id": registration_id,
            "endpoint_url": url,
            "models": ["llama"],
            "model_details": [{"name": "llama", "upstream_name": "meta/llama", "context_length": 8192, "listed": True}],
            "engine": "vllm",
            "health_status": "healthy",
            "reason": "",
            "paused": False,
            "in_flight": 3,
            "last_checked_at": "2026-01-01T00:00:00+00:00",
            "metadata": {"description": "lab box"},
            "history": [{"checked_at": "2026-01-01T00:00:00+00:00", "ok": False, "reason": "connection refused"}],
            **fields,
        }
        self.servers.append(server)
        return server

    def answer(self, method: str, path: str, body: Any, authorization: str | None) -> Answer:
        self.requests.append((method, path, body))
        bare = path.partition("?")[0]
        if (method, bare) in self.answers:
            return self.answers[method, bare]
        if bare == "/health":
            return 200, {"status": "healthy", "version": "9.9.9", "database": {"status": "healthy"}}
        if self.key is not None and authorization != f"Bearer {self.key}":
            return 401, {"error": {"message": "This key is not known.", "code": "invalid_api_key"}}
        return self._route(method, bare, body)

    def _route(self, method: str, path: str, body: Any) -> Answer:
        if path == "/admin/servers":
            return 200, {"servers": self.servers, "total": len(self.servers)}
        if path == "/admin/register" and method == "POST":
            answer = {"registration_id": "new-id", "status": "registered", "health_status": "healthy"}
            return 201, {**answer, "models": ["llama"], "engine": "vllm", "asked": body}
        wanted, _, action = path.removeprefix("/admin/servers/").removeprefix("/admin/register/").partition("/")
        for server in self.servers:
            if server["registration_id"] == wanted:
                return (204, None) if method == "DELETE" else (200, {**server, "paused": action == "pause"})
        return 404, {"error": {"message": f"No server {wanted}."}}


@pytest.fixture
def gateway() -> Iterator[SmallGateway]:
    running = SmallGateway()
    yield running
    running.close()


@pytest.fixture
def run(empty_directory: Path) -> Callable[..., Result]:
    """Run a command in an empty folder; the result has stdout and stderr apart. The page is wide."""
    runner = CliRunner()

    def call(*arguments: str, stdin: str | None = None, **environment: str) -> Result:
        result = runner.invoke(build(), list(arguments), input=stdin, env={"COLUMNS": "160", **environment})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def run_here(run: Callable[..., Result], gateway: SmallGateway) -> Callable[..., Result]:
    """Run a command against the small gateway."""

    def call(*arguments: str, stdin: str | None = None, **environment: str) -> Result:
        return run(*arguments, stdin=stdin, **{"GATEWAY_URL": gateway.url, "GATEWAY_KEY": KEY, **environment})

    return call
