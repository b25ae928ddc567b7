"""llama-cpp-python 0.3.35: FastAPI over one model at a time, which it closes for another one that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tests.fakes.engines.interface import FakeEngine, Page
from tests.fakes.model_server import Seen

__all__ = ["FakeLlamaCppPython"]


class FakeLlamaCppPython(FakeEngine):
    """Owns its models as ``me``, with an empty list of permissions."""

    headers: ClassVar[Mapping[str, str]] = {"server": "uvicorn"}
    swaps = True

    def pages(self) -> dict[str, Page]:
        entries = [{"id": name, "object": "model", "owned_by": "me", "permissions": []} for name in self.models]
        return {"/v1/models": Page({"object": "list", "data": entries})}

    def error(self, status: str, message: str) -> Page:
        code = "context_length_exceeded" if "context" in message else None
        return Page(
            {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}, status
        )

    def unknown_path(self, seen: Seen) -> Page:
        return Page({"detail": "Not Found"}, "404 Not Found")
