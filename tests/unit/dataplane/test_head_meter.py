"""Heads are bounded as they come."""

from __future__ import annotations

import pytest

from app.services.core.errors import HeadTooLarge
from app.services.dataplane.head_meter import HeadMeter


def test_headers_are_counted() -> None:
    meter = HeadMeter(max_count=2, max_bytes=1000)
    meter.begin()
    meter.add_header(b"a", b"b")
    meter.add_header(b"a", b"b")
    with pytest.raises(HeadTooLarge, match="more than 2 headers"):
        meter.add_header(b"a", b"b")


def test_bytes_are_counted_with_the_request_line_and_framing() -> None:
    meter = HeadMeter(max_count=9, max_bytes=20)
    meter.begin()
    meter.add(10)
    meter.add_header(b"abc", b"def")
    with pytest.raises(HeadTooLarge, match="longer than 20 bytes"):
        meter.add(1)


def test_each_head_is_measured_anew() -> None:
    meter = HeadMeter(max_count=1, max_bytes=20)
    for _head in range(3):
        meter.begin()
        meter.add_header(b"abc", b"def")
        assert (meter.count, meter.size_bytes) == (1, 10)


def test_one_endless_header_is_bounded_though_it_never_ends() -> None:
    meter = HeadMeter(max_count=9, max_bytes=100)
    meter.begin()
    meter.read(5000)  # may hold an earlier request's body
    meter.read(60)
    with pytest.raises(HeadTooLarge):
        meter.read(60)
