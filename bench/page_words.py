"""What does docs/benchmarks.md say beside its figures?"""

from __future__ import annotations

__all__ = ["CORES_AND_RULES", "INTRODUCTION", "READING", "REPEATING"]

INTRODUCTION = """\
# Benchmarks

What a request costs here and in other gateways, measured side by side on one machine. Everything on this page was
written by `python -m bench --write-docs`; the raw rounds are in [results.json](benchmarks/results.json). A gateway
that could not be measured is listed with the reason."""

READING = """\
A figure is the median of all rounds, with the least and the most of them in parentheses. The ratio is that of the
first column's medians: above 1, the gateway costs more than ours. **Processor time is the figure to quote**: it is
far steadier than requests/s, which here end where a single core ends. Times of different runs should not be compared.

KB are units of 1,024 B, MB of 1,024 KB."""

CORES_AND_RULES = """\
All gateways have the same two upstreams, get the same requests, and run throughout; those that are not being measured
are paused (SIGSTOP). A round goes over all gateways, each round begins with another, and there are at least five, so
that a slow minute of the machine does not hit one gateway alone. Peers are set up in their own favour: one worker for
the one core, warm connections, no access log, no limit that a work would reach. Ours runs in its default
configuration, with keys, health checks, usage, metrics and a log line for each request.

* **Requests** carry the headers that openai-python sends. A body of 1 KB or 100 KB holds prose and code, with line
  ends and quotes. In one work no two requests are alike: request id, trace and length differ, so that nobody gains
  from having seen a head before.
* **Answers are compared byte for byte**: status, framing, body; a stream event by event. LiteLLM writes answers anew,
  so of its answers the text, the reason of the end and the last event are compared. A wrong answer is counted, its
  round is worth nothing, and the benchmark ends with exit code 1.
* **Processor time** is user and system time of all processes of a gateway, from the kernel's clock of each, divided
  by what was answered in that time.
* **Saturation** is a closed loop: each of 64 connections asks again as soon as it was answered.
* **At a fixed rate** requests leave when they are due, answered or not, and a latency counts from that moment (no
  coordinated omission). What is added is the percentile less that of asking an upstream directly in the same round.
* **Streams** are a closed loop too. Each event is a write of its own, at its own millisecond.
* **Memory** is what the resident memory of a freshly started gateway grows by when so many streams are open and each
  has got two events."""

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
