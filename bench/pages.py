"""Do open pages cost requests anything? ``python -m bench.pages --help``.

One gateway (``multiverse serve``) serves the short requests of ``python -m bench``, in rounds by turns: nobody looks,
or so many pages are open, each with a stream of live data of its own. Processor time for each request is told for
both. It ends with 1 when an answer was wrong, or when open pages cost more than the noise between the rounds.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from rich.console import Console
from rich.table import Table

from bench.cores import bound_to, choose_cores
from bench.fleet import Fleet
from bench.gateways import GATEWAYS
from bench.install import install
from bench.processes import NotStarted, run_upstreams
from bench.session import measured
from bench.sites import KEY
from bench.works import WORKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.fleet import Member
    from bench.samples import Sample

_NOT_MET, _NOT_RUN = 1, 2
_UPSTREAMS: Final = 2
_FIGURE: Final = "cpu_us_per_request"
_TOPICS: Final = "overview,servers,models,requests"
_NOISE: Final = 0.03
"""Medians of rounds by turns differ by so much where nothing differs."""
_TIMEOUT_SECONDS: Final = 10.0


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pages", type=int, default=10, metavar="N", help="how many pages are open (10)")
    parser.add_argument("--rounds", type=int, default=8, metavar="N", help="how many rounds of each kind (8)")
    options = parser.parse_args()
    try:
        rounds = _measure(options.pages, options.rounds)
    except (NotStarted, OSError) as error:
        sys.stderr.write(f"It could not be measured: {error}\n")
        return _NOT_RUN
    return _report(rounds, options.pages)


def _measure(pages: int, rounds: int) -> dict[int, list[Sample]]:
    """Measure by turns; samples by how many pages were open."""
    gateway = next(gateway for gateway in GATEWAYS if gateway.name == "ours")
    work = next(work for work in WORKS if work.name == "short")
    cores, samples = choose_cores(), {0: [], pages: []}
    with ExitStack() as stack:
        upstreams = stack.enter_context(run_upstreams(_UPSTREAMS, cores))
        stack.enter_context(bound_to(cores.load))
        fleet = Fleet({gateway.name: install(gateway, Path())}, upstreams, cores, stack)
        if problem := fleet.start(gateway, tls=False):
            raise NotStarted(problem)
        with fleet.measured(gateway, tls=False, fresh=False) as member:
            for number in range(1, rounds + 1):
                for count in (0, pages) if number % 2 else (pages, 0):
                    with _looking(member, count):
                        samples[count].append(measured(work, member.target, number, work.seconds))
    return samples


@contextmanager
def _looking(member: Member, pages: int) -> Iterator[None]:
    """Keep so many pages open: each reads what it is sent, in a thread of its own."""
    cookie = _sign_in(member.target.port) if pages else ""
    streams = [_open_stream(member.target.port, cookie) for _ in range(pages)]
    threads = [threading.Thread(target=_read_all, args=(stream,), daemon=True) for _, stream in streams]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for connection, _stream in streams:
            if connection.sock is not None:
                connection.sock.shutdown(2)
        for thread in threads:
            thread.join(_TIMEOUT_SECONDS)
        for connection, _stream in streams:
            connection.close()


def _sign_in(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/ui/sign-in", urlencode({"key": KEY}), headers)
    answer = connection.getresponse()
    cookie = (answer.getheader("set-cookie") or "").partition(";")[0]
    connection.close()
    if not cookie:
        raise NotStarted(f"Signing in was answered with {answer.status}")
    return cookie


def _open_stream(port: int, cookie: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/ui/live?topics={_TOPICS}", headers={"cookie": cookie, "accept": "text/event-stream"})
    answer = connection.getresponse()
    if answer.status != http.HTTPStatus.OK:
        raise NotStarted(f"A page's live data was answered with {answer.status}")
    answer.readline()
    return connection, answer


def _read_all(stream: http.client.HTTPResponse) -> None:
    try:
        while stream.readline():
            pass
    except (OSError, http.client.HTTPException):
        return  # the connection was closed at the end of the round


def _report(rounds: dict[int, list[Sample]], pages: int) -> int:
    """Print both, and say whether they differ."""
    table = Table("pages open", "rounds", "requests", "CPU us a request: median", "least", "most")
    medians = {}
    for count, samples in rounds.items():
        figures = sorted(sample.figures[_FIGURE] for sample in samples if _FIGURE in sample.figures)
        if not figures:
            sys.stderr.write(f"With {count} pages nothing came: {samples[0].note or samples[0].first_wrong}\n")
            return _NOT_RUN
        medians[count] = median(figures)
        answers = sum(sample.answers for sample in samples)
        cells = (f"{figure:.2f}" for figure in (medians[count], figures[0], figures[-1]))
        table.add_row(str(count), str(len(figures)), f"{answers:,}", *cells)
    Console().print(table)
    wrong = sum(sample.wrong for samples in rounds.values() for sample in samples)
    share = medians[pages] / medians[0] - 1
    print(f"Open pages cost a request {share:+.1%}; {wrong} answers were wrong.")
    return _NOT_MET if wrong or share > _NOISE else 0


if __name__ == "__main__":
    sys.exit(main())
