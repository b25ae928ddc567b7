"""Is an answer that broke and went on elsewhere the answer itself? ``python -m bench.identical --help``.

Two real llama.cpp servers stand behind a gateway with default settings. Each prompt is answered in peace first, at
temperature 0, and then once more while the server that answers it is killed (SIGKILL) at a random moment. Both answers
must be the same: text, reason of the end, role, id, [DONE] and tokens of the answer. So that nothing but the gateway
can make a difference, the servers compute each token by itself (--batches: as they do by default). All on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from app.demo.bundled import MissingPackages, find_bundled_model
from bench.identical.cases import make_cases
from bench.identical.engines import EngineFailed, run_engines
from bench.identical.report import Bar, print_report, summary
from bench.identical.run import run_trials
from bench.identical.site import NotWell, open_site
from bench.soak_children import ChildFailed, heed_sigterm, run_gateway

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.identical.run import Trial

_DIFFERS, _NOT_RUN, _INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Try and report; returns the exit code: 1 where an answer differs, 2 where it could not be run."""
    options = _options(arguments)
    model_path = options.model_path or find_bundled_model()
    if isinstance(model_path, MissingPackages):
        _say(f"It needs a real model server: {'; '.join(model_path.commands)}")
        return _NOT_RUN
    heed_sigterm()
    try:
        trials = _tried(options, model_path)
    except (ChildFailed, EngineFailed, NotWell, OSError) as error:
        _say(f"It could not be run: {error}")
        return _NOT_RUN
    except KeyboardInterrupt:
        _say("Interrupted; every child process has been ended.")
        return _INTERRUPTED
    if options.json:
        print(json.dumps(summary(trials)))
    else:
        print_report(trials, Console(width=None if sys.stdout.isatty() else 160))
    return _DIFFERS if any(trial.differences for trial in trials) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.identical", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--prompts", type=_positive, default=100, help="how many requests are tried (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="of requests and cuts (default: 1)")
    parser.add_argument("--max-tokens", type=_positive, default=48, help="of most answers (default: 48)")
    parser.add_argument("--model-path", type=_file, help="another GGUF file to serve (default: the demo's model)")
    parser.add_argument(
        "--batches",
        action="store_true",
        help="let the model servers compute tokens together: then a few answers differ by their own sums",
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else on stdout")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("must be from 1 to 1000")
    return number


def _file(text: str) -> Path:
    path = Path(text).absolute()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {path}")
    return path


def _tried(options: argparse.Namespace, model_path: Path) -> list[Trial]:
    cases = make_cases(options.prompts, options.seed, options.max_tokens)

    async def run() -> list[Trial]:
        async with open_site(gateway, engines) as site:
            return await run_trials(site, cases, options.seed, bar)

    with tempfile.TemporaryDirectory(prefix="identical-") as folder, Bar() as bar:
        gateway_folder = Path(folder) / "gateway"
        gateway_folder.mkdir()
        with (
            run_engines(2, model_path, Path(folder), batches=options.batches) as engines,
            run_gateway(gateway_folder, {}) as gateway,
        ):
            return asyncio.run(run())


def _say(text: str) -> None:
    print(f"[identical] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
