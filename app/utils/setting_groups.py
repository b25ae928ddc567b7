"""Which settings are there? Every one with its type, default, bounds and meaning, in groups that belong together.

The class docstrings are the headings of ``docs/settings.md``, the descriptions its last column and the comments of
``.env.example``. A name in capitals is the environment variable: ``port`` is ``PORT``.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings

from app.utils.setting_types import (
    Bytes,
    Count,
    Credential,
    Days,
    EncryptionKey,
    ExistingFile,
    FilePath,
    HeaderNames,
    HeaderPairs,
    Host,
    HttpUrl,
    LogFormat,
    LogLevel,
    Networks,
    Origins,
    Ratio,
    SecondsFromZero,
    SecondsSetting,
    SqliteUrl,
    Switch,
    Words,
)

__all__ = ["GROUPS"]

_MEBIBYTE = 1_048_576
_GIBIBYTE = 1024 * _MEBIBYTE
_SERVE_ONLY = "(`multiverse serve` only)"
"""Another ASGI server has options of its own for these; the head of ``docs/settings.md`` says so."""


class ListenerSettings(BaseSettings):
    """Listening."""

    host: Host = Field(
        "127.0.0.1", description=f"Address to listen on; 0.0.0.0 or :: lets other machines in {_SERVE_ONLY}."
    )
    port: Count = Field(8000, ge=1, le=65535, description=f"TCP port to listen on {_SERVE_ONLY}.")
    tls_cert_file: ExistingFile | None = Field(
        None, description=f"PEM certificate chain; with TLS_KEY_FILE the gateway serves HTTPS {_SERVE_ONLY}."
    )
    tls_key_file: ExistingFile | None = Field(None, description=f"PEM private key of TLS_CERT_FILE {_SERVE_ONLY}.")
    trusted_proxies: Networks = Field(
        (),
        description="Reverse proxies whose X-Forwarded-For is believed, for the client's address in the request log.",
    )
    cors_origins: Origins = Field(
        (), description="Web origins whose pages may call the gateway from a browser; * is all."
    )
    keepalive_timeout_seconds: SecondsSetting = Field(
        75, description=f"How long an idle client connection is kept open between requests {_SERVE_ONLY}."
    )
    header_timeout_seconds: SecondsSetting = Field(
        10, description=f"How long a client may take to send a request's headers {_SERVE_ONLY}."
    )
    body_timeout_seconds: SecondsSetting = Field(
        30, description="How long a client may take to send a body; each 64 KiB that came adds a second."
    )


class AccessSettings(BaseSettings):
    """Keys and secrets."""

    admin_api_key: Credential | None = Field(
        None,
        description="The operator's first key; unset: one is made at the first start, in GATEWAY_DATA_DIR/admin.key.",
    )
    metrics_key: Credential | None = Field(None, description="A key that may read /metrics and nothing else.")
    require_client_auth: Switch = Field(default=True, description="Whether calling models takes a key.")
    encryption_key: EncryptionKey | None = Field(
        None,
        description="Encrypts servers' keys at rest; unset: GATEWAY_DATA_DIR/encryption.key, made at the first start.",
    )
    gateway_data_dir: FilePath = Field(
        Path("data"), description="Folder for the key files that the gateway makes itself."
    )


class PeopleSettings(BaseSettings):
    """People."""

    registration_needs_approval: Switch = Field(
        default=False, description="Whether a server that an owner registers waits for the operator's approval."
    )
    tools_on_untrusted_servers: Switch = Field(
        default=False,
        description="Whether requests with tools may go to servers that are not trusted: those can write tool calls.",
    )
    quarantine_enabled: Switch = Field(
        default=True, description="Whether a server that passes its checks but fails requests is taken out for a while."
    )
    user_headers: HeaderNames = Field(
        ("x-openwebui-user-email", "x-openwebui-user-id"),
        description="Headers in which a front end's key names its user; the first that is there counts.",
    )
    usage_retention_days: Days = Field(400, ge=1, le=3650, description="How long the figures of use are kept.")
    public_url: HttpUrl | None = Field(
        None, description="The URL under which people reach the gateway, for invite links; unset: links begin with /."
    )


class DashboardSettings(BaseSettings):
    """Pages."""

    # More than 20 hours need no warning before they are over (WCAG 2.1, 2.2.1).
    session_hours: Count = Field(
        24, ge=1, le=720, description="How long a sign-in to the pages lasts without being used, in hours."
    )
    recent_requests: Count = Field(
        2000, ge=0, le=100_000, description="How many of the last requests the pages can show, without their contents."
    )
    traffic_retention_days: Days = Field(
        30, ge=7, le=3650, description="How long the figures of each minute are kept, for the charts."
    )


class StorageSettings(BaseSettings):
    """Database."""

    database_url: SqliteUrl = Field(
        "sqlite:///./gateway.db", description="The database file, as an SQLite URL; created and migrated at the start."
    )
    database_timeout_seconds: SecondsSetting = Field(
        5, description="How long a statement waits for a locked database before it fails."
    )
    health_history_retention_days: Days = Field(
        30, ge=1, le=3650, description="How long results of health checks are kept."
    )
    removed_server_retention_days: Days = Field(
        90, ge=1, le=3650, description="How long a removed server's record is kept for the history."
    )


class LoggingSettings(BaseSettings):
    """Logging."""

    log_level: LogLevel = Field("INFO", description="The least severe level that is written.")
    log_format: LogFormat = Field("console", description="Lines for people (console) or for machines (json).")
    log_file: FilePath = Field(Path("logs/gateway.log"), description="The log file, written beside the console.")
    log_max_bytes: Bytes = Field(
        10 * _MEBIBYTE, ge=1024, le=_GIBIBYTE, description="Size at which the log file is rotated."
    )
    log_backup_count: Count = Field(5, ge=1, le=1000, description="How many rotated log files are kept.")


class TracingSettings(BaseSettings):
    """Traces."""

    otel_enabled: Switch = Field(
        default=False, description="Whether requests are sent as OpenTelemetry spans; takes the extra [otel]."
    )
    otel_exporter_otlp_endpoint: HttpUrl = Field(
        "http://localhost:4318", description="Base URL of the collector: OTLP over HTTP, /v1/traces is put behind it."
    )
    otel_exporter_otlp_headers: HeaderPairs | None = Field(
        None, description="Headers that the collector asks for, such as authorization=Bearer%20KEY."
    )
    otel_service_name: Words = Field(
        "multiverse-inference-gateway", description="The name under which traces show this gateway."
    )
    otel_sample_ratio: Ratio = Field(
        1, ge=0, le=1, description="Which part of the traces that begin here is sent; others follow their client."
    )


class HealthSettings(BaseSettings):
    """Health checks."""

    health_check_interval_seconds: SecondsSetting = Field(
        10, description="Time between two checks of a server, give or take a fifth."
    )
    health_check_timeout_seconds: SecondsSetting = Field(5, description="How long one check may take.")
    health_check_concurrency: Count = Field(64, ge=1, le=1000, description="How many checks may run at a time.")
    unhealthy_threshold: Count = Field(
        3, ge=1, le=100, description="Failed checks in a row that make a server unhealthy."
    )
    healthy_threshold: Count = Field(
        2, ge=1, le=100, description="Passed checks in a row that make a server healthy again."
    )


class UpstreamSettings(BaseSettings):
    """Model servers."""

    allowed_server_networks: Networks = Field(
        (), description="Private networks whose servers may be registered, such as 10.0.0.0/8."
    )
    upstream_ca_file: ExistingFile | None = Field(
        None, description="PEM certificates of authorities trusted for servers, beside the system's own."
    )
    connect_timeout_seconds: SecondsSetting = Field(5, description="How long connecting to a server may take.")
    first_token_timeout_seconds: SecondsSetting = Field(
        120, description="How long a server may take to begin a streamed answer."
    )
    stream_idle_timeout_seconds: SecondsSetting = Field(
        60, description="How long a begun stream may be silent, and how long a client may leave it unread."
    )
    request_timeout_seconds: SecondsSetting = Field(
        600, description="How long a request may take, with all its attempts and its time in the queue."
    )
    upstream_keepalive_seconds: SecondsSetting = Field(
        4, description="How long an idle connection to a server is kept for the next request."
    )
    model_load_timeout_seconds: SecondsSetting = Field(
        300, description="How long a server may take to begin an answer when it has to load the model first."
    )
    stall_suspect_seconds: SecondsSetting = Field(
        3, description="Silence after which a server that owes an answer is asked whether it still lives."
    )
    max_answer_hold_bytes: Bytes = Field(
        8 * _MEBIBYTE,
        ge=1024,
        le=_GIBIBYTE,
        description="How much of an unstreamed answer is held, so that it can be retried.",
    )


class RoutingSettings(BaseSettings):
    """Choice of a server."""

    prefix_affinity_enabled: Switch = Field(
        default=True,
        description="Whether long prompts and sessions go where their beginning is in the cache, if there is room.",
    )
    prefix_affinity_shared: Switch = Field(
        default=False,
        description="Whether prompts are compared across keys; then one key may find out what another's began with.",
    )
    verification_enabled: Switch = Field(
        default=True,
        description="Whether servers are asked now and then if they do what they say: one short answer for each model.",
    )
    verification_interval_seconds: SecondsSetting = Field(
        86_400, description="Time between two looks at whether a server does what it says."
    )


class RetrySettings(BaseSettings):
    """Failover."""

    max_attempts: Count = Field(3, ge=1, le=20, description="How many servers a request is sent to at most.")
    retry_budget_ratio: Ratio = Field(
        0.2, ge=0, le=1, description="Retries that each request earns, so that retries can't double the load."
    )
    continuation_enabled: Switch = Field(
        default=True,
        description="Whether a broken stream goes on at another server, and servers are tried for it.",
    )
    max_continuations: Count = Field(
        3, ge=0, le=20, description="How often one stream may go on elsewhere; 0 means never."
    )
    hold_tool_calls: Switch = Field(
        default=True,
        description="Whether a streamed tool call is held until it is whole, so that a broken one can be made anew.",
    )
    sse_keepalive_seconds: SecondsSetting = Field(
        15, description="Silence after which a waiting stream gets a comment that keeps the connection open."
    )


class LimitSettings(BaseSettings):
    """Limits of a request."""

    max_request_bytes: Bytes = Field(20 * _MEBIBYTE, ge=1024, le=_GIBIBYTE, description="Largest request body.")
    max_header_bytes: Bytes = Field(
        16_384, ge=1024, le=_MEBIBYTE, description="Largest request head, all headers together."
    )
    max_header_count: Count = Field(100, ge=10, le=10_000, description="How many headers a request may have.")
    max_json_depth: Count = Field(64, ge=4, le=500, description="How deep a JSON body may be nested.")


class QueueSettings(BaseSettings):
    """Queue and drain."""

    queue_max_size: Count = Field(
        1000, ge=0, le=1_000_000, description="How many requests may wait for a free server; 0 means none."
    )
    queue_max_wait_seconds: SecondsSetting = Field(30, description="How long a request may wait for a free server.")
    drain_grace_seconds: SecondsFromZero = Field(
        0, description="Time between /ready turning 503 and the listener closing, for load balancers to notice."
    )
    drain_timeout_seconds: SecondsSetting = Field(
        30, description="How long running answers may go on after the listener closed."
    )


GROUPS: tuple[type[BaseSettings], ...] = (
    ListenerSettings,
    AccessSettings,
    PeopleSettings,
    DashboardSettings,
    StorageSettings,
    LoggingSettings,
    TracingSettings,
    UpstreamSettings,
    HealthSettings,
    RoutingSettings,
    RetrySettings,
    QueueSettings,
    LimitSettings,
)
