"""With which command, variables and files did each gateway run under churn? Written out, to be started by hand."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from bench.churn.peers import CONTENDERS
from bench.sites import Site

if TYPE_CHECKING:
    from bench.churn.results import ChurnResults
    from bench.gateways import Gateway

__all__ = ["start_files"]

_EXAMPLE = Site(Path(), 8000, 9000, (9001, 9002, 9003, 9004), runs_as_root=False)
"""The ports are examples: a run takes free ones."""


def start_files(results: ChurnResults) -> dict[str, str]:
    """One file for each gateway, by file name, and one for each file that it reads."""
    files = {}
    for contender in CONTENDERS:
        gateway = contender.gateway
        if gateway.name in results.titles:
            files[f"{gateway.name}.txt"] = _start_of(gateway, results.versions[gateway.name], contender.words)
            for name, text in gateway.configure(_EXAMPLE).files.items():
                files[f"{gateway.name}.{name.rpartition('.')[2]}"] = text
    return files


def _start_of(gateway: Gateway, version: str, words: str) -> str:
    launch = gateway.configure(_EXAMPLE)
    lines = [f"# {gateway.title}: {version}", f"# {words}", "# It listens on port 8000; engines are on 9001 to 9004."]
    if gateway.requirement:
        lines.append(f"pip install {shlex.quote(gateway.requirement)}")
    lines += [f"export {name}={shlex.quote(value)}" for name, value in launch.environment.items()]
    lines += [f"# reads {name}, which stands beside this file" for name in launch.files]
    lines.append(shlex.join(launch.command))
    if launch.registers:
        lines += ["# then, once it runs:"]
        lines += [f"multiverse servers add http://127.0.0.1:{port}" for port in _EXAMPLE.upstream_ports]
    return "\n".join(lines) + "\n"
