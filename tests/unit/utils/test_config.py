"""Settings: defaults, forms, errors that name the fix, secrets that stay secret."""

from __future__ import annotations

import base64
import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.utils.config import Settings, SettingsInvalid, form_of, load_settings, rule_of
from app.utils.setting_groups import GROUPS

pytestmark = pytest.mark.usefixtures("empty_directory")

DEFAULTS = {
    "registration_needs_approval": False,
    "tools_on_untrusted_servers": False,
    "quarantine_enabled": True,
    "user_headers": ("x-openwebui-user-email", "x-openwebui-user-id"),
    "usage_retention_days": 400,
    "session_hours": 24,
    "recent_requests": 2000,
    "traffic_retention_days": 30,
    "public_url": None,
    "host": "127.0.0.1",
    "port": 8000,
    "log_level": "INFO",
    "log_format": "console",
    "log_file": Path("logs/gateway.log"),
    "log_max_bytes": 10485760,
    "log_backup_count": 5,
    "database_url": "sqlite:///./gateway.db",
    "admin_api_key": None,
    "metrics_key": None,
    "require_client_auth": True,
    "cors_origins": (),
    "trusted_proxies": (),
    "tls_cert_file": None,
    "tls_key_file": None,
    "allowed_server_networks": (),
    "health_check_interval_seconds": 10.0,
    "health_check_timeout_seconds": 5.0,
    "unhealthy_threshold": 3,
    "healthy_threshold": 2,
    "connect_timeout_seconds": 5.0,
    "first_token_timeout_seconds": 120.0,
    "stream_idle_timeout_seconds": 60.0,
    "request_timeout_seconds": 600.0,
    "stall_suspect_seconds": 3.0,
    "model_load_timeout_seconds": 300.0,
    "prefix_affinity_enabled": True,
    "prefix_affinity_shared": False,
    "verification_enabled": True,
    "verification_interval_seconds": 86400.0,
    "max_attempts": 3,
    "retry_budget_ratio": 0.2,
    "continuation_enabled": True,
    "max_continuations": 3,
    "hold_tool_calls": True,
    "sse_keepalive_seconds": 15.0,
    "max_request_bytes": 20971520,
    "queue_max_size": 1000,
    "queue_max_wait_seconds": 30.0,
    "drain_grace_seconds": 0.0,
    "drain_timeout_seconds": 30.0,
    "gateway_data_dir": Path("data"),
    "encryption_key": None,
    "upstream_keepalive_seconds": 4.0,
    "upstream_ca_file": None,
    "header_timeout_seconds": 10.0,
    "body_timeout_seconds": 30.0,
    "keepalive_timeout_seconds": 75.0,
    "max_header_bytes": 16384,
    "max_header_count": 100,
    "max_json_depth": 64,
    "max_answer_hold_bytes": 8388608,
    "health_check_concurrency": 64,
    "health_history_retention_days": 30,
    "removed_server_retention_days": 90,
    "database_timeout_seconds": 5.0,
    "otel_enabled": False,
    "otel_exporter_otlp_endpoint": "http://localhost:4318",
    "otel_exporter_otlp_headers": None,
    "otel_service_name": "multiverse-inference-gateway",
    "otel_sample_ratio": 1.0,
}
KEY = "operator-key-0123456789"


def problems(**given_settings: object) -> dict[str, str]:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(**given_settings)
    return {problem.name: problem.fix for problem in caught.value.problems}


def test_defaults():
    assert load_settings().model_dump() == DEFAULTS


def test_every_setting_is_in_exactly_one_group():
    names = [name for group in GROUPS for name in group.model_fields]
    assert sorted(names) == sorted(Settings.model_fields)


def test_env_file_and_environment_in_that_order(monkeypatch: pytest.MonkeyPatch):
    Path(".env").write_text("\ufeffPORT=9001\nexport LOG_LEVEL='debug'  # more\nANYTHING_ELSE=1\n", encoding="utf-8")
    assert (load_settings().port, load_settings().log_level) == (9001, "DEBUG")
    monkeypatch.setenv("PORT", "9002")
    assert load_settings().port == 9002
    assert load_settings(port="9003").port == 9003


def test_empty_values_count_as_unset(monkeypatch: pytest.MonkeyPatch):
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")
    assert load_settings().model_dump() == DEFAULTS


def test_one_error_lists_every_problem_with_name_value_and_fix(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEALTH_CHECK_INTERVAL_SECONDS", "0.05")
    monkeypatch.setenv("PORT", "eighty")
    monkeypatch.setenv("LOG_LEVEL", "loud")
    with pytest.raises(SettingsInvalid) as caught:
        load_settings()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("3 settings are wrong")
    assert lines[1:] == [
        "  PORT='eighty': must be a whole number of at least 1 and at most 65535",
        "  LOG_LEVEL='loud': must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL",
        "  HEALTH_CHECK_INTERVAL_SECONDS='0.05': must be a number of at least 0.1 and at most 86400",
    ]


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name.endswith("_seconds")])
def test_seconds_take_decimals_from_a_tenth(name: str):
    assert getattr(load_settings(**{name: "0.1"}), name) == 0.1
    zero_is_fine = Settings.model_fields[name].default == 0
    if zero_is_fine:
        assert getattr(load_settings(**{name: "0"}), name) == 0
    for wrong in ("-1", "nan", "inf", "1e999", "soon", *([] if zero_is_fine else ["0", "0.05"])):
        assert name.upper() in problems(**{name: wrong})


def test_an_interval_may_be_shorter_than_its_timeout():
    settings = load_settings(health_check_interval_seconds="0.5", health_check_timeout_seconds="5")
    assert settings.health_check_interval_seconds < settings.health_check_timeout_seconds


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("port", "0"),
        ("port", "65536"),
        ("port", "-1"),
        ("port", "8000.5"),
        ("host", "not a host"),
        ("host", "http://a"),
        ("host", "1.2.3"),
        ("host", "a/b"),
        ("unhealthy_threshold", "0"),
        ("healthy_threshold", "0"),
        ("max_attempts", "0"),
        ("queue_max_size", "-1"),
        ("retry_budget_ratio", "1.5"),
        ("retry_budget_ratio", "nan"),
        ("max_request_bytes", "12"),
        ("max_json_depth", "1000"),
        ("require_client_auth", "perhaps"),
        ("log_format", "xml"),
        ("log_level", "TRACE"),
        ("log_backup_count", "0"),
        ("tls_cert_file", "/no/such/file"),
        ("upstream_ca_file", "."),
        ("health_history_retention_days", "0"),
    ],
)
def test_out_of_bounds(name: str, wrong: str):
    assert "must be" in problems(**{name: wrong})[name.upper()]


@pytest.mark.parametrize(
    ("given_host", "host"),
    [("localhost", "localhost"), ("0.0.0.0", "0.0.0.0"), ("[::1]", "::1"), ("::", "::"), ("box.lab", "box.lab")],
)
def test_hosts(given_host: str, host: str):
    assert load_settings(host=given_host).host == host


def test_networks():
    settings = load_settings(allowed_server_networks="10.0.0.0/8, fd00::/8,192.168.1.7,", trusted_proxies="::1")
    assert settings.allowed_server_networks == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("fd00::/8"),
        ipaddress.ip_network("192.168.1.7/32"),
    )
    assert settings.trusted_proxies == (ipaddress.ip_network("::1/128"),)
    found = problems(allowed_server_networks="10.0.0.1/8", trusted_proxies="proxy.lab")
    assert "write 10.0.0.0/8" in found["ALLOWED_SERVER_NETWORKS"]
    assert "'proxy.lab' is not a network" in found["TRUSTED_PROXIES"]


def test_origins_take_the_form_that_browsers_send():
    settings = load_settings(cors_origins="HTTPS://Chat.Example:443/, http://localhost:3000,http://[::1]:80, *")
    assert settings.cors_origins == ("https://chat.example", "http://localhost:3000", "http://[::1]", "*")


@pytest.mark.parametrize(
    "wrong",
    ["chat.example", "ftp://a", "http://a/b", "http://u:p@a", "http://a?x", "http://a:99999", "http://", "null"],
)
def test_origins_refused(wrong: str):
    assert "is not an origin" in problems(cors_origins=wrong)["CORS_ORIGINS"]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///./gateway.db", "./gateway.db"),
        ("sqlite:////var/lib/gateway.db", "/var/lib/gateway.db"),
        ("sqlite+aiosqlite:///some/file.sqlite3", "some/file.sqlite3"),
    ],
)
def test_database_urls(url: str, path: str):
    assert load_settings(database_url=url).database_path == Path(path)


@pytest.mark.parametrize(
    "wrong", ["sqlite://", "sqlite:///:memory:", "sqlite:///a?mode=ro", "sqlite:///", "sqlite://host/a"]
)
def test_database_urls_without_a_file(wrong: str):
    assert "must name a file" in problems(database_url=wrong)["DATABASE_URL"]


@pytest.mark.parametrize(
    "wrong", ["postgresql://user:hunter22@db/x", "mysql+pymysql://root:hunter22@h/x", "gateway.db"]
)
def test_other_databases_are_refused_without_showing_their_password(wrong: str):
    with pytest.raises(SettingsInvalid, match="this release supports SQLite only") as caught:
        load_settings(database_url=wrong)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://collector:4318/", "http://collector:4318"),
        ("https://[2001:db8::1]/otlp", "https://[2001:db8::1]/otlp"),
    ],
)
def test_a_collector_is_a_base_url(given: str, kept: str):
    assert load_settings(otel_exporter_otlp_endpoint=given).otel_exporter_otlp_endpoint == kept


@pytest.mark.parametrize(
    "wrong",
    ["collector:4317", "grpc://collector:4317", "http://", "http://user:pw@host", "http://host:0", "http://h?k"],
)
def test_a_collector_that_is_no_url_is_refused(wrong: str):
    assert "http://host:port" in problems(otel_exporter_otlp_endpoint=wrong)["OTEL_EXPORTER_OTLP_ENDPOINT"]


@pytest.mark.parametrize("value", ["authorization=Bearer%20abc", "x-a=1, x-b=2=3"])
def test_headers_are_pairs(value: str):
    headers = load_settings(otel_exporter_otlp_headers=value).otel_exporter_otlp_headers
    assert headers is not None
    assert headers.get_secret_value() == value


def test_what_other_programs_send_to_collectors_is_no_slip(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://elsewhere:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPIONT", "http://elsewhere:4318")
    [slip] = load_settings().unknown_names()
    assert "did you mean OTEL_EXPORTER_OTLP_ENDPOINT?" in slip


def test_a_service_needs_a_name_that_prints():
    assert "printable" in problems(otel_service_name="a\nb")["OTEL_SERVICE_NAME"]


def secret_names() -> list[str]:
    return [name for name, field in Settings.model_fields.items() if form_of(field).is_secret]


def test_secrets_are_those_that_hold_secrets():
    ends = ("_key", "_otlp_headers")
    assert secret_names() == [name for name in Settings.model_fields if name.endswith(ends) and "tls" not in name]
    assert all("SecretStr" in str(Settings.model_fields[name].annotation) for name in secret_names())


@pytest.mark.parametrize("name", secret_names())
def test_a_wrong_secret_is_never_shown(name: str):
    canary = "c" * 300
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(**{name: canary})
    assert name.upper() in str(caught.value)
    assert "ccc" not in str(caught.value) + repr(caught.value.problems)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_secrets_are_hidden_in_the_settings():
    encryption = base64.b64encode(bytes(range(32))).decode()
    settings = load_settings(admin_api_key=KEY, encryption_key=encryption)
    assert settings.admin_api_key is not None
    assert settings.admin_api_key.get_secret_value() == KEY
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert KEY not in shown
        assert encryption not in shown
    assert set(settings.secret_values()) == {KEY, encryption}


@pytest.mark.parametrize("value", ["x" * 16, "~!@#$%^&*()_+{}|:<>?", "x" * 256])
def test_credentials_are_free_in_form(value: str):
    assert load_settings(admin_api_key=value, metrics_key=value).admin_api_key == SecretStr(value)


@pytest.mark.parametrize(
    "value", ["x" * 15, "x" * 257, "sixteen chars ok not", "schlüssel-schlüssel", "tab\tinside-0123456"]
)
def test_credentials_refused(value: str):
    assert "16 to 256 visible ASCII" in problems(admin_api_key=value)["ADMIN_API_KEY"]


@given(st.binary(min_size=32, max_size=32))
def test_encryption_keys_in_both_alphabets(key: bytes):
    for encoded in (base64.b64encode(key), base64.urlsafe_b64encode(key)):
        read = load_settings(encryption_key=encoded.decode()).encryption_key
        assert read is not None
        assert base64.b64decode(read.get_secret_value()) == key


@pytest.mark.parametrize("value", ["short", "A" * 43, base64.b64encode(bytes(31)).decode(), "ä" * 44])
def test_encryption_keys_refused(value: str):
    assert "32 bytes in base64" in problems(encryption_key=value)["ENCRYPTION_KEY"]


def test_certificate_and_key_come_together(tmp_path: Path):
    pem = tmp_path / "some.pem"
    pem.write_text("-")
    assert "TLS_CERT_FILE is" in problems(tls_cert_file=str(pem))["TLS_KEY_FILE"]
    assert "TLS_KEY_FILE is" in problems(tls_key_file=str(pem))["TLS_CERT_FILE"]
    assert load_settings(tls_cert_file=str(pem), tls_key_file=str(pem)).tls_cert_file == pem


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


def test_unknown_names_are_told_and_strangers_in_the_environment_are_not(monkeypatch: pytest.MonkeyPatch):
    Path(".env").write_text("HEALTH_CHECK_INTERVAL_SECOND=3\nmy_own_thing=1\nPORTS=1\nGATEWAY_KEY=x\nport=9000\n")
    monkeypatch.setenv("DATABASE_URI", "sqlite:///x")
    monkeypatch.setenv("ANYBODYS_VARIABLE", "1")
    monkeypatch.setenv("HOSTS", "1")
    monkeypatch.setenv("GATEWAY_URL", "http://x")
    assert load_settings().unknown_names() == (
        "HEALTH_CHECK_INTERVAL_SECOND (did you mean HEALTH_CHECK_INTERVAL_SECONDS?)",
        "my_own_thing (no setting of the gateway)",
        "PORTS (did you mean PORT?)",
        "DATABASE_URI (did you mean DATABASE_URL?)",
    )


def test_env_file_that_is_not_utf8():
    Path(".env").write_bytes(b"PORT=8000\nLOG_FILE=\xff\xfe\n")
    with pytest.raises(SettingsInvalid, match="it is not UTF-8"):
        load_settings()


def test_env_file_with_a_line_that_is_no_assignment():
    Path(".env").write_text("PORT=8000\nADMIN_API_KEY very-secret-value-1234\n")
    with pytest.raises(SettingsInvalid, match=r"\.env line 2: is no assignment") as caught:
        load_settings()
    assert "very-secret" not in str(caught.value)


def test_long_values_are_cut():
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(port="9" * 5_000)
    assert len(str(caught.value)) < 500


def test_every_setting_says_what_it_takes():
    for name, field in Settings.model_fields.items():
        assert rule_of(field), name
        assert field.description, name
