"""A skipped test counts as failed where ``--strict-skips`` says so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

def test_runs():
    pass

@pytest.mark.skip(reason="by mark")
def test_marked():
    pass

def test_inside():
    pytest.skip("by itself")

@pytest.mark.xfail(reason="known", strict=True)
def test_expected_to_fail():
    assert False
"""
MODULE = 'import pytest\npytest.importorskip("no_such_module_anywhere")\n'


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "tests/conftest.py", folder / "conftest.py")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_some.py").write_text(TESTS)
    (folder / "test_module.py").write_text(MODULE)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *options]
    environment = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False, encoding="utf-8"
    )


def test_skips_pass_by_default(tmp_path: Path):
    ended = run_pytest(tmp_path)
    assert ended.returncode == 0, ended.stdout
    assert "1 passed, 3 skipped, 1 xfailed" in ended.stdout


@pytest.mark.parametrize("named", [(), ("test_some.py",)])
def test_strict_skips_fail_and_say_why(tmp_path: Path, named: tuple[str, ...]):
    ended = run_pytest(tmp_path, "--strict-skips", *named)
    assert ended.returncode != 0
    assert "--strict-skips: " in ended.stdout
    assert "skipped" not in ended.stdout.splitlines()[-1]
    if named:
        assert "1 failed, 1 passed, 1 xfailed, 1 error" in ended.stdout
        assert "by mark" in ended.stdout
        assert "by itself" in ended.stdout
