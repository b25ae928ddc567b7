"""What do the pages of the documentation say: which links, commands, settings, paths and figures stand in them?"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = ["ROOT", "Call", "Fence", "Page", "every_page", "slug"]

ROOT = Path(__file__).resolve().parents[2]
SHELLS = frozenset({"console", "bash", "sh"})
OUR_URL = "http://127.0.0.1:8000"

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CONSTANT = re.compile(r"(?<![A-Za-z0-9_])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![A-Za-z0-9_])")
_ASSIGNED = re.compile(r"(?<![A-Za-z0-9_])([A-Z][A-Z0-9_]*)=")
_ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")
_METHOD_AND_PATH = re.compile(r"(?<!\w)(GET|POST|PUT|PATCH|DELETE) (/[^\s`,;|]*)")
_BARE_PATH = re.compile(r"/(?:v1|admin|health|ready|metrics|docs|openapi\.json|ui)?(?![\w.-])[^\s]*")
_REPOSITORY_PATH = re.compile(r"(?:app|tests|docs|scripts|deploy|plans|bench|devlog|\.ci)/[\w./-]*[\w]")
_METRIC = re.compile(r"\bmultiverse_[a-z_]+\b")
_TEST_NAME = re.compile(r"\btest_[a-z0-9_]+(?!\w|\.py)")
_FIGURE = re.compile(
    r"\d[\d.,]*\s?(?:(?:ns|us|µs|ms|s|seconds|[KMG]i?B|requests/s|tokens/s|events/s|x|times)(?![\w/])|%)"
    r"|\d[\d.,]* (?:requests|tokens|events) (?:a|per) second"
)
_COMMAND_BESIDE = re.compile(r"`(?:make|multiverse|scripts/\w+|curl|python) ?[^`]*`")


@dataclass(frozen=True, slots=True)
class Fence:
    """One fenced block, without its indentation."""

    language: str
    text: str

    @property
    def command_lines(self) -> list[str]:
        """Its lines, those that end in a backslash joined with what follows."""
        return re.sub(r"\\\n\s*", " ", self.text).splitlines()


@dataclass(frozen=True, slots=True)
class Call:
    """A path of ours, with the method where one is named."""

    method: str | None
    path: str


@dataclass(frozen=True)
class Page:
    """One page in Markdown."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """Its path from the root of the repository."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def fences(self) -> list[Fence]:
        """All fenced blocks."""
        found = []
        for match in _FENCE.finditer(self.text):
            lines = [line.removeprefix(match["indent"]) for line in match["text"].splitlines()]
            found.append(Fence(match["language"], "\n".join(lines)))
        return found

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @cached_property
    def spans(self) -> list[str]:
        """The pieces of code inside the prose."""
        return [" ".join(match[2].split()) for match in _SPAN.finditer(self.prose)]

    @property
    def links(self) -> list[str]:
        """Where its links and pictures lead."""
        return _LINK.findall(_SPAN.sub("", self.prose))

    @property
    def anchors(self) -> set[str]:
        """The anchors of its headings."""
        return {slug(heading) for heading in _HEADING.findall(self.prose)}

    @property
    def shell_lines(self) -> list[str]:
        """All lines that are meant for a shell."""
        return [line for fence in self.fences if fence.language in SHELLS for line in fence.command_lines]

    def commands(self, program: str) -> Iterator[list[str]]:
        """The words after ``program`` wherever it is called, in blocks and in the prose."""
        for line in (*self.shell_lines, *self.spans):
            if re.search(rf"(?<![\w./-]){program}(?![\w./:-])", line) and not line.startswith("curl"):
                for words in _simple_commands(shlex.split(line, comments=True)):
                    if words and words[0] == program:
                        yield words[1:]

    @property
    def constants(self) -> set[str]:
        """Names in capitals with an underscore, and names that are assigned to in code."""
        code = [*self.spans, *(fence.text for fence in self.fences)]
        assigned = {name for text in code for name in _ASSIGNED.findall(text)}
        return set(_CONSTANT.findall(self.text)) | assigned

    def calls(self) -> Iterator[Call]:
        """Paths of ours: with a method, as a bare path in code, or as a URL of the gateway."""
        for method, path in _METHOD_AND_PATH.findall(self.text):
            yield Call(method, path)
        for span in self.spans:
            if _BARE_PATH.fullmatch(span):
                yield Call(None, span)
        for line in (*self.shell_lines, *self.spans):
            method = re.search(r"-X (\w+)", line)
            for path in re.findall(rf"{re.escape(OUR_URL)}(/[^\s`\"']*)", line):
                sends = " -d " in line
                named = method[1] if method else "POST" if sends else "GET" if line.startswith("curl") else None
                yield Call(named, path)

    @property
    def repository_paths(self) -> set[str]:
        """Files and folders of the repository that are named in code."""
        words = {word for span in self.spans for word in span.split()}
        return {word for word in words if _REPOSITORY_PATH.fullmatch(word)}

    @property
    def metrics(self) -> set[str]:
        """Metrics that are named."""
        return set(_METRIC.findall(self.text))

    @property
    def test_names(self) -> set[str]:
        """Single tests that are named in code."""
        return {name for span in self.spans for name in _TEST_NAME.findall(span) if span == name}

    def bare_figures(self) -> list[str]:
        """Measured figures in the prose whose paragraph neither holds nor is followed by a command that shows them."""
        found = []
        blocks = re.split(r"\n\s*\n", _FENCE.sub("\x00\n\n", self.text).replace("\x00", "\n\n\x00"))
        for place, block in enumerate(blocks):
            follows = blocks[place + 1 : place + 2] == ["\x00"]
            if not follows and not _COMMAND_BESIDE.search(block):
                found += [match[0] for match in _FIGURE.finditer(_SPAN.sub("", block))]
        return found


def every_page() -> list[Page]:
    """All pages that the project keeps, sorted."""
    patterns = ("*.md", "docs/*.md", "plans/**/*.md", "devlog/*.md")
    paths = sorted({path for pattern in patterns for path in ROOT.glob(pattern)})
    return [Page(path, path.read_text(encoding="utf-8")) for path in paths]


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    kept = re.sub(r"[^\w\s-]", "", heading.strip().lower())
    return re.sub(r"\s", "-", kept)


def _simple_commands(words: list[str]) -> Iterator[list[str]]:
    """Split at the shell's operators, and drop assignments, redirections and ``sudo`` before the program."""
    current: list[str] = []
    for word in (*words, ";"):
        if word in {"&&", "||", "|", ";"}:
            while current and (_ASSIGNMENT.match(current[0]) or current[0] in {"sudo", "export", "$"}):
                current.pop(0)
            yield current
            current = []
        else:
            current.append(word)
