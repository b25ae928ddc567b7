"""What does someone need to read once the demo runs? Lines to copy and paste, each of which works as it stands."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DemoServer", "Guide", "curl_line", "guide_text", "kill_line", "python_snippet"]

PYTHON_TITLE = "From Python (pip install openai)"

QUESTION = "Explain in two sentences what a gateway does."


@dataclass(frozen=True, slots=True)
class DemoServer:
    """One registered model server. ``pid`` is None where it was running before the demo."""

    url: str
    registration_id: str
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Guide:
    """All that is told: where the gateway is, what opens it, which model answers, and who serves it."""

    base_url: str
    key: str
    model: str
    servers: tuple[DemoServer, ...]

    @property
    def root_url(self) -> str:
        """The gateway's URL without ``/v1``."""
        return self.base_url.removesuffix("/v1")

    def as_json(self) -> dict[str, Any]:
        """The same for scripts."""
        servers = [
            {"pid": server.pid, "url": server.url, "registration_id": server.registration_id} for server in self.servers
        ]
        return {"base_url": self.base_url, "key": self.key, "model": self.model, "servers": servers}


def curl_line(guide: Guide, *, stream: bool, windows: bool) -> str:
    """A complete curl call on one line, quoted for the shell of the system."""
    body: dict[str, Any] = {"model": guide.model, "messages": [{"role": "user", "content": QUESTION}]}
    body["max_tokens"] = 80
    if stream:
        body["stream"] = True
    words = ["curl", "-sN" if stream else "-s", f"{guide.base_url}/chat/completions"]
    words += ["-H", f"Authorization: Bearer {guide.key}", "-H", "Content-Type: application/json"]
    words += ["-d", json.dumps(body)]
    return _join(words, windows=windows)


def kill_line(pid: int, *, windows: bool) -> str:
    """The command that ends one model server."""
    return f"taskkill /F /PID {pid}" if windows else f"kill {pid}"


def python_snippet(guide: Guide) -> str:
    """A program for the unmodified openai package."""
    lines = (
        "from openai import OpenAI",
        f"client = OpenAI(base_url={guide.base_url!r}, api_key={guide.key!r})",
        f"messages = [{{'role': 'user', 'content': {QUESTION!r}}}]",
        f"answer = client.chat.completions.create(model={guide.model!r}, messages=messages)",
        "print(answer.choices[0].message.content)",
    )
    return "\n".join(lines)


def guide_text(guide: Guide, first_answer: str, *, windows: bool) -> str:
    """The whole page: each part indented below its title but the Python, which would not be Python any more."""
    parts = [
        ("The gateway answers", f"Base URL:  {guide.base_url}\nKey:       {guide.key}\nModel:     {guide.model}"),
        ("Its first answer, from a real model", first_answer),
        ("Ask it", curl_line(guide, stream=False, windows=windows)),
        ("Watch the answer being written", curl_line(guide, stream=True, windows=windows)),
        (PYTHON_TITLE, python_snippet(guide)),
        ("Look at it", _look_at_it(guide)),
        ("Break it", _break_it(guide.servers, windows=windows)),
        ("All that it can do", f"{guide.root_url}/docs"),
        ("End", _end(guide.servers)),
    ]
    return "\n\n".join(f"{title}\n{text if title == PYTHON_TITLE else _indented(text)}" for title, text in parts)


def _look_at_it(guide: Guide) -> str:
    words = f"{guide.root_url}/ui\nSign in with the key above."
    if any(server.pid is not None for server in guide.servers):
        words += " The playground has a button that kills the server which is answering."
    return words


def _end(servers: Sequence[DemoServer]) -> str:
    if any(server.pid is not None for server in servers):
        return "Ctrl-C ends the gateway and the model servers it started; nothing is left behind."
    return "Ctrl-C ends the gateway; the model servers, which were here before it, are left as they are."


def _break_it(servers: Sequence[DemoServer], *, windows: bool) -> str:
    own = [server for server in servers if server.pid is not None]
    if not own and len(servers) == 1:
        return "You have one server; `multiverse demo --no-engines` starts two and lets you kill one."
    if not own:
        return "Stop one of two engines that have the same model: the next answer comes from the other."
    listed = "\n".join(f"{server.url}  is process {server.pid}" for server in own)
    if len(own) == 1:
        return f"{listed}\nWith --servers 2 or more, one can be killed and the next answer comes all the same."
    kill = kill_line(own[0].pid or 0, windows=windows)
    return f"{listed}\n{kill}\nDo it while an answer is being written: another server goes on with it. Then ask again."


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _join(words: list[str], *, windows: bool) -> str:
    return subprocess.list2cmdline(words) if windows else shlex.join(words)
