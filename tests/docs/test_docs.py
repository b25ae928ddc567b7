"""Is what the documentation says so? Links, commands, settings, paths, metrics, codes and files that it names."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import openai
import pytest
import typer
from fastapi.routing import iter_route_contexts

from app.cli.root import build
from app.routers import dashboard
from app.routers import docs as docs_routes
from app.routers.api import create_api
from app.routers.schemas import ChangeServer, HoldRequest, RegisterServer
from app.services.core import errors
from app.services.core.answer.usage import Usage
from app.services.core.errors import GatewayError
from app.services.core.http.surfaces import INFERENCE_PATHS, is_account, match
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.request_line import json_lines
from app.services.core.reporting.tallies import Tallies
from app.services.exposition import families
from app.services.pulse import Lateness
from app.utils.config import Settings
from tests.docs.pages import ROOT, Page, every_page
from tests.fakes.flow import StillFlow

PAGES = every_page()
MANUAL = [page for page in PAGES if not page.name.startswith(("plans/", "devlog/"))]
README = next(page for page in PAGES if page.name == "README.md")
DECISIONS = [page for page in PAGES if re.match(r"plans/decisions/\d{4}-", page.name)]
USAGE_ERROR: Any = typer.BadParameter.__base__
"""What a command line that doesn't parse raises; Typer does not name it in public."""

READ_BY_COMMANDS = {"GATEWAY_URL", "GATEWAY_KEY"}
READ_BY_OTHERS = {
    "ENABLE_OLLAMA_API": "Open WebUI",
    "OPENAI_API_BASE_URL": "Open WebUI",
    "OPENAI_API_BASE": "aider",
    "OPENAI_API_KEY": "Open WebUI and aider",
    "OLLAMA_HOST": "Ollama",
    "SCREENSHOTS": "the tests of pages",
    "OLLAMA_CONTEXT_LENGTH": "Ollama",
}
PLACEHOLDERS = {"NAME", "VLLM_KEY", "LLAMA_KEY", "SGLANG_KEY", "REGISTRATION_ID"}

by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
by_manual_page = pytest.mark.parametrize("page", MANUAL, ids=lambda page: page.name)


@cache
def sources(folder: str) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / folder).rglob("*.py")))


@cache
def command_line() -> Any:
    return typer.main.get_command(build())


@cache
def our_routes() -> frozenset[tuple[str, str]]:
    """Method and path of all routes outside ``/v1``, as the application itself describes them, pages included."""
    described = create_api("0").openapi()["paths"]
    routes = {(method.upper(), path) for path, operations in described.items() for method in operations}
    contexts = iter_route_contexts(dashboard.router.routes)
    pages = {(method, context.path) for context in contexts for method in context.methods or ()}
    return frozenset(routes | pages | {("GET", route.path) for route in docs_routes.router.routes})


def parse(words: list[str]) -> None:
    """Parse a command line as the program would, without running it; a command alone is only looked up."""
    current, left = command_line(), list(words)
    while left and hasattr(current, "commands"):
        word = left.pop(0)
        if word.startswith("-"):
            names = {name for parameter in current.params for name in parameter.opts}
            if getattr(current, "invoke_without_command", False):
                left.insert(0, word)
                break
            assert word in names | {"--help", "-h"}, f"no option {word}"
        else:
            assert word in current.commands, f"no command {word}"
            current = current.commands[word]
    if left and left != ["--help"]:
        current.make_context(current.name, left)


def problem_of_call(method: str | None, path: str) -> str | None:
    """Say why a path is none of ours, None if it is one. Without a method it may be the beginning of one."""
    plain = re.sub(r"REGISTRATION_ID|3f2a", "x", path.partition("?")[0])
    if plain.startswith("/v1/") and not is_account(plain.encode()):
        try:
            named = method or ("POST" if plain in INFERENCE_PATHS else "GET")
            match(named.encode(), plain)
        except GatewayError as error:
            return error.message
        return None
    for known_method, template in our_routes():
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", template)
        if method in {None, known_method} and re.fullmatch(pattern, plain):
            return None
    everything = {template for _method, template in our_routes()} | INFERENCE_PATHS
    is_beginning = any(template.startswith(f"{plain.rstrip('/')}/") for template in everything)
    return None if method is None and is_beginning else f"{method or 'any method'} {path} does not exist"


@by_name
def test_links_lead_somewhere(page: Page) -> None:
    known = {other.path: other.anchors for other in PAGES}
    for link in page.links:
        if re.match(r"https?://|mailto:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in known[path], f"{link}: there is no such heading"


@by_name
def test_commands_parse(page: Page) -> None:
    for words in page.commands("multiverse"):
        try:
            parse(words)
        except USAGE_ERROR as error:
            pytest.fail(f"multiverse {shlex.join(words)}: {error.format_message()}")


@by_name
def test_make_targets_exist(page: Page) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in page.commands("make"):
        assert set(words) <= targets, f"make {shlex.join(words)}"


@by_manual_page
def test_settings_exist(page: Page) -> None:
    settings = {name.upper() for name in Settings.model_fields}
    known = settings | READ_BY_COMMANDS | set(READ_BY_OTHERS) | PLACEHOLDERS
    unknown = {name for name in page.constants - known if not re.search(rf"(?m)^{name}\b[^=]*=", sources("app"))}
    assert not unknown


def test_no_name_of_another_program_is_left_over() -> None:
    named = set().union(*(page.constants for page in MANUAL))
    assert set(READ_BY_OTHERS) | PLACEHOLDERS | READ_BY_COMMANDS <= named


@by_manual_page
def test_example_settings_are_valid(page: Page) -> None:
    for fence in page.fences:
        if fence.language == "ini":
            values: dict[str, Any] = dict(line.split("=", 1) for line in fence.text.splitlines())
            Settings(_env_file=None, **{name.lower(): value for name, value in values.items()})


@by_manual_page
def test_paths_exist(page: Page) -> None:
    problems = [problem for call in page.calls() if (problem := problem_of_call(call.method, call.path))]
    assert not problems


def test_every_route_is_on_the_map() -> None:
    api = next(page for page in PAGES if page.name == "docs/api.md")
    named = {(call.method, re.sub(r"\{[^}]+\}", "{id}", call.path)) for call in api.calls()}
    ours = {
        (method, re.sub(r"\{[^}]+\}", "{id}", path))
        for method, path in our_routes()
        if "/assets/" not in path and not path.startswith("/ui/")  # the pages have a manual of their own
    }
    assert ours | {("POST", path) for path in INFERENCE_PATHS} <= named


def bodies(page: Page) -> Iterator[tuple[str, str]]:
    """URL and body of every request to the admin API that is written out."""
    for fence in page.fences:
        if fence.language == "console" and fence.text.startswith("curl") and "/admin/" in fence.text:
            words = shlex.split(fence.text)
            url = next(word for word in words if word.startswith("http"))
            yield (f"PATCH {url}" if "PATCH" in words else url), words[words.index("-d") + 1]


@by_manual_page
def test_example_bodies_are_taken(page: Page) -> None:
    for url, body in bodies(page):
        model = (
            ChangeServer if url.startswith("PATCH") else RegisterServer if url.endswith("/register") else HoldRequest
        )
        model.model_validate_json(body)


@by_manual_page
def test_examples_are_well_formed(page: Page) -> None:
    for fence in page.fences:
        if fence.language == "json":
            json.loads(fence.text)
        elif fence.language == "python":
            compile(fence.text, page.name, "exec")


def test_metrics_are_those_that_exist() -> None:
    told = families(Tallies(), StillFlow(), Lateness(), lines_dropped=0, spans_dropped=0)
    exist = {f"{family.name}_total" if family.type == "counter" else family.name for family in told}
    operators = next(page for page in PAGES if page.name == "docs/operators.md")
    assert operators.metrics == exist
    assert set().union(*(page.metrics for page in PAGES)) <= exist


def test_the_request_line_in_the_manual_has_the_fields_that_are_written() -> None:
    operators = next(page for page in PAGES if page.name == "docs/operators.md")
    shown = next(json.loads(fence.text) for fence in operators.fences if fence.language == "json")
    outcome = Outcome("r", "c", "k", "/v1/x", "m", None, 200, None, False, 1, 0.1, None, Usage(1, 1))
    assert list(shown) == list(json.loads(json_lines([outcome])))


def test_error_codes_are_those_that_exist() -> None:
    leaves = [value for _name, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, GatewayError)]
    spans = {span for page in PAGES if page.name in {"docs/users.md", "docs/api.md"} for span in page.spans}
    undocumented = {leaf.default_code for leaf in leaves} - spans
    assert not undocumented
    users = next(page for page in PAGES if page.name == "docs/users.md")
    codes = re.findall(r"^\| \d{3} \| (.+?) \|", users.text, re.MULTILINE)
    for code in re.findall(r"`(\w+)`", " ".join(codes)):
        assert f'"{code}"' in sources("app"), f"nothing answers with {code}"


@by_name
def test_files_and_tests_that_are_named_exist(page: Page) -> None:
    rooms = (ROOT, ROOT / "app" / "services")
    named = {span for span in page.spans if re.fullmatch(r"[\w./]+\.py", span)}
    assert not {name for name in named if not any((room / name).exists() for room in rooms)}
    missing = {path for path in page.repository_paths if not (ROOT / path).exists()}
    assert not missing
    assert not {name for name in page.test_names if f"def {name}(" not in sources("tests")}


@by_name
def test_classes_that_are_named_exist(page: Page) -> None:
    named = {span for span in page.spans if re.fullmatch(r"(?:[A-Z][a-z]+){2,}", span)}
    assert not {name for name in named if not hasattr(openai, name) and not re.search(rf"\b{name}\b", sources("app"))}


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.name)
def test_a_decision_says_why_and_names_its_check(page: Page) -> None:
    assert {"context", "decision", "consequences", "the-check"} <= page.anchors
    check = Page(page.path, page.text.partition("## The check")[2])
    assert check.repository_paths or "make check" in check.spans
    number = page.path.name[:4]
    assert page.text.startswith(f"# {number} ")
    index = next(other for other in PAGES if other.name == "plans/decisions/README.md")
    assert page.path.name in index.links


def test_the_first_screen_is_a_sentence_a_picture_and_two_commands() -> None:
    first = README.fences[0]
    assert [line.partition("#")[0].strip() for line in first.text.splitlines()] == ["make run", "make test"]
    before = README.text.partition("```")[0]
    assert before.startswith("# Multiverse Inference Gateway\n")
    assert before.count("\n\n") == 3
    assert len(before.splitlines()) < 12
    assert "](docs/overview.svg)" in before


def test_the_readme_has_no_figure_without_a_command_that_shows_it() -> None:
    assert README.bare_figures() == []


def test_the_picture_stands_alone_and_follows_light_and_dark() -> None:
    text = (ROOT / "docs" / "overview.svg").read_text(encoding="utf-8")
    root = ET.fromstring(text)  # noqa: S314 - our own file
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg", "http://gateway:8000/v1"}
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"<script|<image|@import|url\((?!#)", text)


def test_there_are_pages() -> None:
    names = {page.name for page in PAGES}
    expected = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "plans/architecture.md"}
    expected |= {
        f"docs/{name}.md" for name in ("api", "development", "operators", "owners", "security", "settings", "users")
    }
    assert expected <= names
    assert len(DECISIONS) >= 10
    assert Path(ROOT / "deploy" / "multiverse.service").is_file()
