"""What do the parts of the pages cost? ``python -m bench.looks`` prints milliseconds, microseconds and kilobytes.

Each figure is the least of several short runs, in the event loop that the gateway takes. What is looked at is made
first, in memory or in a temporary folder that is deleted at the end; neither a gateway nor a browser is started.
``bench.pages`` tells what open pages cost requests, and ``bench.first_paint`` how soon a page shows something.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Final

from bench.looks_counters import counters
from bench.looks_keys import keys
from bench.looks_knocks import knocks
from bench.looks_log import log
from bench.looks_servers import servers
from bench.soak_upstream import event_loop_factory

_EPILOG: Final = """
What is measured:
  servers   the live rows of the servers: nothing changed, 100 of them changed, all of them new; encoding them;
            a whole turn of the feed; answering /ui/servers, and the size of the page
  knocks    connections that are opened and closed while a page lists servers; the listener is in the same process, so
            its share is in the figure
  counters  a look at what was counted, nine counters a server: nothing, a tenth and all of them changed
  keys      GET /admin/keys, and for how long at a stretch nothing else had a turn in the event loop
  log       reading the log back, in both of its forms, and how late the event loop came to a timer meanwhile
"""
_PARTS: Final = ("servers", "knocks", "counters", "keys", "log")


def main() -> None:
    """Measure and print."""
    options = _options()
    with (
        tempfile.TemporaryDirectory(prefix="bench-looks-") as folder,
        asyncio.Runner(loop_factory=event_loop_factory) as runner,
    ):
        measured = {
            "servers": lambda: servers(options.servers),
            "knocks": lambda: knocks(options.servers),
            "counters": lambda: counters(options.servers),
            "keys": lambda: keys(Path(folder), options.keys),
            "log": lambda: log(Path(folder), options.log_bytes),
        }
        for part in options.parts:
            runner.run(measured[part]())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.looks",
        description=(__doc__ or "").splitlines()[0],
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", type=_part, default=_PARTS, metavar="PART", help="what to measure (all)")
    parser.add_argument("--servers", type=_count, default=1000, metavar="N", help="how many servers there are (1,000)")
    parser.add_argument("--keys", type=_count, default=20_000, metavar="N", help="how many keys there are (20,000)")
    parser.add_argument(
        "--log-bytes", type=_count, default=8 * 1_048_576, metavar="N", help="how long the log is (8,388,608: 8 MiB)"
    )
    return parser.parse_args()


def _part(text: str) -> str:
    """Read the name of a part.

    Raises:
        ArgumentTypeError: there is no such part.
    """
    if text not in _PARTS:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(_PARTS)}")
    return text


def _count(text: str) -> int:
    """Read how many there are.

    Raises:
        ArgumentTypeError: it is no whole number from 1 on.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 on")
    return int(text)


if __name__ == "__main__":
    main()
