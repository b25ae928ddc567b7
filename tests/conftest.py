"""What holds for every test: a clean environment, deterministic properties, and skips that can be made failures."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings as hypothesis_settings

from app.utils.config import Settings

OURS_BUT_NO_SETTINGS = ("GATEWAY_URL", "GATEWAY_KEY", "FORCE_COLOR", "NO_COLOR")

hypothesis_settings.register_profile("default", deadline=None, derandomize=True, max_examples=100)
hypothesis_settings.register_profile("explore", deadline=None, max_examples=5_000)
hypothesis_settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--strict-skips",
        action="store_true",
        help="count a skipped test as failed: where everything is installed, nothing may be left out",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Don't watch which lines properties run: they draw hundreds of examples, and would take three times as long."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.no_cover)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    if not hasattr(report, "wasxfail"):
        _fail_a_skip(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    report = yield
    _fail_a_skip(report, collector.config)
    return report


def _fail_a_skip(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    if report.skipped and config.getoption("--strict-skips"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"--strict-skips: {reason}"


@pytest.fixture(autouse=True)
def heard_signals() -> None:
    """Let what a test starts hear SIGHUP and SIGINT: under nohup, in a shell's background, or after a test that
    ignored them, nothing would."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) in {signal.SIG_IGN, None}:
        signal.signal(hangup, lambda _number, _frame: None)  # what is started anew begins with the default
    if signal.getsignal(signal.SIGINT) in {signal.SIG_IGN, None}:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of whoever runs the tests."""
    for name in (*Settings.model_fields, *OURS_BUT_NO_SETTINGS):
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder: no .env, no database, no logs but those that the test makes."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def blocking_calls_fail() -> Iterator[BlockBuster]:
    """Raise ``BlockingError`` when the gateway's code blocks the event loop."""
    with blockbuster_ctx("app") as guard:
        yield guard
