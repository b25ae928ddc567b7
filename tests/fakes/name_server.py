"""A real name server on a UDP port of this machine whose answers change as a test wants, and a resolver for it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Self

from dnslib import AAAA, QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSLogger, DNSServer

__all__ = ["NameServer", "NameServerResolver"]


class NameServer(BaseResolver):
    """Answers A and AAAA questions from published views. Use it as a context manager.

    A resolution is one A question followed by one AAAA question. Each resolution of a name sees its next view; the last
    one stays. A view of None means that the server keeps silent; a name never published does not exist.
    """

    def __init__(self) -> None:
        self.resolutions: dict[str, int] = {}
        self._views: dict[str, tuple[Sequence[str] | None, ...]] = {}
        self._server = DNSServer(self, address="127.0.0.1", port=0, logger=DNSLogger(logf=lambda _line: None))
        self._thread = threading.Thread(target=self._server.server.serve_forever, args=(0.01,), daemon=True)
        self._stopping = threading.Event()

    @property
    def port(self) -> int:
        return self._server.server.server_address[1]

    def publish(self, name: str, *views: Sequence[str] | None) -> None:
        self._views[name] = views
        self.resolutions[name] = 0

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
        name = str(request.q.qname).removesuffix(".")
        reply = request.reply()
        if name not in self._views:
            reply.header.rcode = RCODE.NXDOMAIN
            return reply
        kind = QTYPE[request.q.qtype]
        if kind == "A":
            self.resolutions[name] += 1
        views = self._views[name]
        view = views[min(self.resolutions[name], len(views)) - 1]
        if view is None:
            self._stopping.wait(30)
            return reply
        for address in view:
            if (":" in address) == (kind == "AAAA"):
                data = AAAA(tuple(IPv6Address(address).packed)) if kind == "AAAA" else A(address)
                reply.add_answer(RR(name, request.q.qtype, rdata=data, ttl=0))
        return reply

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._stopping.set()
        self._server.stop()
        self._thread.join()
        self._server.server.server_close()


class NameServerResolver:
    """Resolves by asking one name server over UDP, anew each time."""

    def __init__(self, name_server: NameServer, timeout_seconds: float = 5.0) -> None:
        self._name_server = name_server
        self._timeout_seconds = timeout_seconds

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        answers = [*await self._ask(host, "A"), *await self._ask(host, "AAAA")]
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answers

    async def _ask(self, host: str, kind: str) -> list[str]:
        question = DNSRecord.question(host, kind)
        raw = await asyncio.to_thread(question.send, "127.0.0.1", self._name_server.port, timeout=self._timeout_seconds)
        return [str(record.rdata) for record in DNSRecord.parse(raw).rr]
