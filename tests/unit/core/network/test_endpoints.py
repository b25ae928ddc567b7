"""Which URLs are well-formed, and what do they become?"""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.services.core.errors import EndpointRefused
from app.services.core.network.addresses import parse_endpoint
from app.services.core.network.endpoints import UrlRule
from app.services.core.types import Endpoint

ACCEPTED = {
    "http://10.0.0.5:8000": "http://10.0.0.5:8000",
    "HTTP://GPU-Box.Example:8000": "http://gpu-box.example:8000",
    "https://llm.example": "https://llm.example",
    "https://llm.example:443/": "https://llm.example",
    "http://llm.example:80": "http://llm.example",
    "https://llm.example:80": "https://llm.example:80",
    "http://llm.example.:8000": "http://llm.example:8000",
    "http://vllm_server:8000/v1": "http://vllm_server:8000",
    "http://_llm._tcp.example": "http://_llm._tcp.example",
    "http://localhost:11434/v1/": "http://localhost:11434",
    "http://host:1/v1///": "http://host:1",
    "http://host:65535/proxy/llm/v1": "http://host:65535/proxy/llm",
    "http://host/V1": "http://host/V1",
    "http://host/v1/openai": "http://host/v1/openai",
    "http://host/api-v1": "http://host/api-v1",
    "http://host/user/alice%40uni.example/proxy/8000": "http://host/user/alice%40uni.example/proxy/8000",
    "http://host/%41%7e%c3%a9": "http://host/A~%C3%A9",
    "http://host/%76%31": "http://host",
    "http://host/@me;a=b": "http://host/@me;a=b",
    "http://[2001:DB8::5]:8000/v1": "http://[2001:db8::5]:8000",
    "http://[2001:0db8:0:0:0:0:0:5]": "http://[2001:db8::5]",
    "https://[::1]": "https://[::1]",
    "http://[::ffff:10.0.0.5]:8000": "http://10.0.0.5:8000",
    "http://[::ffff:a9fe:a9fe]": "http://169.254.169.254",
    "http://xn--bcher-kva.example": "http://xn--bcher-kva.example",
    "http://1.2.3.4.example": "http://1.2.3.4.example",
    "http://3com": "http://3com",
    "http://0xbad.example": "http://0xbad.example",
}

REFUSED = {
    UrlRule.SCHEME: [
        "", "host:8000", "10.0.0.5:8000", "//host", "://host", "http:/host", "http:host", "file:///etc/passwd",
        "gopher://host:70/", "unix:///run/llm.sock", "unix://host", "ftp://host", "ws://host", "httpx://host",
        "javascript://host", "http+unix://%2frun%2fllm.sock", "http", "http:", "hxxp://host", "data:,x",
    ],
    UrlRule.USERINFO: [
        "http://user@host", "http://user:secret@host", "http://@host", "http://:@host", "http://host@10.0.0.5:8000",
        "http://host:80@127.0.0.1", "http://a@b@c", "http://user:secret@[::1]:8000/v1",
    ],
    UrlRule.BACKSLASH: ["http://a\\@127.0.0.1", "http:\\\\host", "http://host\\v1", "\\\\host", "http://host/a\\..\\b"],
    UrlRule.WHITE_SPACE: [
        " http://host", "http://host ", "http://ho st", "http://host/a b", "\thttp://host", "http://host\n",
        "http://host\r\nX-Evil: 1", "http://ho\tst", "http://host:80\x0080", "http://host\x7f", "http://host\x85",
        "http://host\u00a0", "http://ho\u200bst", "http://host\u2028", "http://ho\u00adst", "\ufeffhttp://host",
        "http://host\u3000", "http:// host", "http://host: 80", "http://\ud800host", "ht\ntp://host",
    ],
    UrlRule.NOT_ASCII: [
        "http://\uff11\uff12\uff17.0.0.1", "http://127\u30020\u30020\u30021", "http://127\uff0e0\uff0e0\uff0e1",
        "http://\u2460\u2461\u2466.0.0.1", "http://\u0661\u0662\u0667.0.0.1", "http://bücher.example",
        "http://host:\uff18\uff10", "http://h\u2044x", "http://host/é", "http://loc\u212alhost", "http\uff1a//host",
        "http://\u24d1ad.example", "http://a\uff0fb", "http://a\uff20b",
    ],
    UrlRule.HOST: [
        "http://", "http:///v1", "http://:8000", "https:///", "http://.", "http://..", "http://host..", "http://.host",
        "http://a..b", "http://-a.example", "http://a-.example", "http://ho*st", "http://ho!st", "http://a,b",
        "http://host%2eexample", "http://%31%32%37.0.0.1", "http://127.0.0.1%2f", "http://host%00", "http://%", "http://a;b",
        "http://[::1", "http://[::1]x", "http://[::1]x:80", "http://[]", "http://[", "http://]", "http://[fe80::1%25eth0]",
        "http://[fe80::1%eth0]:80", "http://[::1%0]", "http://[127.0.0.1]", "http://[::127.0.0.01]", "http://[1::2::3]",
        "http://[v1.fe80]", "http://[host]", "http://::1", "http://::1:8000", "http://fe80::1", "http://host:80:80",
        "http://[[::1]]", "http://a[::1]", "http://" + "a" * 64 + ".example", "http://" + "a." * 130 + "example",
        "http://$HOST", "http://{host}", "http://a'b", 'http://a"b', "http://<host>", "http://a|b", "http://a^b", "http://`a`",
    ],
    UrlRule.NUMERIC_HOST: [
        "http://2130706433", "http://0x7f000001", "http://0X7F000001", "http://0177.0.0.1", "http://127.1", "http://0",
        "http://127.0.1", "http://1.2.3.4.5", "http://127.0.0.01", "http://127.0.0.001", "http://256.0.0.1",
        "http://127.0.0.1.", "http://127.0.0.0x1", "http://0x7f.0.0.1", "http://0x7f.1", "http://017700000001",
        "http://host.1", "http://host.0x", "http://0x", "http://host.0xff.", "http://1.1.1.1.1", "http://00000000000",
        "http://999999999999", "http://.1", "http://0.0.0.00", "http://1..2", "http://3232235777:8000", "http://0.1",
        "http://127.0.0.1.1:80/v1", "http://4294967297", "http://010.0.0.1", "http://1.2.3.", "http://1.2.3.256",
    ],
    UrlRule.PORT: [
        "http://host:", "http://host:/v1", "http://host:0", "http://host:00", "http://host:65536", "http://host:99999",
        "http://host:080", "http://host:-1", "http://host:+80", "http://host:8a", "http://host:80.0", "http://host:1e3",
        "http://host:0x50", "http://host:8_0", "http://[::1]:", "http://[::1]:0", "http://[::1]:70000", "http://host:http",
        "http://host:" + "9" * 500, "http://host:%38%30", "http://10.0.0.5:100000",
    ],
    UrlRule.QUERY: [
        "http://a#@127.0.0.1", "http://host?x=1", "http://host/?", "http://host/#", "http://host#", "http://host?",
        "http://host/v1?key=x", "http://host?@127.0.0.1", "http://host/v1#x",
    ],
    UrlRule.PATH: [
        "http://host/..", "http://host/../admin", "http://host/a/../b", "http://host/.", "http://host/a/./b",
        "http://host/%2e%2e/b", "http://host/%2E./b", "http://host/a%2fb", "http://host/a%5cb", "http://host/a%00",
        "http://host/a%0d%0aX-Evil:1", "http://host/%20", "http://host/%7f", "http://host/%252e", "http://host/%",
        "http://host/%4", "http://host/%zz", "http://host//a", "http://host/a//b", "http://host//v1", "http://host/v1/v1",
        "http://host/<a>", 'http://host/"', "http://host/{a}", "http://host/a|b", "http://host/a^b", "http://host/[a]",
    ],
    UrlRule.TOO_LONG: ["http://host/" + "a" * 2048],
}  # fmt: skip


@pytest.mark.parametrize(("url", "canonical"), ACCEPTED.items())
def test_a_well_formed_url_gets_its_canonical_form(url: str, canonical: str) -> None:
    assert parse_endpoint(url).url == canonical


@pytest.mark.parametrize(("rule", "url"), [(rule, url) for rule, urls in REFUSED.items() for url in urls])
def test_a_url_is_refused_by_its_form_with_a_message_of_its_own(rule: UrlRule, url: str) -> None:
    with pytest.raises(EndpointRefused) as refusal:
        parse_endpoint(url)
    assert refusal.value.code == rule
    assert refusal.value.param == "endpoint_url"
    assert refusal.value.status == 400
    assert refusal.value.message.endswith(".")


def test_every_part_of_a_url_is_read() -> None:
    assert parse_endpoint("https://Box.example:8443/llm/v1") == Endpoint("https", "box.example", 8443, "/llm")


def test_a_password_is_never_repeated() -> None:
    urls = ["http://u:hunter2@host", "http://hunter2@host:99999", "hunter2://u:hunter2@h", "http://u:hunter2@0x7f"]
    for url in urls:
        with pytest.raises(EndpointRefused) as refusal:
            parse_endpoint(url)
        assert "hunter2" not in refusal.value.message


HOSTS = st.one_of(
    st.from_regex(r"[a-zA-Z0-9_.%@:\[\]\\-]{1,20}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.from_regex(r"[A-Za-z0-9_-]{1,63}(\.[a-z0-9-]{1,20}){0,3}\.?", fullmatch=True),
    st.integers(min_value=0, max_value=2**33).map(str),
)
PORTS = st.one_of(st.just(""), st.integers(min_value=-1, max_value=70000).map(lambda port: f":{port}"), st.just(":"))
PATHS = st.one_of(st.just(""), st.from_regex(r"(/[a-z0-9%A-F.@;v1-]{0,5}){0,4}", fullmatch=True), st.just("/v1"))
URLS = st.one_of(
    st.builds(
        lambda scheme, host, port, path: f"{scheme}://{host}{port}{path}",
        st.sampled_from(["http", "https", "HTTP", "ftp"]), HOSTS, PORTS, PATHS,
    ),
    st.text(max_size=40).map(lambda rest: f"http://{rest}"),
    st.text(max_size=40),
)  # fmt: skip
CANONICAL_HOST = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]+")
CANONICAL_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")


@given(URLS)
@example("http://host/v1/v1")
@example("http://host./%76%31/")
@example("http://[::ffff:7f00:1]")
@example("http://[::ffff:0:7f00:1]:80/x/v1")
def test_a_canonical_url_parses_to_itself_and_holds_nothing_odd(url: str) -> None:
    try:
        endpoint = parse_endpoint(url)
    except EndpointRefused:
        return
    assert parse_endpoint(endpoint.url) == endpoint
    assert endpoint.scheme in {"http", "https"}
    assert CANONICAL_HOST.fullmatch(endpoint.host)
    assert CANONICAL_PATH.fullmatch(endpoint.base_path)
    assert 1 <= endpoint.port <= 65535
    assert not endpoint.base_path.endswith("/v1")
    assert not {".", ".."} & set(endpoint.base_path.split("/"))


@given(st.ip_addresses(v=4), st.integers(min_value=1, max_value=65535))
def test_every_dotted_quad_is_taken(address: object, port: int) -> None:
    endpoint = parse_endpoint(f"http://{address}:{port}/v1")
    assert (endpoint.host, endpoint.port) == (str(address), port)
