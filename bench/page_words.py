"""What does docs/benchmarks.md say beside its figures? Only what the results bear out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.gateways import DIRECT, GATEWAYS, OURS
from bench.goals import ENOUGH_ROUNDS, judge_goals
from bench.report import CALM_LOAD
from bench.works import WORKS, Kind

if TYPE_CHECKING:
    from bench.results import Results

__all__ = ["INTRODUCTION", "REPEATING", "how_measured", "left_out", "missed_words", "reading", "roughness"]

INTRODUCTION = """\
# Benchmarks

What a request costs here and in other gateways, measured side by side on one machine. Everything on this page was
written by `python -m bench --write-docs`; the raw rounds are in [results.json](benchmarks/results.json). What could not
be measured, or was left out, is listed as such."""

_READING = """\
The ratio is that of the first column's medians: above 1, the gateway costs more than ours. **Processor time is the
figure to quote**: it is far steadier than requests/s, which can end where the gateway's core is full, where the load's
is, or, when neither is (see the notes), at something else. Times of different runs should not be compared.

KB are units of 1,024 B, MB of 1,024 KB."""

_JUDGED = """\
* **Answers are compared byte for byte**: status, framing, body; a stream event by event. A wrong answer is counted, its
  round is worth nothing, and the benchmark ends with exit code 1."""

_REWRITTEN = """\
  LiteLLM writes answers anew, so of its answers the text, the reason of the end and the last event are compared."""

_DISTINCT = """\
* **No two requests alike**, in the work that says so: request id, trace and length differ, and each answer carries an
  id of its own, so that nobody gains from having seen a head before."""

_PROCESSOR_TIME = """\
* **Processor time** is user and system time of all processes of a gateway, from the kernel's clock of each, divided
  by what was answered in that time."""

_CUT = """\
* **Events cut in two**: a part of each event, of random length, comes first and the rest a millisecond later."""

_BY_KIND = {
    Kind.SATURATION: """\
* **Saturation** is a closed loop: each of 64 connections asks again as soon as it was answered.""",
    Kind.RATE: """\
* **At a fixed rate** requests leave when they are due, answered or not, and a latency counts from that moment (no
  coordinated omission). What is added is the percentile less that of asking an upstream directly in the same round.""",
    Kind.STREAMS: """\
* **Streams** are a closed loop too: each connection asks for the next when one ended. Each event is a write of its own,
  at its own millisecond.""",
    Kind.MEMORY: """\
* **Memory** is what the resident memory of a freshly started gateway grows by when so many streams are open and each
  has got two events.""",
}

REPEATING = """\
## Repeat it

```console
make bench                                                       # everything, in under 20 minutes
scripts/bench --quick                                            # what the goals need, in under 3 minutes
scripts/bench --only ours,envoy --works short,streams-100        # two gateways, two works
scripts/bench --list                                             # the names of all gateways and works
scripts/bench --write-docs                                       # everything, and this page written anew
```

The first run installs the peers from PyPI, each into an environment of its own under `.bench` (about 1 GB, ignored by
git). A machine with nothing else to do gives steadier figures; one with four cores or more gives the load generator a
core of its own."""


def roughness(results: Results) -> str:
    """Why all figures are rough, in a line; nothing if they are not."""
    reasons = []
    if results.rounds < ENOUGH_ROUNDS:
        reasons.append(f"{_count(results.rounds, 'round')} only, where {ENOUGH_ROUNDS} are the rule")
    if results.quick:
        reasons.append("the rounds were shortened")
    if results.machine.load_before > CALM_LOAD:
        load = f"load average {results.machine.load_before:g}"
        reasons.append(f"the machine had other work to do when this began ({load})")
    return f"Take the figures as rough: {'; '.join(reasons)}." if reasons else ""


def left_out(results: Results) -> str:
    """What the command that measured did not ask for; nothing if it asked for all."""
    gateways = [gateway.title for gateway in GATEWAYS if gateway.name not in results.titles]
    works = [f"`{work.name}` ({work.title})" for work in WORKS if work.name not in results.works]
    lines = [f"* **Gateways**: {', '.join(gateways)}."] if gateways else []
    lines += [f"* **Works**: {'; '.join(works)}."] if works else []
    return "\n".join(["Left out of this run:\n", *lines]) if lines else ""


def missed_words(results: Results) -> str:
    """Where it is told why goals are missed; nothing if none is."""
    missed = [verdict.goal.words for verdict in judge_goals(results) if verdict.word == "missed"]
    if not missed:
        return ""
    where = "[how the fast path was worked out](../devlog/2026-11-23-fast-path.md)"
    listed = "\n".join(f"* {words}" for words in missed)
    return f"### Where goals are missed\n\n{listed}\n\nWhat was tried for them, and why they are missed: {where}."


def reading(results: Results) -> str:
    """How the tables are to be read."""
    if results.rounds == 1:
        return f"There was one round: its figures stand alone. {_READING}"
    return f"A figure is the median of all rounds, with the least and the most of them in parentheses. {_READING}"


def how_measured(results: Results) -> str:
    """Cores, rounds and rules, as far as they were of use."""
    measured = {sample.gateway for sample in results.samples if sample.figures}
    ran = [work for work in WORKS if work.name in {sample.work for sample in results.samples}]
    kinds = {work.kind for work in ran}
    parts = [_setting(results, measured), "", _requests(results), _JUDGED]
    parts += [_REWRITTEN] * bool(measured.intersection(gateway.name for gateway in GATEWAYS if gateway.rewritten))
    parts += [_DISTINCT] * any(work.distinct for work in ran)
    parts.append(_PROCESSOR_TIME)
    parts += [text for kind, text in _BY_KIND.items() if kind in kinds]
    parts += [_CUT] * any(work.answer.cut for work in ran)
    if any(work.tls for work in ran):
        able = ", ".join(gateway.title for gateway in GATEWAYS if gateway.tls and gateway.name in measured)
        parts.append(f"* **TLS** is measured on those that serve it from a certificate file, of these: {able}.")
    return "\n".join(parts)


def _setting(results: Results, measured: set[str]) -> str:
    upstreams = _count(results.upstream_count, "upstream")
    lines = [
        f"{results.cores} All gateways have the same {upstreams}, get the same requests, and run throughout; those",
        f"that are not being measured are paused (SIGSTOP). {_rounds(results)}",
    ]
    if measured - {DIRECT, OURS, "ours-asgi"}:
        lines += [
            "Peers are set up in their own favour: one worker for the one core, warm connections, no access log, no",
            "limit that a work would reach.",
        ]
    if OURS in measured:
        lines += [
            "Ours runs in its default configuration, with keys, health checks, usage, metrics and a log line for each",
            "request.",
        ]
    return "\n".join(lines)


def _rounds(results: Results) -> str:
    if results.rounds == 1:
        return "There was one round, which went over all gateways in turn."
    fewer = []
    for work in results.works:
        most = max([sample.round for sample in results.samples if sample.work == work], default=0)
        if 0 < most < results.rounds:
            fewer.append(f"{most} of `{work}`")
    exceptions = f" ({', '.join(fewer)})" if fewer else ""
    return (
        f"A round goes over all gateways, and each begins with another; there were {results.rounds}{exceptions},\n"
        "so that a slow minute of the machine does not hit one gateway alone."
    )


def _requests(results: Results) -> str:
    long = "long-prompt" in results.works or "long-rate" in results.works
    sizes = "1 KB or 100 KB" if long else "1 KB"
    words = f"* **Requests** carry the headers that openai-python sends. A body of {sizes} holds prose and code, with\n"
    answers = f"\n* **Upstreams**: {results.upstream_words}" if results.upstream_words else ""
    exception = " (but for one work, see below)" if "distinct" in results.works else ""
    alike = (
        f"In a work each request is the one before, byte for byte{exception}:\n  that favours who knows a head again."
    )
    return f"{words}  line ends and quotes. {alike}{answers}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
