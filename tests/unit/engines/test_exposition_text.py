"""Figures are read from a page of Prometheus's text, whoever wrote it: sane sums and means, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from app.services.engines.exposition_text import MAX_LINE_BYTES, MAX_PAGE_BYTES, MAX_SAMPLES, amount, mean

RUNNING = "vllm:num_requests_running"


@pytest.mark.parametrize(
    ("page", "total"),
    [
        (b"vllm:num_requests_running 3", 3),
        (b"vllm:num_requests_running 3\n", 3),
        (b"vllm:num_requests_running\t 3.0 \n", 3),
        (b"vllm:num_requests_running 3.0\r\nother 1\r\n", 3),
        (b"# HELP vllm:num_requests_running 7\nvllm:num_requests_running 3\n", 3),
        (b"other 1\nvllm:num_requests_running 0\n", 0),
        (b'vllm:num_requests_running{engine="0",model_name="m"} 2.0 1700000000000\n', 2),
        (b'vllm:num_requests_running{engine="0"} 2\nvllm:num_requests_running{engine="1"} 1e1\n', 12),
        (b'vllm:num_requests_running{m="a} 9 \\" {"} 2\n', 2),
        (b'vllm:num_requests_running{m="a"} 2\nvllm:num_requests_running{m="a"} 5\n', 5),
        (b'vllm:num_requests_running {a="b"} 2\n', None),
        (b"vllm:num_requests_running{} +2\n", 2),
        (b"vllm:num_requests_running_total 4\nvllm:num_requests_runnin 5\n", None),
        (b"xvllm:num_requests_running 4\n x vllm:num_requests_running 4\n", None),
        (b"vllm:num_requests_running NaN\n", None),
        (b"vllm:num_requests_running +Inf\n", None),
        (b"vllm:num_requests_running -1\n", None),
        (b"vllm:num_requests_running 1e400\n", None),
        (b"vllm:num_requests_running 1e9999\n", None),
        (b"vllm:num_requests_running 1000001\n", None),
        (b"vllm:num_requests_running 1_0\n", None),
        (b"vllm:num_requests_running 0x10\n", None),
        (b"vllm:num_requests_running \xd9\xa3\n", None),
        (b"vllm:num_requests_running\n", None),
        (b"vllm:num_requests_running", None),
        (b'vllm:num_requests_running{engine="0"} 2\nvllm:num_requests_running{engine="1"} NaN\n', None),
        (b'vllm:num_requests_running{engine="0" 2\n', None),
        (b"<html>vllm:num_requests_running 2</html>", None),
        (b"", None),
    ],
)
def test_sums(page: bytes, total: int | None) -> None:
    assert amount(page, RUNNING) == total


@pytest.mark.parametrize(
    ("page", "share"),
    [
        (b"usage 0.25\n", 0.25),
        (b'usage{engine="0"} 0.25\nusage{engine="1"} 0.75\n', 0.5),
        (b"usage 0\n", 0.0),
        (b"usage 1\n", 1.0),
        (b"usage 1.01\n", None),
        (b'usage{engine="0"} 0.25\nusage{engine="1"} 2\n', None),
        (b"usage -0.5\n", None),
        (b"usage nan\n", None),
        (b"", None),
    ],
)
def test_means(page: bytes, share: float | None) -> None:
    assert mean(page, "usage") == share


def test_what_is_too_large_is_not_read() -> None:
    line = b"vllm:num_requests_running 2\n"
    assert amount(b"#" * (MAX_PAGE_BYTES - len(line) - 1) + b"\n" + line, RUNNING) == 2
    assert amount(b"#" * (MAX_PAGE_BYTES - len(line)) + b"\n" + line, RUNNING) is None
    assert amount(b'vllm:num_requests_running{m="' + b"x" * MAX_LINE_BYTES + b'"} 2\n', RUNNING) is None
    series = [b'vllm:num_requests_running{m="%d"} 1' % number for number in range(MAX_SAMPLES + 1)]
    assert amount(b"\n".join(series[:-1]), RUNNING) == MAX_SAMPLES
    assert amount(b"\n".join(series), RUNNING) is None
    assert amount(b"vllm:num_requests_running 1\n" * (MAX_SAMPLES + 1), RUNNING) is None


@given(st.lists(st.tuples(st.text(max_size=12), st.integers(0, 900)), max_size=8, unique_by=lambda pair: pair[0]))
def test_it_agrees_with_the_writer_that_engines_use(series: list[tuple[str, int]]) -> None:
    registry = CollectorRegistry()
    gauge = Gauge(RUNNING, "Requests\nthat run.", ["model_name"], registry=registry)
    Gauge(RUNNING + "_by_reason", "Others.", registry=registry).set(5)
    for model, value in series:
        gauge.labels(model).set(value)
    assert amount(generate_latest(registry), RUNNING) == (sum(value for _, value in series) if series else None)


@given(st.binary(max_size=200), st.sampled_from([b"", b"a 1\n", b'a{b="', b"a{", b"\na "]))
def test_any_bytes_are_read(noise: bytes, start: bytes) -> None:
    for page in (start + noise, noise + b"\n" + start, noise.replace(b"\x00", b"a")):
        total, share = amount(page, "a"), mean(page, "a")
        assert total is None or 0 <= total <= 1_000_000
        assert share is None or 0 <= share <= 1
