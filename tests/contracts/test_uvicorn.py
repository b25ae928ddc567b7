"""What does the door rely on in uvicorn and httptools, and is it still so?

The door is a subclass of uvicorn's protocol and puts objects of its own where uvicorn keeps its cycle. None of that is
promised by uvicorn, so each part that is leant on is tried here by itself, against the version that is installed:
``scripts/contracts`` runs this file against the newest one. A failure names what has to be looked at before the pin
in ``pyproject.toml`` moves.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from tests.fakes.memory_wires import Wire
from tests.fakes.uvicorn_kit import GET, POST, Kit, application, turns


class TestParts:
    async def test_a_protocol_has_what_the_door_touches(self, kit: Kit) -> None:
        for name in ("config", "app", "loop", "parser", "transport", "flow", "server_state", "connections", "tasks",
                     "client", "server", "scheme", "pipeline", "url", "scope", "headers", "expect_100_continue",
                     "cycle", "timeout_keep_alive", "timeout_keep_alive_task"):  # fmt: skip
            if name != "url":  # made when a message begins
                assert hasattr(kit.protocol, name), name
        assert isinstance(kit.protocol.pipeline, deque)
        assert isinstance(kit.protocol.flow, FlowControl)
        assert kit.protocol.client == ("127.0.0.1", 50_000)
        assert kit.protocol.cycle is None
        assert kit.protocol.timeout_keep_alive_task is None

    def test_the_constructor_takes_what_the_factory_passes_on(self) -> None:
        parameters = list(inspect.signature(HttpToolsProtocol.__init__).parameters)
        assert parameters == ["self", "config", "server_state", "app_state", "_loop"]

    def test_what_the_door_overrides_is_there(self) -> None:
        for name in ("connection_made", "connection_lost", "data_received", "eof_received", "pause_writing",
                     "resume_writing", "on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body",
                     "on_message_complete", "on_response_complete", "send_400_response", "shutdown",
                     "timeout_keep_alive_handler", "_unset_keepalive_if_required", "_get_upgrade"):  # fmt: skip
            assert callable(getattr(HttpToolsProtocol, name)), name

    def test_status_lines(self) -> None:
        assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
        for status in range(200, 600):
            assert STATUS_LINE[status].startswith(b"HTTP/1.1 %d " % status)
            assert STATUS_LINE[status].endswith(b"\r\n")

    async def test_flow_control_passes_each_change_on_once(self) -> None:
        wire = Wire([0])
        flow = FlowControl(wire)
        assert (flow.read_paused, flow.write_paused) == (False, False)
        flow.pause_reading()
        flow.pause_reading()
        assert (flow.read_paused, wire.is_reading()) == (True, False)
        flow.resume_reading()
        assert (flow.read_paused, wire.is_reading()) == (False, True)
        flow.pause_writing()
        assert flow.write_paused
        flow.resume_writing()
        assert not flow.write_paused

    async def test_the_state_of_the_server(self) -> None:
        state = ServerState()
        assert (state.total_requests, state.connections, state.tasks, state.default_headers) == (0, set(), set(), [])

    async def test_the_date_is_a_new_list_each_second(self) -> None:
        """The door writes the same header lines until the list is another object."""
        server = uvicorn.Server(uvicorn.Config(application, lifespan="off", log_config=None, server_header=False))
        server.config.load()
        await server.on_tick(0)
        first = server.server_state.default_headers
        assert [name for name, _value in first] == [b"date"]
        await server.on_tick(1)
        assert server.server_state.default_headers is first
        await server.on_tick(10)
        assert server.server_state.default_headers is not first

    async def test_any_callable_makes_the_protocols(self) -> None:
        made: list[dict[str, Any]] = []

        def factory(**arguments: Any) -> HttpToolsProtocol:
            made.append(arguments)
            return HttpToolsProtocol(**arguments)

        http: Any = factory
        config = uvicorn.Config(application, http=http, lifespan="off", log_config=None, port=0, host="127.0.0.1")
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        try:
            port = server.servers[0].sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(POST)
            assert (await reader.readuntil(b"\r\n\r\nabc")).startswith(b"HTTP/1.1 200 OK\r\n")
            writer.close()
            await writer.wait_closed()
        finally:
            await server.shutdown()
        assert [set(arguments) for arguments in made] == [{"config", "server_state", "app_state", "_loop"}]
        assert made[0]["server_state"] is server.server_state


class TestReading:
    async def test_a_message_begins_with_everything_new(self, kit: Kit) -> None:
        kit.protocol.on_message_begin()
        first = kit.protocol.headers
        kit.protocol.on_url(b"/x")
        kit.protocol.on_header(b"Expect", b"100-Continue")
        assert (kit.protocol.url, first, kit.protocol.expect_100_continue) == (
            b"/x", [(b"expect", b"100-Continue")], True)  # fmt: skip
        assert kit.protocol.scope["headers"] is first
        kit.protocol.on_message_begin()
        assert (kit.protocol.url, kit.protocol.headers, kit.protocol.expect_100_continue) == (b"", [], False)
        assert kit.protocol.headers is not first

    async def test_what_cannot_be_parsed_ends_in_send_400_response(self) -> None:
        class Noting(HttpToolsProtocol):
            refused: list[str]

            def send_400_response(self, msg: str) -> None:
                self.refused = [*getattr(self, "refused", []), msg]

        made = Kit(Noting)
        made.protocol.data_received(b"\0\1\2\r\n\r\n")
        assert len(made.protocol.refused) == 1
        assert not made.wire.sent

    async def test_an_exception_in_a_callback_ends_there_too(self) -> None:
        """So every callback of the door catches its own."""

        class Failing(HttpToolsProtocol):
            def on_headers_complete(self) -> None:
                raise KeyError("a bug")

        made = Kit(Failing)
        made.protocol.data_received(GET)
        assert made.wire.sent.startswith(b"HTTP/1.1 400 ")

    async def test_each_read_asks_for_the_timer_to_be_stopped(self) -> None:
        """The door overrides this to leave its one timer be."""

        class Noting(HttpToolsProtocol):
            stops = 0

            def _unset_keepalive_if_required(self) -> None:
                type(self).stops += 1

        made = Kit(Noting)
        made.protocol.data_received(GET[:10])
        made.protocol.data_received(GET[10:20])
        assert Noting.stops == 2

    async def test_an_upgrade_is_asked_for_by_two_headers(self, kit: Kit) -> None:
        for headers, expected in (
            ([(b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"H2C")], b"h2c"),
            ([(b"upgrade", b"h2c")], None),
            ([(b"connection", b"upgrade")], None),
        ):
            kit.protocol.headers = headers
            assert kit.protocol._get_upgrade() == expected

    async def test_a_read_without_a_request_makes_no_cycle(self, kit: Kit) -> None:
        kit.protocol.data_received(b"\r\n\r\n")
        assert kit.protocol.cycle is None
        kit.protocol.data_received(GET)
        await turns()
        assert kit.wire.sent.startswith(b"HTTP/1.1 200 OK\r\n")
