"""How are the peers that read files configured? Each as its own manual advises for streams, and for speed.

Everything a benchmark could be accused of is set in the peers' favour: one worker for the one core, warm connections to
the upstreams, no access log, no limits that the works would reach, no buffering of streams.
"""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.sites import Site

__all__ = ["envoy_file", "litellm_file", "nginx_file"]

_ENVOY_TYPES = "type.googleapis.com/envoy.extensions"
_NGINX = """\
%(user)sworker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr error;
events { worker_connections 20000; }
http {
  access_log off;
  server_tokens off;
  client_max_body_size 32m;
  client_body_buffer_size 1m;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  client_body_temp_path temp;
  proxy_temp_path temp;
  fastcgi_temp_path temp;
  uwsgi_temp_path temp;
  scgi_temp_path temp;
  upstream models {
    %(servers)s
    keepalive 4096;
    keepalive_requests 100000000;
  }
  server {
    listen 127.0.0.1:%(port)d%(tls)s backlog=4096;
%(certificate)s    location / {
      proxy_pass http://models;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }
  }
}
"""


def nginx_file(site: Site) -> str:
    """The whole nginx.conf."""
    certificate = ""
    if site.tls is not None:
        certificate = f"    ssl_certificate {site.tls.certificate};\n    ssl_certificate_key {site.tls.key};\n"
    return _NGINX % {
        "user": f"user {getpass.getuser()};\n" if site.runs_as_root else "",
        "servers": "\n    ".join(f"server 127.0.0.1:{port};" for port in site.upstream_ports),
        "port": site.port,
        "tls": " ssl" if site.tls else "",
        "certificate": certificate,
    }


def envoy_file(site: Site) -> str:
    """The whole bootstrap file. JSON is YAML too."""
    manager = {
        "@type": f"{_ENVOY_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "models",
        "codec_type": "HTTP1",
        "stream_idle_timeout": "600s",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "models", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_ENVOY_TYPES}.filters.http.router.v3.Router"},
            }
        ],
    }
    chain: dict[str, object] = {
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    }
    if site.tls is not None:
        chain["transport_socket"] = _envoy_tls(site.tls.certificate, site.tls.key)
    listener = {"name": "front", "address": _address(site.port), "filter_chains": [chain]}
    bootstrap = {"static_resources": {"listeners": [listener], "clusters": [_envoy_cluster(site.upstream_ports)]}}
    return json.dumps(bootstrap, indent=1) + "\n"


def _envoy_tls(certificate: str, key: str) -> dict[str, object]:
    files = {"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_ENVOY_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [files]},
        },
    }


def _envoy_cluster(ports: Sequence[int]) -> dict[str, object]:
    names = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    unlimited = dict.fromkeys(names, 100_000)
    return {
        "name": "models",
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": "ROUND_ROBIN",
        "circuit_breakers": {"thresholds": [unlimited]},
        "load_assignment": {
            "cluster_name": "models",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}} for port in ports]}],
        },
    }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def litellm_file(site: Site, models: Sequence[str], key: str) -> str:
    """The whole config.yaml, as JSON, which is YAML too."""
    deployments = [
        {
            "model_name": model,
            "litellm_params": {
                "model": f"openai/{model}",
                "api_base": f"http://127.0.0.1:{port}/v1",
                "api_key": "none",
            },
        }
        for model in models
        for port in site.upstream_ports
    ]
    settings = {
        "model_list": deployments,
        "litellm_settings": {"telemetry": False, "num_retries": 0},
        "router_settings": {"routing_strategy": "simple-shuffle"},
        "general_settings": {"master_key": key},
    }
    return json.dumps(settings, indent=1) + "\n"
