"""How does one process become a real model server: llama.cpp on a free port, that tells where it listens?

Run as ``python -m app.demo.model_server``; ``app.demo.children`` starts it. It writes one JSON line to stdout
once its ``/health`` says ok, then serves until it is killed or its parent goes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import xllamacpp

from app.demo.lifeline import die_with_parent

__all__ = ["Arguments", "main", "parse_arguments"]

PARALLEL_REQUESTS: Final = 4
CONTEXT_TOKENS_PER_REQUEST: Final = 2048
HEALTH_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line of one model server. ``port`` 0 takes a free one."""

    model_path: Path
    alias: str
    port: int
    log_file: Path
    threads: int
    parent_pid: int
    start_timeout_seconds: float


def parse_arguments(argv: list[str]) -> Arguments:
    """Read the command line; argparse ends the process with 2 where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m app.demo.model_server", description=__doc__)
    parser.add_argument("--model-path", type=Path, required=True, help="the GGUF file to serve")
    parser.add_argument("--alias", required=True, help="the name to list the model under")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--log-file", type=Path, required=True, help="where llama.cpp writes what it does")
    parser.add_argument("--threads", type=int, default=1, help="threads that compute")
    parser.add_argument("--parent-pid", type=int, required=True, help="the process to end with")
    parser.add_argument("--start-timeout-seconds", type=float, default=120.0, help="give up after that long")
    return Arguments(**vars(parser.parse_args(argv)))


def main(argv: list[str] | None = None) -> None:
    """Serve the model until killed."""
    arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    # Ctrl-C reaches the whole process group of a terminal: the parent decides when its children go, last.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(arguments.parent_pid)
    announce_to = _keep_stdout_for_ourselves(arguments.log_file)
    server = xllamacpp.Server(_parameters(arguments))
    url = str(server.listening_address)
    _wait_until_healthy(url, arguments.start_timeout_seconds)
    line = json.dumps({"pid": os.getpid(), "url": url, "model": _listed_model(url)}) + "\n"
    os.write(announce_to, line.encode())
    os.close(announce_to)
    threading.Event().wait()


def _keep_stdout_for_ourselves(log_file: Path) -> int:
    """Send everything that native code prints to ``log_file``; returns a descriptor of the real stdout."""
    announce_to = os.dup(1)
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    return announce_to


def _parameters(arguments: Arguments) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(arguments.model_path)
    params.model_alias = {arguments.alias}
    params.hostnames, params.port = ["127.0.0.1"], arguments.port
    params.n_ctx, params.n_parallel = CONTEXT_TOKENS_PER_REQUEST * PARALLEL_REQUESTS, PARALLEL_REQUESTS
    params.cpuparams.n_threads = arguments.threads
    params.cpuparams_batch.n_threads = arguments.threads
    params.endpoint_metrics = params.endpoint_slots = True
    params.ui = False
    params.offline = True
    return params


def _get(url: str, timeout_seconds: float) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout_seconds) as response:
        body = response.read()
    return bytes(body)


def _wait_until_healthy(url: str, timeout_seconds: float) -> None:
    """Poll ``/health``: llama.cpp answers 503 while it loads. Raises TimeoutError past the deadline."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            _get(f"{url}/health", timeout_seconds)
        except urllib.error.URLError as error:
            if time.monotonic() > deadline:
                message = f"llama.cpp was not ready within {timeout_seconds:g} s: {error}"
                raise TimeoutError(message) from error
            time.sleep(HEALTH_POLL_SECONDS)
        else:
            return


def _listed_model(url: str) -> str:
    return str(json.loads(_get(f"{url}/v1/models", 10))["data"][0]["id"])


if __name__ == "__main__":
    main()
