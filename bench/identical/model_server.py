"""How does a process become a real model server whose words depend on nothing but the tokens before them?

llama.cpp's sums depend on how many tokens are computed together: a prompt's in batches, an answer's one by one. Where
two tokens are nearly as likely, the same text then goes on in two ways, and it is nobody's fault. So this one computes
every token by itself, one request at a time, unless ``--batches`` is given. Run by ``bench.identical.engines``.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from pathlib import Path

import xllamacpp

from app.demo.bundled import MODEL_NAME
from app.demo.lifeline import die_with_parent

_CONTEXT_TOKENS = 2048
_BATCH_TOKENS = 8
"""How many tokens are handed over together; they are computed one by one all the same. One alone breaks the start."""
_SLOTS_WITH_BATCHES = 4


def main() -> None:
    """Serve until killed; tell the URL in one line on stdout. The model may still be loading then."""
    parser = argparse.ArgumentParser(prog="python -m bench.identical.model_server", description=__doc__)
    parser.add_argument("--model-path", type=Path, required=True, help="the GGUF file to serve")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--parent-pid", type=int, required=True, help="the process to end with")
    parser.add_argument("--log-file", type=Path, required=True, help="where llama.cpp writes what it does")
    parser.add_argument("--batches", action="store_true", help="compute tokens together, as llama.cpp does by default")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when its children go
    die_with_parent(options.parent_pid)
    announce_to = os.dup(1)
    log = os.open(options.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    server = xllamacpp.Server(_parameters(options))
    os.write(announce_to, f"{server.listening_address}\n".encode())
    os.close(announce_to)
    threading.Event().wait()


def _parameters(options: argparse.Namespace) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(options.model_path)
    params.model_alias = {MODEL_NAME}
    params.hostnames, params.port = ["127.0.0.1"], options.port
    params.n_parallel = _SLOTS_WITH_BATCHES if options.batches else 1
    params.n_ctx = _CONTEXT_TOKENS * params.n_parallel
    if not options.batches:
        params.n_batch, params.n_ubatch = _BATCH_TOKENS, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.ui = False
    params.offline = True
    return params


if __name__ == "__main__":
    main()
