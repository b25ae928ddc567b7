"""Do those decisions hold that no other test watches?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import app.main
from tests.docs.pages import ROOT


def test_importing_the_composition_root_touches_nothing(tmp_path: Path) -> None:
    """plans/decisions/0008: ``app`` is built when it is first asked for, and not by an import."""
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PORT": "no number"}
    done = subprocess.run([sys.executable, "-c", "import app.main"], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_asking_for_the_app_with_wrong_settings_ends_with_their_names(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PORT": "no number"}
    code = "import app.main; app.main.app"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_composition_root_has_no_other_attributes() -> None:
    with pytest.raises(AttributeError, match="application"):
        _missing = app.main.application
