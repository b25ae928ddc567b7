"""Do keys get the same that ask for different amounts, and who waits how long? ``python -m bench.fairness --help``.

A real gateway (``multiverse serve``) stands before a model server with few places that gives so many tokens a second in
each. First ten keys ask for unequal amounts, in requests of unequal sizes, each more than its fair share, while an
eleventh asks for one short answer now and then. Then one key sends a thousand requests at once, and another one at a
time. It ends with 1 when Jain's index of the ten keys' tokens is under 0.98, or a key that was idle waited for longer
than one answer takes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any, Final

import httpx2
from rich.console import Console
from rich.table import Table

from bench.soak_children import ChildFailed, heed_sigterm, raise_open_files, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.soak_children import Gateway

__all__ = ["Key", "jain", "main"]

_NOT_MET, _NOT_RUN, _INTERRUPTED = 1, 2, 130
_LEAST_INDEX: Final = 0.98
_KEYS: Final = 10
_SIZES: Final = (20, 40, 80, 160)
"""How long the answers of a key are, in tokens: those of the first key are short, of the fourth long, and so on."""
_LONGEST: Final = max(_SIZES)
_IDLE_SECONDS: Final = 1.0
_FLOOD: Final = 1000
_POLL_SECONDS: Final = 0.05
_SETTINGS: Final = {"QUEUE_MAX_SIZE": "2000", "QUEUE_MAX_WAIT_SECONDS": "600", "REQUEST_TIMEOUT_SECONDS": "600"}
_SLACK_SECONDS: Final = 0.1
"""What machine, event loops and sockets may add to a wait."""


@dataclass
class Key:
    """One key, and what became of its requests. ``waits`` are in seconds, until the model server had them."""

    name: str
    secret: str
    tokens: int = 0
    waits: list[float] = field(default_factory=list)
    failed: int = 0


class ModelServer:
    """Answers with as many tokens as it is asked for, each of its places at the same speed.

    ``arrived``: when each request came, by the number in its prompt.
    """

    def __init__(self, tokens_per_second: float) -> None:
        self.tokens_per_second = tokens_per_second
        self.arrived: dict[int, float] = {}
        self._open: dict[asyncio.StreamWriter, None] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self._open[writer] = None
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = head.partition("content-length:")[2].partition("\r\n")[0]
                body = await reader.readexactly(int(length or 0))
                answer = await self._answer(head, body)
                said = json.dumps(answer).encode()
                fields = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(said)
                status = b"404 Not Found" if "error" in answer else b"200 OK"
                writer.write(b"HTTP/1.1 %b\r\n%b%b" % (status, fields, said))
                await writer.drain()
        writer.close()
        del self._open[writer]

    async def close(self) -> None:
        """Close all connections, and wait for what still runs."""
        while self._open:
            for writer in self._open:
                writer.close()
            await asyncio.sleep(_POLL_SECONDS)

    async def _answer(self, head: str, body: bytes) -> dict[str, Any]:
        if head.startswith("get") and "/models" in head.partition("\r\n")[0]:
            return {"object": "list", "data": [{"id": "m", "object": "model"}]}
        asked = json.loads(body) if body else {}
        number = str((asked.get("messages") or [{}])[0].get("content", "")).rpartition(" ")[2]
        if not number.isdigit():
            return {"error": {"message": "only the questions of this measurement are answered"}}
        self.arrived[int(number)] = time.perf_counter()
        tokens = int(asked["max_tokens"])
        await asyncio.sleep(tokens / self.tokens_per_second)
        usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
        choice = {"index": 0, "message": {"role": "assistant", "content": "word"}, "finish_reason": "length"}
        return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


class Measurement:
    """Keys that ask a gateway, and what they got."""

    def __init__(self, gateway: Gateway, server: ModelServer) -> None:
        self._server = server
        self._port = gateway.port
        self._number = 0
        self.admin = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{gateway.port}", headers={"authorization": f"Bearer {gateway.key}"}, timeout=60
        )

    async def key(self, name: str) -> Key:
        """Make a key.

        Raises:
            ChildFailed: the gateway refused.
        """
        answer = await self.admin.post("/admin/keys", json={"name": name, "role": "user"})
        if answer.status_code != 201:
            raise ChildFailed(f"a key could not be made: {answer.text[:500]}")
        return Key(name, answer.json()["key"])

    async def ask(self, key: Key, tokens: int) -> None:
        """Ask for one answer on a connection of its own, and note what it took."""
        self._number += 1
        number, sent_at = self._number, time.perf_counter()
        question = [{"role": "user", "content": f"number {number}"}]
        body = json.dumps({"model": "m", "messages": question, "max_tokens": tokens}).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {key.secret}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(head.encode() + body)
            status = (await reader.readline())[9:12]
            await reader.read()
        finally:
            writer.close()
        arrived_at = self._server.arrived.pop(number, None)
        if status != b"200" or arrived_at is None:
            key.failed += 1
            return
        key.tokens += tokens
        key.waits.append(arrived_at - sent_at)

    async def share(self, keys: Sequence[Key], idle: Key, seconds: float, places: int) -> None:
        """Have keys ask for unequal amounts, all of them for more than they can get, and one now and then."""
        async with asyncio.TaskGroup() as group:
            askers = [
                group.create_task(self._keep_asking(key, _SIZES[rank % len(_SIZES)]))
                for rank, key in enumerate(keys)
                for _asker in range(places * (rank + 1))
            ]
            await asyncio.sleep(_LONGEST / self._server.tokens_per_second)
            ends_at = time.perf_counter() + seconds
            while time.perf_counter() < ends_at:
                await asyncio.sleep(_IDLE_SECONDS)
                await self.ask(idle, _SIZES[0])
            for asker in askers:
                asker.cancel()

    async def flood(self, flooder: Key, other: Key, asked: int) -> None:
        """Send a thousand requests of one key at once, and of another one at a time."""
        async with asyncio.TaskGroup() as group:
            flood = [group.create_task(self.ask(flooder, _SIZES[1])) for _request in range(_FLOOD)]
            await asyncio.sleep(1.0)
            for _request in range(asked):
                await self.ask(other, _SIZES[1])
                await asyncio.sleep(0.25)
            for request in flood:
                request.cancel()

    async def _keep_asking(self, key: Key, tokens: int) -> None:
        while True:
            await self.ask(key, tokens)


def jain(shares: Iterable[float]) -> float:
    """Jain's index of fairness: 1.0 where all have the same, 1/n where one has it all; 0.0 where nobody has any."""
    values = list(shares)
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; returns the exit code: 1 where a goal is not met, 2 where it could not be run."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.fairness", description=(__doc__ or "").partition("\n\n")[2].replace("``", "")
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="how long ten keys share (default: 30)")
    parser.add_argument("--places", type=int, default=4, help="of the model server (default: 4)")
    parser.add_argument("--speed", type=float, default=400.0, help="tokens a second in each place (default: 400)")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else on stdout")
    options = parser.parse_args(arguments)
    heed_sigterm()
    raise_open_files()
    try:
        with tempfile.TemporaryDirectory(prefix="fairness-") as folder, run_gateway(Path(folder), _SETTINGS) as gateway:
            told = asyncio.run(_measure(gateway, options.seconds, options.places, options.speed))
    except (ChildFailed, OSError) as error:
        print(f"[fairness] It could not be run: {error}", file=sys.stderr)
        return _NOT_RUN
    except KeyboardInterrupt:
        return _INTERRUPTED
    if options.json:
        print(json.dumps(told))
    else:
        _print(told, Console(width=None if sys.stdout.isatty() else 120))
    return 0 if told["fair"] else _NOT_MET


async def _measure(gateway: Gateway, seconds: float, places: int, speed: float) -> dict[str, Any]:
    server = ModelServer(speed)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        measurement = Measurement(gateway, server)
        async with measurement.admin as admin:
            port = listening.sockets[0].getsockname()[1]
            registered = {"endpoint_url": f"http://127.0.0.1:{port}", "max_concurrency": places}
            answer = await admin.post("/admin/register", json=registered)
            if answer.status_code != 201:
                raise ChildFailed(f"the server could not be registered: {answer.text[:500]}")
            keys = [await measurement.key(f"key {number}") for number in range(1, _KEYS + 1)]
            idle, flooder, other = [await measurement.key(name) for name in ("idle", "flood", "beside the flood")]
            await measurement.share(keys, idle, seconds, places)
            await asyncio.sleep(2 * _LONGEST / speed)
            await measurement.flood(flooder, other, asked=20)
            await server.close()
    return _told(keys, idle, flooder, other, speed)


def _told(keys: Sequence[Key], idle: Key, flooder: Key, other: Key, speed: float) -> dict[str, Any]:
    index = jain(key.tokens for key in keys)
    most = {"idle": _LONGEST / speed + _SLACK_SECONDS, "beside the flood": _SIZES[1] / speed + _SLACK_SECONDS}
    rows = [
        {
            "key": key.name,
            "tokens": key.tokens,
            "answers": len(key.waits),
            "failed": key.failed,
            "wait_p50_seconds": _quantile(key.waits, 50),
            "wait_p99_seconds": _quantile(key.waits, 99),
            "wait_longest_seconds": max(key.waits, default=0.0),
        }
        for key in (*keys, idle, flooder, other)
    ]
    in_time = all(key.waits and max(key.waits) <= most[key.name] and not key.failed for key in (idle, other))
    return {"jain": index, "fair": index >= _LEAST_INDEX and in_time, "one_service_seconds": most, "keys": rows}


def _quantile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else sum(values)


def _print(told: dict[str, Any], console: Console) -> None:
    table = Table("key", *("tokens", "answers", "failed", "wait p50", "p99", "longest"))
    for row in told["keys"]:
        waits = [f"{row[f'wait_{name}_seconds']:.3f} s" for name in ("p50", "p99", "longest")]
        table.add_row(row["key"], str(row["tokens"]), str(row["answers"]), str(row["failed"]), *waits)
    console.print(table)
    console.print(f"Jain's index of the tokens of {_KEYS} keys: {told['jain']:.4f} (goal: at least {_LEAST_INDEX})")
    for name, seconds in told["one_service_seconds"].items():
        console.print(f"'{name}' may wait for {seconds:.2f} s: one answer, and {_SLACK_SECONDS} s for the machine")
    console.print("fair" if told["fair"] else "not fair")


if __name__ == "__main__":
    sys.exit(main())
