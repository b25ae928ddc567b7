"""Where does a gateway stand during a benchmark: which folder, ports, upstreams, certificate?"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - part of what the dataclasses below are

__all__ = ["KEY", "Launch", "Site", "TlsFiles"]

KEY = "sk-bench-0123456789abcdef0123456789abcdef"
"""The one key that every client of a benchmark sends; it opens nothing but the gateways that the benchmark starts."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate for localhost and its key, as paths of PEM files."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class Site:
    """What a gateway is given."""

    folder: Path
    port: int
    metrics_port: int
    upstream_ports: tuple[int, ...]
    tls: TlsFiles | None = None
    runs_as_root: bool = field(default_factory=lambda: hasattr(os, "geteuid") and os.geteuid() == 0)


@dataclass(frozen=True, slots=True)
class Launch:
    """How it is started.

    Attributes:
        command: program and arguments; a program without a slash stands in the ``bin`` folder of its environment.
        files: what is written into its folder before, by name.
        environment: variables beside those that every child gets.
        ready_path: answers 200 as soon as requests can be served.
        registers: whether the upstreams are registered over its admin API, once it runs.
    """

    command: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    ready_path: str = "/v1/models"
    registers: bool = False
