"""pyproject.toml, the pinned requirements and the scripts agree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import app

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(name: str) -> dict[str, Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-demo.txt", "requirements-dev.txt", "requirements-otel.txt"]
)
def test_everything_is_pinned(name: str):
    for requirement in pins(name).values():
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), requirement


@pytest.mark.parametrize(
    ("wanted", "files"),
    [
        (PROJECT["dependencies"], ["requirements.txt"]),
        (PROJECT["optional-dependencies"]["demo"], ["requirements-demo.txt"]),
        (PROJECT["optional-dependencies"]["otel"], ["requirements-otel.txt"]),
        (PROJECT["optional-dependencies"]["dev"], ["requirements-dev.txt"]),
    ],
)
def test_pins_satisfy_the_project(wanted: list[str], files: list[str]):
    pinned = {name: requirement for file in files for name, requirement in pins(file).items()}
    for line in wanted:
        requirement = Requirement(line)
        pin = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(str(pin.specifier).removeprefix("==")), line
        assert str(requirement.marker or "").replace("'", '"') == str(pin.marker or ""), line


def test_every_dependency_says_what_it_is_for():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    lines = [line for line in block.splitlines() if line.strip().startswith('"')]
    assert len(lines) > 20
    assert [line for line in lines if "#" not in line] == []


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", app.__version__)
    assert "version" in PROJECT["dynamic"]


@pytest.mark.skipif(sys.platform == "win32", reason="scripts are bash; Windows is served by pip")
@pytest.mark.parametrize(
    "script", ["scripts/install", "scripts/lint", "scripts/check", "scripts/test", "scripts/bench", ".ci/run"]
)
def test_scripts_are_strict_executable_bash(script: str):
    path = ROOT / script
    assert os.access(path, os.X_OK)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    subprocess.run(["bash", "-n", str(path)], check=True, timeout=10)
