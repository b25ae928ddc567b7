"""What does docs/reliability.md say beside its figures? Only what the results bear out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.churn.figures import share_of
from bench.churn.kinds import PROMISED
from bench.gateways import OURS
from bench.report import CALM_LOAD

if TYPE_CHECKING:
    from bench.churn.results import ChurnResults

__all__ = ["JUDGED", "how_to_read", "roughness", "setting"]

ENOUGH = 10_000
"""Requests of ours under one fault that make its figure worth quoting."""

JUDGED = """\
* **Exact** is an answer in which every token came once and in order, with one role, one reason of the end, one
  `[DONE]`, the same `id`, `created` and `model` throughout, and the usage that was asked for, to the token. LiteLLM
  writes answers anew, so of its answers the text, the order and the end are judged.
* **Cut** is an answer that ended early, or not within 40 s; in parentheses how many of these said so by an error.
  **Corrupted** is one with anything wrong in it. **5xx** is an error status in place of an answer; **other** is no
  connection, or another status.
* **With two retries** is what openai-python's own two retries make of it: after a lost connection or the statuses 408,
  409, 429 and 5xx, and never once a stream has begun. Both columns come from one run: the first is what each
  request's first attempt was. The load of the retries is therefore on the gateway in both.
* **Bounds** are exact ones at 95 % (Clopper-Pearson); where all were exact, one-sided: none of n failed means that at
  most about 3/n do.
* **Seam** is the silence that a stream had where another engine went on with it, less the usual time between tokens:
  its middle, its 99th hundredth, and in parentheses how many there were. Each event names the process that wrote it.
* **Felt** is how long after a fault new requests were still turned away or waited half a second too long: the time to
  ejection as clients see it; the middle and the longest of all faults. **Back** is the time from an engine's being up
  again to its first request.
* The **ceiling** is computed from the same arrivals and faults: the share of streams that are not under way on an
  engine as it fails, for a gateway that knows of each failure at once and spreads requests evenly over the rest."""


def setting(results: ChurnResults) -> str:
    """Cores, engines, arrivals."""
    return (
        f"{results.engines} engines, processes that sign as vLLM, llama.cpp, SGLang and vLLM, speak a text computed\n"
        f"from the request: {results.length} tokens, one every {results.gap_ms:g} ms. They go on with a text of\n"
        "their own as their kind does, and refuse any other. Requests come at random moments (Poisson), answered or\n"
        "not; all gateways meet the same ones and the same faults. A few seconds without faults go before and are not\n"
        f"counted. {results.cores}"
    )


def how_to_read(results: ChurnResults) -> str:
    """What the overview shows."""
    rate = max(trial.rate for trial in results.trials)
    slower = sorted({(trial.gateway, trial.rate) for trial in results.trials if trial.rate < rate})
    words = f"Percent of answers that were exact, without retries, at {rate:g} requests/s: streams, completions, tool\n"
    words += "calls and answers without streaming, but not the kinds that nobody can go on with (see further below)."
    if slower:
        listed = ", ".join(f"{results.titles[name]} at {its:g}" for name, its in slower)
        words += f" Slower, since more\ncan't be held: {listed}."
    return words


def roughness(results: ChurnResults) -> str:
    """Why figures are rough, in a line; nothing if they are not."""
    reasons = []
    for fault in ("kill", "stop"):
        own = [trial for trial in results.trials if (trial.gateway, trial.fault) == (OURS, fault)]
        asked = share_of(own, PROMISED, retried=False).asked
        if asked < ENOUGH:
            reasons.append(f"{asked:,} requests under `{fault}`, where {ENOUGH:,} are the rule")
    if results.machine.load_before > CALM_LOAD:
        reasons.append(f"the machine had other work to do (load average {results.machine.load_before:g})")
    return f"Take the figures as rough: {'; '.join(reasons)}." if reasons else ""
