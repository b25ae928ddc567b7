"""Do the readers of the documentation find what they are for? A reader that finds nothing would hold nothing."""

from __future__ import annotations

import shlex

import pytest

from tests.docs.pages import ROOT, Call, Page, slug
from tests.docs.test_docs import USAGE_ERROR, parse, problem_of_call


def page_of(text: str) -> Page:
    return Page(ROOT / "docs" / "sample.md", text)


@pytest.mark.parametrize(
    "line", ["fly", "serve --fast", "servers add", "servers add one two", "servers list --status", "serve --port many"]
)
def test_a_command_that_does_not_exist_is_refused(line: str) -> None:
    words = [*shlex.split(line), *(["--json"] if line == "servers add" else [])]
    with pytest.raises((AssertionError, USAGE_ERROR)):
        parse(words)


@pytest.mark.parametrize("line", ["", "serve", "restore", "serve --port 9000", "servers add http://h:1 --model a=b"])
def test_a_command_that_exists_is_taken(line: str) -> None:
    parse(shlex.split(line))


def test_commands_are_found_wherever_they_stand() -> None:
    text = """Say `multiverse serve`.

```console
A=1 multiverse init --yes  # why
cd x && multiverse doctor
  multiverse servers add \\
    http://h:1
```
"""
    found = list(page_of(text).commands("multiverse"))
    assert found == [["init", "--yes"], ["doctor"], ["servers", "add", "http://h:1"], ["serve"]]


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("`POST /admin/servers`", Call("POST", "/admin/servers")),
        ("`/admin/nothing`", Call(None, "/admin/nothing")),
        ("`GET /v1/chat/completions`", Call("GET", "/v1/chat/completions")),
        ("`/ui/nothing`", Call(None, "/ui/nothing")),
        ("```console\ncurl -s http://127.0.0.1:8000/nothing\n```\n", Call("GET", "/nothing")),
    ],
)
def test_a_path_that_is_none_of_ours_is_found_and_refused(text: str, call: Call) -> None:
    assert list(page_of(text).calls())[-1] == call
    assert problem_of_call(call.method, call.path)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/admin/servers?model=m"), (None, "/v1"), (None, "/admin"), ("DELETE", "/admin/register/{id}")],
)
def test_a_path_of_ours_is_taken(method: str | None, path: str) -> None:
    assert problem_of_call(method, path) is None


def test_names_of_settings_are_found_in_prose_and_in_code() -> None:
    text = "Set MAX_ATTEMPTS.\n\n```ini\nPORT=1\n```\n\n`HOST=::` and `lower_case`, X-API-KEY."
    assert page_of(text).constants == {"MAX_ATTEMPTS", "PORT", "HOST"}


@pytest.mark.parametrize("text", ["It takes 24 us.", "It is 2 times as fast.", "98.5 % arrive.", "900 tokens a second"])
def test_a_bare_figure_is_found_unless_a_command_shows_it(text: str) -> None:
    assert page_of(f"{text}\n").bare_figures()
    assert not page_of(f"{text} Run `make bench`.\n").bare_figures()
    assert not page_of(f"{text}\n\n```console\nmake bench\n```\n").bare_figures()


def test_files_and_tests_are_found() -> None:
    page = page_of("`app/main.py` and `scripts/test tests/unit -k x`, `test_something`, `tests/test_x.py`.")
    assert page.repository_paths == {"app/main.py", "scripts/test", "tests/unit", "tests/test_x.py"}
    assert page.test_names == {"test_something"}


def test_links_inside_code_are_no_links() -> None:
    assert page_of("[here](a.md#b) but not `[there](c.md)`.").links == ["a.md#b"]


def test_an_anchor_is_made_as_github_makes_it() -> None:
    assert slug("What it does not do yet") == "what-it-does-not-do-yet"
    assert slug("Networks: which servers?") == "networks-which-servers"
