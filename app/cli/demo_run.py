"""How does the demo run: gateway, model servers, registration, first answer, and an end that leaves nothing behind?

The gateway serves in this process, in the main thread, where signals arrive; what has to wait for it (registering,
asking) runs in a second thread. So the gateway can't outlive the command, and the model servers have a lifeline.
"""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from app.cli.connection import local_url
from app.cli.console import Steps, print_json, print_verbatim
from app.cli.demo_guide import DemoServer, Guide, guide_text
from app.cli.demo_requests import RequestEcho, replace_console
from app.cli.endings import endings_as_exceptions, endings_held, ignore_endings
from app.cli.exits import CommandFailed
from app.cli.gateway_client import GatewayAddress, GatewayClient
from app.cli.gateway_process import GatewayServer, run_gateway
from app.cli.listener import close_all, port_of
from app.demo.bundled import MODEL_NAME
from app.demo.children import ModelServer, ModelServerFailed, start_model_servers, stop_all
from app.demo.revival import Revival
from app.services.core.keys import RANDOM_BYTES, mint
from app.utils.config import Settings

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

    from app.cli.local_engines import LocalEngine
    from app.demo.children import Started

__all__ = ["DemoPlan", "run_demo"]

HOST: Final = "127.0.0.1"
FIRST_QUESTION: Final = "Say hello in one short sentence."
DRAIN_TIMEOUT_SECONDS: Final = 2.0
EMBEDDING_HINTS: Final = ("embed", "bge-", "minilm", "rerank")


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to show: the engines that run already, or else how many servers of the bundled model."""

    engines: tuple[LocalEngine, ...]
    model_path: Path | None
    server_count: int
    timeout_seconds: float
    as_json: bool


def run_demo(plan: DemoPlan, sockets: list[socket.socket], steps: Steps) -> int | None:
    """Run until a signal comes; returns the one that ended it.

    Raises:
        CommandFailed: it could not be brought up; everything begun has ended by then.
        Stopped: SIGTERM came before the gateway was up.
    """
    children: list[ModelServer] = []
    folder: Path | None = None
    with endings_as_exceptions():
        try:
            with endings_held():  # else what has just begun would not be known to the end below
                folder = Path(tempfile.mkdtemp(prefix="multiverse-demo-"))
                settings = demo_settings(folder, port_of(sockets))
                if plan.model_path is not None:
                    children += start_model_servers(plan.server_count, plan.model_path, MODEL_NAME, folder)
            return _serve(_Introduction(plan, settings, children, steps), sockets)
        finally:
            ignore_endings()  # A second Ctrl-C must not leave half of it behind.
            stop_all(children)
            close_all(sockets)
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def demo_settings(folder: Path, port: int) -> Settings:
    """Settings of a gateway that lives in ``folder`` alone; the shell's and this folder's own settings don't count."""
    own: dict[str, Any] = {
        "host": HOST,
        "port": port,
        "database_url": f"sqlite:///{folder / 'gateway.db'}",
        "gateway_data_dir": folder / "data",
        "log_file": folder / "logs" / "gateway.log",
        "log_level": "INFO",  # The request log is among it; the console shows that in short, and warnings.
        "admin_api_key": mint(secrets.token_bytes(RANDOM_BYTES)),
        "allowed_server_networks": "127.0.0.0/8,::1/128",
        "drain_timeout_seconds": DRAIN_TIMEOUT_SECONDS,
    }
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    return Settings(_env_file=None, **{**defaults, **own})


class _Introduction:
    """The second thread: waits for everything, registers the servers, asks once, and prints what to do next."""

    __slots__ = (
        "_children",
        "_client",
        "_counting",
        "_echo",
        "_leaving",
        "_left",
        "_plan",
        "_revival",
        "_server",
        "_settings",
        "_steps",
        "failure",
    )

    def __init__(self, plan: DemoPlan, settings: Settings, children: list[ModelServer], steps: Steps) -> None:
        self.failure: Exception | None = None
        self._plan = plan
        self._settings = settings
        self._children = children
        self._steps = steps
        self._leaving = threading.Event()
        self._left = len(children)
        self._counting = threading.Lock()
        self._revival = Revival(children, self._say_that_it_is_back, self._say_that_it_is_lost)
        self._echo: RequestEcho | None = None
        self._server: GatewayServer | None = None
        key = settings.admin_api_key.get_secret_value() if settings.admin_api_key else None
        address = GatewayAddress(local_url(settings), key)
        self._client = GatewayClient(address, timeout_seconds=plan.timeout_seconds)

    @property
    def settings(self) -> Settings:
        """What the gateway is made of."""
        return self._settings

    def prepare(self, app: FastAPI) -> None:
        """Called once the log is configured, before the gateway starts: from now on the console is the demo's.

        The pages find at ``app.state.demo`` what kills a model server.
        """
        self._echo = replace_console()
        app.state.demo = self._revival

    def begin(self, server: GatewayServer) -> None:
        """Called in the event loop once the gateway serves."""
        self._server = server
        threading.Thread(target=self._run, name="demo-introduction", daemon=True).start()

    def leave(self) -> None:
        """The gateway has ended: whatever still waits fails now, and nobody needs to hear of it."""
        self._leaving.set()
        self._revival.close()

    def _run(self) -> None:
        try:
            guide, first_answer = self._bring_up()
        except ModelServerFailed as failure:
            self._fail(CommandFailed(str(failure)))
        except Exception as failure:  # noqa: BLE001 - nothing may end this thread and leave the demo waiting
            self._fail(failure)
        else:
            self._show(guide, first_answer)
            self._revival.begin()
            for child in self._children:
                child.watch(self._say_that_it_ended)

    def _bring_up(self) -> tuple[Guide, str]:
        with self._client:
            servers = self._register_children() if self._children else self._register_engines()
            models = [entry["id"] for entry in self._client.request("GET", "/v1/models")["data"]]
            model = MODEL_NAME if self._children else choose_model(models)
            with self._steps.step(f"Asking {model} for a first answer"):
                answer = self._ask(model)
        key = self._settings.admin_api_key.get_secret_value() if self._settings.admin_api_key else ""
        return Guide(f"{local_url(self._settings)}/v1", key, model, tuple(servers)), answer

    def _register_children(self) -> list[DemoServer]:
        with self._steps.step(f"Waiting for {len(self._children)} model servers (llama.cpp, {MODEL_NAME})"):
            started = [child.wait_ready(self._plan.timeout_seconds) for child in self._children]
        servers: list[DemoServer] = []
        with self._steps.step("Registering them with the gateway"):
            for child, told in zip(self._children, started, strict=True):
                models = [{"name": MODEL_NAME, "upstream_name": told.model}]
                registration_id = self._register({"endpoint_url": told.url, "models": models})["registration_id"]
                self._revival.serves(registration_id, child)
                servers.append(DemoServer(told.url, registration_id, told.pid))
        return servers

    def _register_engines(self) -> list[DemoServer]:
        servers: list[DemoServer] = []
        for engine in self._plan.engines:
            with self._steps.step(f"Registering {engine.describe()}"):
                answer = self._register({"endpoint_url": engine.url})
                servers.append(DemoServer(engine.url, answer["registration_id"]))
        return servers

    def _register(self, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.request("POST", "/admin/register", json=body)
        return answer

    def _ask(self, model: str) -> str:
        messages = [{"role": "user", "content": FIRST_QUESTION}]
        body = {"model": model, "messages": messages, "max_tokens": 40, "temperature": 0}
        answer = self._client.request("POST", "/v1/chat/completions", json=body)
        try:
            return str(answer["choices"][0]["message"]["content"]).strip()
        except (KeyError, IndexError, TypeError) as error:
            message = f"The model '{model}' gave an answer without text."
            raise CommandFailed(message, fix="Try again with --no-engines.") from error

    def _show(self, guide: Guide, first_answer: str) -> None:
        if self._plan.as_json:
            print_json(guide.as_json())
        else:
            print_verbatim("\n" + guide_text(guide, first_answer, windows=sys.platform == "win32") + "\n")
            if self._echo is not None:
                self._echo.servers.update({server.registration_id: server.url for server in guide.servers})

    def _fail(self, failure: Exception) -> None:
        """End the gateway; the main thread raises ``failure`` then."""
        if self._server is not None and not self._is_ending():
            self.failure = failure
            self._server.stop()

    def _is_ending(self) -> bool:
        """Whether the end was asked for: what fails then is no news, such as model servers that got the signal too."""
        return self._leaving.is_set() or (self._server is not None and self._server.stopped_by is not None)

    def _say_that_it_ended(self, child: ModelServer) -> None:
        with self._counting:
            self._left -= 1
            is_last = self._left == 0
        if not self._is_ending():
            self._steps.say(
                "The last model server has ended; the gateway now answers 503."
                if is_last
                else f"Model server {child.pid} has ended. Ask again: another one answers."
            )

    def _say_that_it_is_back(self, child: ModelServer, told: Started) -> None:
        with self._counting:
            self._left += 1
        child.watch(self._say_that_it_ended)
        if not self._is_ending():
            self._steps.say(f"A model server is back at {told.url}, as process {told.pid}.")

    def _say_that_it_is_lost(self, failure: ModelServerFailed) -> None:
        if not self._is_ending():
            self._steps.say(str(failure))


def choose_model(models: list[str]) -> str:
    """The first model that looks as if it could chat.

    Raises:
        CommandFailed: there is none.
    """
    for model in models:
        if not any(hint in model.lower() for hint in EMBEDDING_HINTS):
            return model
    raise CommandFailed("None of the engines found has a model to chat with.", fix="Use --no-engines.")


def _serve(introduction: _Introduction, sockets: list[socket.socket]) -> int | None:
    try:
        ended_by = run_gateway(
            introduction.settings, sockets=sockets, on_created=introduction.prepare, on_started=introduction.begin
        )
    finally:
        introduction.leave()
    if introduction.failure is not None:
        raise introduction.failure
    return ended_by
