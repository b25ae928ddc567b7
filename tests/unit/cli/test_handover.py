"""Old and new, face to face: what happens at each step, and when either fails or is not who was expected?"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from app.cli import handover_channel, handover_claim, handover_offer
from app.cli.exits import CommandFailed
from app.cli.handover_channel import Channel, EarlyChannel
from app.cli.handover_claim import HANDOVER_VARIABLE, Claim, claim_running, inherited_claim
from app.cli.handover_messages import Ask, Failed, HandoverBroken, Listeners, Refused, Serving, encode
from app.cli.handover_offer import Offer
from app.cli.handover_place import MeetingPlace
from app.cli.listener import bind_listeners, close_all, port_of
from app.services.core.errors import StorageUnavailable
from app.utils.tasks import TaskKeeper

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="listeners can't be handed over there")

Result = TypeVar("Result")


@pytest.fixture(autouse=True)
def no_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "SYSTEMD_EXEC_PID"):
        monkeypatch.delenv(name, raising=False)


@dataclass
class OldGateway:
    """A gateway with real listeners; keeps what was done to it, in order."""

    listeners: list[socket.socket] = field(default_factory=lambda: bind_listeners("127.0.0.1", 0))
    steps: list[str] = field(default_factory=list)
    stopped_by: int | None = None
    busy: bool = False

    def leave(self) -> None:
        self.steps.append("leave")

    async def lend(self) -> None:
        if self.busy:
            raise StorageUnavailable("a transaction takes too long")
        self.steps.append("lend")

    async def take_back(self) -> None:
        self.steps.append("take back")

    def give_away(self) -> None:
        self.steps.append("give away")


@dataclass
class Meeting:
    """An old gateway that is being spoken to, and a new one that speaks."""

    old: OldGateway
    offer: Offer
    claim: Claim
    conversation: asyncio.Task[None]

    async def listeners(self) -> list[socket.socket]:
        return await blocking(lambda: self.claim.listeners("127.0.0.1", port_of(self.old.listeners)))


async def blocking(step: Callable[[], Result]) -> Result:
    """The new process has no event loop yet."""
    return await asyncio.to_thread(step)


@asynccontextmanager
async def meeting(*, own_child: bool = False) -> AsyncIterator[Meeting]:
    old = OldGateway()
    tasks = TaskKeeper()
    offer = Offer(old, old, tasks)
    ours, theirs = socket.socketpair()
    conversation = asyncio.create_task(offer.converse(ours, own_child=own_child))
    claim = Claim(theirs)
    try:
        async with asyncio.timeout(20):
            yield Meeting(old, offer, claim, conversation)
    finally:
        claim.fail(CommandFailed("the test is over"))
        await asyncio.wait({conversation})
        if not conversation.cancelled():
            conversation.exception()
        await tasks.close()
        close_all(old.listeners)


async def test_a_handover_step_by_step() -> None:
    async with meeting() as met:
        received = await met.listeners()
        assert met.claim.pid == os.getpid()
        assert [given.getsockname() for given in received] == [kept.getsockname() for kept in met.old.listeners]
        assert received[0].fileno() != met.old.listeners[0].fileno()
        assert met.old.steps == []
        await blocking(met.claim.take_database)
        assert met.old.steps == ["lend"]
        await met.claim.serve()
        await met.conversation
        assert met.old.steps == ["lend", "give away", "leave"]
        assert met.offer.handed_over
        refusal = met.offer.refusal(own_child=False)
        assert refusal is not None
        assert "has just replaced it" in refusal.reason
        close_all(received)


async def test_a_new_one_that_fails_before_the_database_changes_nothing() -> None:
    async with meeting() as met:
        close_all(await met.listeners())
        met.claim.fail(CommandFailed("the certificate is bad"))
        with pytest.raises(HandoverBroken, match="the certificate is bad"):
            await met.conversation
        assert met.old.steps == []
        assert met.offer.refusal(own_child=False) is None


async def test_a_new_one_that_fails_with_the_database_gives_it_back() -> None:
    async with meeting() as met:
        close_all(await met.listeners())
        await blocking(met.claim.take_database)
        met.claim.fail(CommandFailed("a newer release wrote it"))
        with pytest.raises(HandoverBroken, match="a newer release wrote it"):
            await met.conversation
        assert met.old.steps == ["lend", "take back"]
        assert met.offer.refusal(own_child=False) is None


async def test_a_database_that_is_not_free_in_time_ends_it() -> None:
    async with meeting() as met:
        met.old.busy = True
        close_all(await met.listeners())
        with pytest.raises(CommandFailed, match="not replaced: a transaction takes too long"):
            await blocking(met.claim.take_database)
        with pytest.raises(HandoverBroken):
            await met.conversation
        assert met.old.steps == []


async def test_one_that_was_given_up_learns_it_when_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover_offer, "START_SECONDS", 0.05)
    async with meeting() as met:
        close_all(await met.listeners())
        await blocking(met.claim.take_database)
        with pytest.raises(HandoverBroken, match="said nothing"):
            await met.conversation
        assert met.old.steps == ["lend", "take back"]
        with pytest.raises(CommandFailed, match="waited too long"):
            await met.claim.serve()


async def test_one_whose_predecessor_dies_goes_on() -> None:
    old, new = socket.socketpair()
    with old:
        claim = Claim(new)
    with capture_logs() as logs:
        await claim.serve()
    warnings = [line["event"] for line in logs if line["log_level"] == "warning"]
    assert warnings == ["The process that is replaced has not said that it leaves"]


async def test_only_one_at_a_time() -> None:
    async with meeting() as met:
        close_all(await met.listeners())
        refusal = met.offer.refusal(own_child=True)
        assert refusal is not None
        assert f"process {os.getpid()} is replacing it right now" in refusal.reason


async def test_one_that_is_stopping_refuses() -> None:
    async with meeting() as met:
        met.old.stopped_by = signal.SIGTERM
        with pytest.raises(CommandFailed, match="not replaced: it is stopping") as caught:
            await met.listeners()
        assert "`multiverse serve`" in caught.value.fix
        with pytest.raises(HandoverBroken):
            await met.conversation


async def test_a_service_is_replaced_by_its_own_child_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with systemd:
        async with meeting() as met:
            with pytest.raises(CommandFailed, match="is a service") as caught:
                await met.listeners()
            assert "systemctl reload" in caught.value.fix
        async with meeting(own_child=True) as met:
            close_all(await met.listeners())
            await blocking(met.claim.take_database)
            await met.claim.serve()
            await met.conversation
        assert systemd.recv(4096) == f"READY=1\nMAINPID={os.getpid()}".encode()


async def test_another_port_is_bound_and_the_old_listener_is_not_kept() -> None:
    async with meeting() as met:
        received = await blocking(lambda: met.claim.listeners("127.0.0.1", 0))
        assert port_of(received) != port_of(met.old.listeners)
        close_all(received)


async def test_another_address_with_the_same_port_is_refused_with_its_fix() -> None:
    async with meeting() as met:
        port = port_of(met.old.listeners)
        with pytest.raises(CommandFailed, match="listens with this port on another address") as caught:
            await blocking(lambda: met.claim.listeners("0.0.0.0", port))
        assert "stop it and start" in caught.value.fix


async def test_callers_are_heard_one_after_the_other(tmp_path: Path) -> None:
    place, tasks, old = MeetingPlace(tmp_path), TaskKeeper(), OldGateway()
    offer = Offer(old, old, tasks)
    tasks.spawn(offer.receive_callers(place.listener), name="callers")
    with capture_logs() as logs:
        for _attempt in range(2):
            claim = await blocking(lambda: claim_running(tmp_path))
            assert claim is not None
            close_all(await blocking(lambda claim=claim: claim.listeners("127.0.0.1", 0)))
            claim.fail(CommandFailed("not today"))
            async with asyncio.timeout(10):
                while offer.refusal(own_child=False) is not None:
                    await asyncio.sleep(0)
    assert [line["reason"] for line in logs if line["log_level"] == "error"] == ["not today"] * 2
    await tasks.close()
    place.close()
    close_all(old.listeners)


async def test_callers_wait_while_no_file_can_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover_offer, "ACCEPT_AGAIN_SECONDS", 0)
    place, tasks, old = MeetingPlace(tmp_path), TaskKeeper(), OldGateway()
    offer = Offer(old, old, tasks)
    claim = claim_running(tmp_path)  # it waits in the queue
    assert claim is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with capture_logs() as logs:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            tasks.spawn(offer.receive_callers(place.listener), name="callers")
            for _turn in range(10):
                await asyncio.sleep(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        close_all(await blocking(lambda: claim.listeners("127.0.0.1", 0)))
        claim.fail(CommandFailed("heard"))
        async with asyncio.timeout(10):
            while not any(line.get("reason") == "heard" for line in logs):
                await asyncio.sleep(0)
    assert [line["reason"] for line in logs if line["log_level"] == "warning"] == ["Too many open files"]
    await tasks.close()
    place.close()
    close_all(old.listeners)


async def test_while_its_child_starts_all_others_are_refused() -> None:
    async with meeting(own_child=True) as met:
        met.offer.await_child()
        for own_child in (True, False):
            refusal = met.offer.refusal(own_child=own_child)
            assert refusal is not None
            assert "has started is replacing it right now" in refusal.reason
        close_all(await met.listeners())  # the child itself is not
        met.offer.child_is_over()
        refusal = met.offer.refusal(own_child=True)
        assert refusal is not None
        assert f"process {os.getpid()}" in refusal.reason


def test_nobody_to_replace(tmp_path: Path) -> None:
    assert claim_running(tmp_path) is None


def test_an_end_that_was_left_by_a_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inherited_claim() is None
    ours, theirs = socket.socketpair()
    monkeypatch.setenv(HANDOVER_VARIABLE, str(theirs.detach()))
    claim = inherited_claim()
    assert claim is not None
    assert HANDOVER_VARIABLE not in os.environ
    with ours:
        claim.fail(CommandFailed("a setting is wrong"))
        assert ours.recv(4096) == encode(Failed("a setting is wrong"))
        claim.fail(CommandFailed("told twice"))
        assert ours.recv(4096) == b""


@pytest.mark.parametrize("left", ["no number", "987654", "9" * 30])
def test_an_end_that_leads_nowhere_is_told_with_its_fix(monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    monkeypatch.setenv(HANDOVER_VARIABLE, left)
    with pytest.raises(CommandFailed, match="leads to no gateway") as caught:
        inherited_claim()
    assert f"unset {HANDOVER_VARIABLE}" in caught.value.fix
    assert HANDOVER_VARIABLE not in os.environ


def test_an_end_that_is_no_socket_is_told_and_left_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as stale:
        monkeypatch.setenv(HANDOVER_VARIABLE, str(stale.fileno()))
        with pytest.raises(CommandFailed, match="leads to no gateway"):
            inherited_claim()
        stale.write(b"still open")


def test_a_gateway_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover_claim, "ANSWER_SECONDS", 0.05)
    ours, theirs = socket.socketpair()
    with ours:
        claim = Claim(theirs)
        with pytest.raises(CommandFailed, match="does not answer"):
            claim.listeners("127.0.0.1", 0)
        claim.fail(CommandFailed("nothing came"))


def test_one_that_ends_instead_of_answering() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    channel = EarlyChannel(theirs, 5)
    with pytest.raises(HandoverBroken, match="ended"):
        channel.receive(Listeners)
    with pytest.raises(HandoverBroken, match="ended"):
        channel.send(Ask(1))
    channel.close()


def test_sockets_that_came_with_the_wrong_word_are_closed() -> None:
    ours, theirs = socket.socketpair()
    listener = bind_listeners("127.0.0.1", 0)[0]
    before = len(list(Path("/dev/fd").iterdir()))
    with ours, theirs, listener:
        socket.send_fds(ours, [encode(Serving())], [listener.fileno()])
        with pytest.raises(HandoverBroken, match="said Serving where Listeners was due"):
            EarlyChannel(theirs, 5).receive(Listeners)
        assert len(list(Path("/dev/fd").iterdir())) == before


def test_what_was_given_goes_on_to_no_process_that_is_started_here() -> None:
    ours, theirs = socket.socketpair()
    listener = bind_listeners("127.0.0.1", 0)[0]
    with ours, theirs, listener:
        socket.send_fds(ours, [encode(Listeners(1))], [listener.fileno()])
        _answer, [given] = EarlyChannel(theirs, 5).receive(Listeners)
        with given:
            assert not given.get_inheritable()


def test_listeners_that_find_no_room_here_are_told_with_their_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover_channel, "MOST_LISTENERS", 1)
    ours, theirs = socket.socketpair()
    listener = bind_listeners("127.0.0.1", 0)[0]
    before = len(list(Path("/dev/fd").iterdir()))
    with ours, theirs, listener:
        socket.send_fds(ours, [encode(Listeners(1))], [listener.fileno()] * 9)
        with pytest.raises(HandoverBroken, match="may not open enough files") as caught:
            EarlyChannel(theirs, 5).receive(Listeners)
        assert "ulimit -n" in caught.value.fix
        assert len(list(Path("/dev/fd").iterdir())) == before


async def test_the_last_word_of_one_that_closed_is_heard_and_then_it_is_over() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(encode(Refused("too late")))
    theirs.close()
    with Channel(ours) as channel:
        with pytest.raises(HandoverBroken, match="ended"):
            channel.send(Serving())
        channel.send_if_heard(Serving())
        with pytest.raises(HandoverBroken, match="too late"):
            await channel.receive(Ask, 5)
        with pytest.raises(HandoverBroken, match="ended"):
            await channel.receive(Ask, 5)


async def test_a_reset_is_the_end_of_it() -> None:
    ours, theirs = socket.socketpair()
    with Channel(ours) as channel:
        channel.send(Serving())
        theirs.close()  # with what it did not read
        with pytest.raises(HandoverBroken, match="ended"):
            await channel.receive(Ask, 5)
