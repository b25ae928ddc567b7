"""Do the commands and programs that the pages offer for copying work as they stand, against a running gateway?"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from app.routers.dashboard.quoting import in_javascript, in_shell
from app.routers.dashboard.snippet_parts import Connection, Part, Quoting
from app.routers.dashboard.snippets import tools_for
from tests.fakes.gateway_in_process import ADMIN_KEY, open_in_process
from tests.fakes.model_server import FakeModelServer, serving

NAMES = ["plain", 'it\'s "a" $(name) of \\ its own', "模型 \u202e🦙"]


def filled(part: Part) -> str:
    """A text with the key in its place, quoted as a browser does."""
    quoted = in_shell(ADMIN_KEY) if part.key is Quoting.SHELL else in_javascript(ADMIN_KEY)
    return part.before + quoted + part.after


async def output_of(*command: str, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complained = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, complained.decode()
    return said.decode()


@pytest.mark.parametrize("name", NAMES)
async def test_curl_and_python_get_an_answer(tmp_path, name):
    if shutil.which("curl") is None:
        pytest.skip("needs curl, whose command is tried: apt-get install curl")
    async with serving(FakeModelServer()) as (server,), open_in_process(tmp_path) as gateway:
        answer = await gateway.register(server.url, models=[{"name": name, "upstream_name": "m"}])
        assert answer.status_code == 201, answer.text
        tools = {one.id: one for one in tools_for(Connection(name, f"http://127.0.0.1:{gateway.ports['door']}/v1"))}
        said = json.loads(await output_of("bash", "-c", filled(tools["curl"].parts[0]), folder=tmp_path))
        assert said["model"] == name
        content = said["choices"][0]["message"]["content"]
        program = tmp_path / "hello.py"
        program.write_text(filled(tools["openai-python"].parts[0]), encoding="utf-8")
        assert (await output_of(sys.executable, str(program), folder=tmp_path)).strip() == content.strip()
        assert [seen.json["model"] for seen in server.inference] == ["m", "m"]
