"""Settings, ``.env.example`` and ``docs/settings.md`` say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dotenv import dotenv_values

from app.utils.config import Settings, load_settings
from app.utils.settings_docs import ENV_EXAMPLE, SETTINGS_PAGE, env_example, main, settings_page

ROOT = Path(__file__).parents[3]


def example_values() -> dict[str, str]:
    text = (ROOT / ENV_EXAMPLE).read_text(encoding="utf-8")
    return dict(re.findall(r"^# ([A-Z_]+)=(.*)$", text, re.MULTILINE))


def test_the_files_are_what_the_settings_give():
    assert (ROOT / ENV_EXAMPLE).read_text(encoding="utf-8") == env_example()
    assert (ROOT / SETTINGS_PAGE).read_text(encoding="utf-8") == settings_page()


def test_the_example_has_every_name_once():
    text = (ROOT / ENV_EXAMPLE).read_text(encoding="utf-8")
    names = re.findall(r"^# ([A-Z_]+)=", text, re.MULTILINE)
    assert sorted(names) == sorted(name.upper() for name in Settings.model_fields)


def test_the_example_with_every_comment_taken_away_is_the_default(empty_directory: Path):
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in example_values().items()))
    assert dotenv_values(".env").keys() == example_values().keys()
    given = load_settings().model_dump()
    Path(".env").unlink()
    assert given == load_settings().model_dump()


def test_the_page_has_name_type_default_bounds_and_meaning():
    page = (ROOT / SETTINGS_PAGE).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+) \| (.+) \| (.+) \| (.+) \|$", page, re.MULTILINE)
    defaults = {name: default for name, _kind, default, _rule, _meaning in rows}
    assert defaults == {name: f"`{value}`" if value else "unset" for name, value in example_values().items()}


def test_each_line_of_the_example_fits_a_screen():
    assert max(map(len, env_example().splitlines())) <= 120


def test_writing_needs_the_checkout(empty_directory: Path):
    with pytest.raises(SystemExit, match="root of the checkout"):
        main()
    Path("pyproject.toml").touch()
    main()
    assert Path(ENV_EXAMPLE).read_text(encoding="utf-8") == env_example()
