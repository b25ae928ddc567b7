"""What is known after a benchmark? Every sample, what was missing, and where and with what it was measured."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from app import __version__
from bench.samples import Sample

__all__ = ["Machine", "Results", "describe_machine", "our_versions"]

_OUR_PARTS = ("uvicorn", "uvloop", "httptools", "msgspec", "fastapi")


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured. ``load_before``: how many processes wanted to run in the minute before (load average)."""

    processor: str
    core_count: int
    memory_gigabytes: float
    load_before: float
    system: str
    python: str


class Results(msgspec.Struct, frozen=True):
    """A whole benchmark.

    Attributes:
        date: when it ended, in UTC.
        command: by which it was started.
        rounds: how often each work was measured on each gateway.
        quick: whether rounds were shortened.
        cores: who had which cores, in a sentence.
        titles: the gateways by name, in the order of tables; ``versions`` what pip installed for them.
        works: the works by name, in the order in which they were measured.
        missing: why a gateway was not measured at all, by its name.
        samples: every round.
        upstream_count: how many upstreams each gateway had.
        upstream_words: what is to be known of their answers, in a sentence.
    """

    date: str
    command: str
    rounds: int
    quick: bool
    cores: str
    machine: Machine
    titles: dict[str, str]
    versions: dict[str, str]
    works: dict[str, str]
    missing: dict[str, str]
    samples: list[Sample]
    seconds: float = 0.0
    upstream_count: int = 2
    upstream_words: str = ""

    @property
    def wrong(self) -> int:
        """How many answers were wrong, all together."""
        return sum([sample.wrong for sample in self.samples])


def today() -> str:
    """The date and minute, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def describe_machine() -> Machine:
    """What this machine is."""
    return Machine(
        processor=_processor(),
        core_count=os.cpu_count() or 1,
        memory_gigabytes=round(_memory_bytes() / 2**30, 1),
        load_before=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
        system=f"{platform.system()} {platform.release()} ({platform.machine()})",
        python=platform.python_version(),
    )


def our_versions() -> str:
    """This project's version and those of the libraries on its hot path."""
    parts = []
    for name in _OUR_PARTS:
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            parts.append(f"{name} not installed")
    return f"{__version__} ({', '.join(parts)})"


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    if not hasattr(os, "sysconf"):
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
