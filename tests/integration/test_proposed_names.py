"""Are names that are one model proposed by what their servers tell of themselves, chat templates among it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.engines.pool import fake_engine
from tests.fakes.gateway_in_process import GatewayInProcess, open_in_process
from tests.fakes.gateway_process import until
from tests.fakes.model_server import serving

NAMES = ("llama3.1:8b", "/models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf")


async def reason_of(gateway: GatewayInProcess) -> str:
    """Why the one proposal is made, once servers have told of their templates."""

    async def told() -> str:
        (proposal,) = (await gateway.client.get("/admin/model-classes")).json()["proposals"]
        reason: str = proposal["reason"]
        return reason if "template" in reason else ""

    return await until(told, "templates are told")


@pytest.mark.parametrize(
    ("templates", "words"),
    [
        (("{{ a }}", "{{ a }}\n"), "same chat template"),
        (("{{ a }}", "{{ b }}"), "chat templates differ between"),
    ],
)
async def test_templates_are_compared(tmp_path: Path, templates: tuple[str, str], words: str) -> None:
    settings: dict[str, Any] = {"continuation_enabled": False, "verification_enabled": False}
    servers = [
        fake_engine("llama.cpp", models=[name], template=template)
        for name, template in zip(NAMES, templates, strict=True)
    ]
    async with serving(*servers), open_in_process(tmp_path, **settings) as gateway:
        for server in servers:
            assert (await gateway.register(server.url)).status_code == 201
        assert words in await reason_of(gateway)
