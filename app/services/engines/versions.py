"""Where does an engine tell which version of it runs? One small GET beside ``/v1``, for those that have one.

vLLM has ``/version``, Ollama ``/api/version`` and TGI ``/info``. SGLang's stands in ``/server_info``, which older ones
call ``/get_server_info``, beside all its settings; llama.cpp's is ``build_info`` in ``/props``, beside the template of
its chats. The others tell it nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.engines.reading import NotJson, Path, decode, readable, text_at

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["version_in", "version_paths"]

_VERSION: Final[Path] = ("version",)
_PLACES: Final[Mapping[str, tuple[tuple[str, Path], ...]]] = {
    "vllm": (("/version", _VERSION),),
    "sglang": (("/server_info", _VERSION), ("/get_server_info", _VERSION)),
    "tgi": (("/info", _VERSION),),
    "llama.cpp": (("/props", ("build_info",)),),
    "ollama": (("/api/version", _VERSION),),
}
_LONGEST: Final = 100


def version_paths(engine: str) -> tuple[str, ...]:
    """Return what to GET, the first that tells a version counts; nothing for an engine that tells none."""
    return tuple(path for path, _ in _PLACES.get(engine, ()))


def version_in(engine: str, path: str, body: bytes) -> str:
    """Read the version out of what a path answered; empty if there is none."""
    where = next((where for known, where in _PLACES.get(engine, ()) if known == path), None)
    try:
        return "" if where is None else readable(text_at(decode(body), where))[:_LONGEST]
    except NotJson:
        return ""
