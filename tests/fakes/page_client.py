"""Somebody who is signed in to the pages of a gateway in this process, without a browser: what forms send and get."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import httpx2

from tests.fakes.gateway_in_process import ADMIN_KEY, GatewayInProcess

__all__ = ["PageClient", "text_of"]

_TOKEN = re.compile(r'name="csrf" value="([^"]+)"')


class PageClient:
    """One sign-in. ``htmx`` asks for a part of a page, as htmx does."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self.token = ""

    @classmethod
    async def sign_in(cls, gateway: GatewayInProcess, key: str = ADMIN_KEY, **options: Any) -> PageClient:
        base_url = f"http://127.0.0.1:{gateway.ports['door']}"
        one = cls(httpx2.AsyncClient(base_url=base_url, headers={"accept": "text/html"}, timeout=30, **options))
        answer = await one.client.post("/ui/sign-in", data={"key": key})
        assert answer.status_code == 303, answer.text
        found = _TOKEN.search((await one.client.get("/ui/models")).text)
        assert found is not None
        one.token = found[1]
        return one

    async def get(self, path: str, *, htmx: bool = False) -> httpx2.Response:
        return await self.client.get(path, headers={"hx-request": "true"} if htmx else {})

    async def post(
        self, path: str, fields: Mapping[str, object], *, htmx: bool = False, token: str | None = None
    ) -> httpx2.Response:
        data = {"csrf": self.token if token is None else token, **fields}
        return await self.client.post(path, data=data, headers={"hx-request": "true"} if htmx else {})

    async def close(self) -> None:
        await self.client.aclose()


def text_of(markup: str) -> str:
    """The words of a page, without its markup."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", markup)).split())
