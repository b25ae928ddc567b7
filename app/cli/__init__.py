"""What can be done from a shell? The commands ``multiverse`` and ``multiverse-inference-gateway``."""

from __future__ import annotations

import sys

__all__ = ["main"]

INTERRUPTED = 130


def main() -> None:
    """Run the command line; ends the process."""
    try:
        # Loading the commands takes a while, in which Ctrl-C must not show a traceback either.
        from app.cli.root import run  # noqa: PLC0415

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
