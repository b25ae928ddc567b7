"""How does a peer get onto this machine? From PyPI, into environments of their own, in a folder that git ignores."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.gateways import Gateway

__all__ = ["NotInstalled", "install"]

_VENV_SECONDS = 120
_PIP_SECONDS = 900
_SHOWN_LINES = 3


class NotInstalled(Exception):
    """A peer can't be installed here, and why."""


def install(gateway: Gateway, folder: Path) -> Path:
    """Install a gateway if it is not there yet.

    Args:
        gateway: which one.
        folder: where the environments of all peers are.

    Returns:
        The interpreter of its environment; ours for this project.

    Raises:
        NotInstalled: pip failed, or took too long.
    """
    if gateway.requirement is None:
        return Path(sys.executable)
    home = folder / gateway.name
    interpreter, stamp = home / "bin" / "python", home / "installed"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp(gateway):
        return interpreter
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    shutil.rmtree(home, ignore_errors=True)
    _run((sys.executable, "-m", "venv", str(home)), _VENV_SECONDS)
    package = gateway.requirement.partition("==")[0].partition("[")[0]
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
    wheels = ("--prefer-binary", "--only-binary", package)  # nothing is compiled here for half an hour
    _run((str(interpreter), "-m", "pip", "install", *quiet, *wheels, gateway.requirement), _PIP_SECONDS)
    stamp.write_text(_stamp(gateway), encoding="utf-8")
    return interpreter


def _stamp(gateway: Gateway) -> str:
    return f"{gateway.requirement} for {sys.version}\n"


def _run(command: tuple[str, ...], patience_seconds: float) -> None:
    try:
        subprocess.run(
            command,
            check=True,
            timeout=patience_seconds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"{command[-1]} was not installed within {patience_seconds:g} s") from error
    except subprocess.CalledProcessError as error:
        told = [line for line in str(error.stderr).splitlines() if line.strip()][-_SHOWN_LINES:]
        raise NotInstalled(f"{' '.join(command[1:4])} {command[-1]} failed: {' '.join(told)}") from error
    except OSError as error:
        raise NotInstalled(f"{command[0]} could not be run: {error}") from error
