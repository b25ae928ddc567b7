"""How is each gateway set up for servers that die? Ours as it is by default; the others as well as they can be.

Each peer gets what it has against churn: fast checks, retries on other servers, ejection that lets servers return, and
no breaker that opens for a minute. What a peer offers and is left out here is said beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.churn.answering import MODEL
from bench.configurations import envoy_file, litellm_file, nginx_file
from bench.gateways import GATEWAYS
from bench.sites import KEY, Launch, Site

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.gateways import Gateway

__all__ = ["CONTENDERS", "Contender"]


@dataclass(frozen=True, slots=True)
class Contender:
    """A gateway under churn.

    Attributes:
        gateway: how it is installed and started.
        words: what was set, in a sentence for people.
        most_rate: requests a second that it can hold; None for as many as are asked.
        lacks: kinds of request that it does not pass on as they are.
    """

    gateway: Gateway
    words: str
    most_rate: float | None = None
    lacks: tuple[str, ...] = ()


_NGINX_SERVER = " max_fails=1 fail_timeout=1s;"
_NGINX_RETRIES = """\
      proxy_connect_timeout 1s;
      proxy_next_upstream error timeout invalid_header http_500 http_502 http_503 http_504 http_429 non_idempotent;
      proxy_next_upstream_tries 4;
      proxy_read_timeout 60s;
"""
_ROUTER_OPTIONS = (
    *("--disable-circuit-breaker", "--retry-max-retries", "5", "--retry-initial-backoff-ms", "20"),
    *("--health-check-interval-secs", "1", "--health-check-timeout-secs", "1"),
    *("--health-failure-threshold", "1", "--health-success-threshold", "1"),
)
_ENVOY_RETRIES: dict[str, Any] = {
    "retry_on": "connect-failure,refused-stream,reset,reset-before-request,gateway-error,5xx,retriable-status-codes",
    "retriable_status_codes": [429],
    "num_retries": 3,
    "retry_back_off": {"base_interval": "0.02s", "max_interval": "0.2s"},
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            },
        }
    ],
    "host_selection_retry_max_attempts": 5,
}
_ENVOY_CLUSTER: dict[str, Any] = {
    "connect_timeout": "1s",
    "close_connections_on_host_health_failure": True,
    "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    "health_checks": [
        {
            "timeout": "1s",
            "interval": "1s",
            "no_traffic_interval": "1s",
            "unhealthy_threshold": 2,
            "healthy_threshold": 1,
            "http_health_check": {"path": "/health"},
        }
    ],
    "outlier_detection": {
        "consecutive_5xx": 3,
        "interval": "1s",
        "base_ejection_time": "1s",
        "max_ejection_time": "4s",
        "max_ejection_percent": 50,
    },
}


def _nginx(site: Site) -> Launch:
    launch = _configured("nginx", site)
    text = nginx_file(site)
    for port in site.upstream_ports:
        text = text.replace(f"server 127.0.0.1:{port};", f"server 127.0.0.1:{port}{_NGINX_SERVER}")
    return replace(launch, files={"nginx.conf": text.replace("      proxy_read_timeout 600s;\n", _NGINX_RETRIES)})


def _envoy(site: Site) -> Launch:
    bootstrap = json.loads(envoy_file(site))
    resources = bootstrap["static_resources"]
    resources["clusters"][0] |= _ENVOY_CLUSTER
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    route["retry_policy"] = _ENVOY_RETRIES
    return replace(_configured("envoy", site), files={"envoy.yaml": json.dumps(bootstrap, indent=1) + "\n"})


def _router(name: str) -> Callable[[Site], Launch]:
    def configure(site: Site) -> Launch:
        launch = _configured(name, site)
        return replace(launch, command=(*launch.command, *_ROUTER_OPTIONS))

    return configure


def _litellm(site: Site) -> Launch:
    settings = json.loads(litellm_file(site, (MODEL,), KEY))
    settings["litellm_settings"] |= {"num_retries": 3, "request_timeout": 60}
    settings["router_settings"] |= {"num_retries": 3, "retry_after": 0, "allowed_fails": 1, "cooldown_time": 4}
    return replace(_configured("litellm", site), files={"litellm.yaml": json.dumps(settings, indent=1) + "\n"})


def _configured(name: str, site: Site) -> Launch:
    """As the speed benchmark starts it."""
    return _named(name).configure(site)


def _named(name: str) -> Gateway:
    return next(gateway for gateway in GATEWAYS if gateway.name == name)


CONTENDERS = (
    Contender(_named("ours"), "default settings"),
    Contender(
        replace(_named("envoy"), configure=_envoy),
        "checks every second, 3 retries on other hosts, outlier detection that ejects half at most, panic mode off",
    ),
    Contender(
        replace(_named("nginx"), configure=_nginx),
        "next upstream for all that it can retry, POST included; one failure takes a server out for a second",
    ),
    Contender(
        replace(_named("vllm-router"), configure=_router("vllm-router")),
        "checks every second, one decides; 5 retries; its breaker off, which opens all circuits for a minute",
    ),
    Contender(
        replace(_named("sglang-router"), configure=_router("sglang-router")),
        "checks every second, one decides; 5 retries; its breaker off",
    ),
    Contender(
        replace(_named("litellm"), configure=_litellm),
        "3 retries, a server that failed cools for 4 s; its fallbacks in mid-stream ask another model anew and are off",
        most_rate=8.0,
        lacks=("choices",),
    ),
)
