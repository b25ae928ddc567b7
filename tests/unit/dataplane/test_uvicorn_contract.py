"""What the door relies on in uvicorn: a newer release that changes it fails here, not in production."""

from __future__ import annotations

import inspect
import re

from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.services.dataplane.door import Door
from app.services.dataplane.door_call import DoorCall
from app.services.dataplane.guarded_door import GuardedDoor
from app.services.dataplane.kept_door import KeptDoor

_READ_ON_A_CYCLE = re.compile(r"self\.cycle\.(\w+)")


def test_the_protocol_asks_a_cycle_for_nothing_that_a_call_of_ours_lacks() -> None:
    ours = set(DoorCall.__slots__) | {name for name in dir(DoorCall) if not name.startswith("__")}
    overridden = {name for kind in (Door, GuardedDoor, KeptDoor) for name in vars(kind) if name.startswith("on_")}
    asked = {
        attribute
        for name, method in inspect.getmembers(HttpToolsProtocol, inspect.isfunction)
        if name not in overridden
        for attribute in _READ_ON_A_CYCLE.findall(inspect.getsource(method))
    }
    assert asked - ours <= {"body", "more_body"}  # only in on_body and on_message_complete, which the door handles
    assert {"response_complete", "disconnected", "keep_alive", "message_event"} <= asked


def test_the_callbacks_that_the_door_overrides_are_there() -> None:
    for name in ("connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing",
                 "on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete",
                 "on_response_complete", "send_400_response", "_get_upgrade", "shutdown"):  # fmt: skip
        assert callable(getattr(HttpToolsProtocol, name)), name


def test_the_constructor_takes_what_door_factory_passes_on() -> None:
    assert list(inspect.signature(HttpToolsProtocol.__init__).parameters) == [
        "self", "config", "server_state", "app_state", "_loop",
    ]  # fmt: skip


def test_a_cycle_of_uvicorns_own_has_what_a_refusal_touches() -> None:
    source = inspect.getsource(RequestResponseCycle)
    for name in ("response_started", "disconnected", "message_event", "more_body", "keep_alive", "response_complete"):
        assert f"self.{name} =" in source, name


def test_errors_of_the_parser_end_in_send_400_response() -> None:
    source = inspect.getsource(HttpToolsProtocol.data_received)
    assert "except httptools.HttpParserError" in source
    assert "self.send_400_response(" in source


def test_status_lines() -> None:
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
    assert set(range(200, 600)) <= set(STATUS_LINE)
    assert httptools_impl.__name__.endswith("httptools_impl")


def test_what_receives_holds_the_transport() -> None:
    """What ``asgi`` reaches for to reset the connection of a client that does not read."""
    assert inspect.ismethod(RequestResponseCycle.receive.__get__(object()))
    assert "self.transport = transport" in inspect.getsource(RequestResponseCycle.__init__)
    assert "self.scope, self.receive, self.send" in inspect.getsource(RequestResponseCycle.run_asgi)


def test_a_response_that_ends_on_a_closing_connection_starts_nothing_more() -> None:
    """``KeptDoor`` counts it, as uvicorn does, and asks nothing of it."""
    source = inspect.getsource(HttpToolsProtocol.on_response_complete)
    steps = ("total_requests += 1", "if self.transport.is_closing():", "return", "resume_reading()", "self.pipeline:")
    assert [source.index(step) for step in steps] == sorted(source.index(step) for step in steps)
