"""Does uvicorn still treat what the door puts in place of its cycle as its own, and end requests as it did?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tests.fakes.uvicorn_kit import GET, POST, Kit, StrictCycle, turns


class TestCycles:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
        """Note each attribute that is read from a cycle of the door's."""
        seen: set[str] = set()

        def noting(self: StrictCycle, name: str) -> Any:
            seen.add(name)
            return object.__getattribute__(self, name)

        monkeypatch.setattr(StrictCycle, "__getattribute__", noting)
        yield seen
        assert seen <= {"response_complete", "disconnected", "keep_alive", "message_event", "__class__"}

    async def test_the_loss_of_a_connection_sets_two_things(self, kit: Kit, asked: set[str]) -> None:
        cycle = kit.put_cycle(response_complete=False)
        kit.protocol.connection_lost(None)
        assert (cycle.disconnected, cycle.message_event.is_set()) == (True, True)
        assert kit.protocol not in kit.state.connections
        assert kit.wire.is_closing()

    async def test_an_answered_request_is_not_disconnected(self, kit: Kit, asked: set[str]) -> None:
        cycle = kit.put_cycle(response_complete=True)
        kit.protocol.connection_lost(ConnectionResetError())
        assert not cycle.disconnected

    async def test_shutdown_closes_what_is_idle_and_lets_the_rest_end(self, kit: Kit, asked: set[str]) -> None:
        busy = kit.put_cycle(response_complete=False)
        kit.protocol.shutdown()
        assert (busy.keep_alive, kit.wire.is_closing()) == (False, False)
        kit.put_cycle(response_complete=True)
        kit.protocol.shutdown()
        assert kit.wire.is_closing()

    async def test_shutdown_closes_a_connection_without_a_request(self, kit: Kit) -> None:
        kit.protocol.shutdown()
        assert kit.wire.is_closing()

    async def test_behind_a_busy_cycle_a_request_is_queued_and_reading_stops(self, kit: Kit, asked: set[str]) -> None:
        busy = kit.put_cycle(response_complete=False)
        kit.protocol.data_received(POST)
        assert len(kit.protocol.pipeline) == 1
        cycle, app = kit.protocol.pipeline[0]
        assert type(cycle) is RequestResponseCycle
        assert kit.protocol.cycle is cycle
        assert callable(app)
        assert kit.protocol.flow.read_paused
        assert (kit.state.tasks, bytes(kit.wire.sent)) == (set(), b"")
        busy.response_complete = True
        kit.protocol.on_response_complete()
        assert not kit.protocol.pipeline
        await turns()
        assert bytes(kit.wire.sent).endswith(b"\r\n\r\nabc")

    async def test_the_newest_of_several_stands_first_in_the_queue(self, kit: Kit) -> None:
        """The door puts something in its place when it turns out to be broken."""
        kit.put_cycle(response_complete=False)
        kit.protocol.data_received(POST)
        kit.protocol.data_received(GET)
        assert len(kit.protocol.pipeline) == 2
        assert kit.protocol.pipeline[0][0] is kit.protocol.cycle

    async def test_behind_an_answered_cycle_a_request_starts_at_once(self, kit: Kit, asked: set[str]) -> None:
        kit.put_cycle(response_complete=True)
        kit.protocol.data_received(GET)
        assert not kit.protocol.pipeline
        assert len(kit.state.tasks) == 1

    async def test_a_cycle_of_uvicorns_own_has_what_a_refusal_touches(self, kit: Kit) -> None:
        kit.protocol.data_received(POST[:-1])
        cycle = kit.protocol.cycle
        assert (cycle.response_started, cycle.response_complete, cycle.disconnected) == (False, False, False)
        assert (cycle.keep_alive, cycle.more_body) == (True, True)
        assert isinstance(cycle.message_event, asyncio.Event)
        cycle.disconnected = True
        cycle.message_event.set()
        await turns()
        assert not kit.wire.sent  # what its application says goes nowhere


class TestEnds:
    async def test_the_end_of_an_answer_counts_and_sets_the_timer(self, kit: Kit) -> None:
        kit.put_cycle(response_complete=True)
        kit.protocol.flow.pause_reading()
        kit.protocol.on_response_complete()
        assert kit.state.total_requests == 1
        assert not kit.protocol.flow.read_paused
        assert kit.protocol.timeout_keep_alive_task is not None
        kit.protocol.timeout_keep_alive_handler()
        assert kit.wire.is_closing()

    async def test_on_a_closing_connection_it_counts_and_no_more(self, kit: Kit) -> None:
        kit.put_cycle(response_complete=True)
        kit.wire.close()
        kit.protocol.on_response_complete()
        assert (kit.state.total_requests, kit.protocol.timeout_keep_alive_task) == (1, None)

    async def test_a_cycle_of_uvicorns_own_ends_by_on_response_complete(self) -> None:
        class Noting(HttpToolsProtocol):
            ended = 0

            def on_response_complete(self) -> None:
                type(self).ended += 1
                super().on_response_complete()

        made = Kit(Noting)
        made.protocol.data_received(POST)
        await turns()
        assert Noting.ended == 1
        assert made.protocol.cycle.response_complete
        made.protocol.timeout_keep_alive_task.cancel()

    async def test_connections_are_known_to_the_server(self, kit: Kit) -> None:
        assert kit.protocol in kit.state.connections
        kit.protocol.connection_lost(None)
        assert kit.protocol not in kit.state.connections

    async def test_a_pause_of_writing_reaches_the_flow(self, kit: Kit) -> None:
        kit.protocol.pause_writing()
        assert kit.protocol.flow.write_paused
        kit.protocol.resume_writing()
        assert not kit.protocol.flow.write_paused
