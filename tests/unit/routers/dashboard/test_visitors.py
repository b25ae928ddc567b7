"""Where does a page lead to after a sign-in, and who may send a form?"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from app.routers.dashboard import rendering
from app.routers.dashboard.visitors import cookie_of, is_https, local_page, require_own_origin, signed_in
from app.services.core.errors import NotAllowed
from app.services.core.keys import Principal, Role
from app.utils.config import Settings


def _request(headers: dict[str, str], *, scheme: str = "http", settings: Settings | None = None) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    application = SimpleNamespace(state=SimpleNamespace(settings=settings))
    scope = {"type": "http", "method": "POST", "scheme": scheme, "path": "/ui", "query_string": b"", "headers": raw}
    return Request({**scope, "server": ("127.0.0.1", 8000), "client": ("10.0.0.9", 5000), "app": application})


@pytest.mark.parametrize(
    "target",
    [
        "/ui",
        "/ui/servers",
        "/ui/servers/3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11",
        "/ui/servers?state=healthy&sort=-name",
        "/ui/models?q=a%20b",
    ],
)
def test_pages_of_ours_are_gone_back_to(target):
    assert local_page(target) == target


@pytest.mark.parametrize(
    "target",
    [
        "",
        "/",
        "//evil.example",
        "https://evil.example/ui",
        "/\\evil.example",
        "\\\\evil.example",
        "/ui/../admin",
        "/uix",
        "/ui//evil.example",
        "/ui/./x",
        "/ui/%2e%2e/admin",
        "/ui/%2f%2fevil",
        "javascript:alert(1)",
        "/ui\r\nset-cookie: a=b",
        "/ui\t/x",
        " /ui",
        "/ui/sign-in",
        "/ui/sign-out",
        "/ui/live?topics=a",
        "/ui/assets/a/b",
        "/ui#//evil",
        "/ui/servers/\N{FULLWIDTH SOLIDUS}x",
        '/ui/"onmouseover="x',
        "/ui/<script>",
        "ui",
        "/UI",
        "http:/ui",
        "/ui@evil.example",
    ],
)
def test_all_else_leads_to_the_first_page(target):
    assert local_page(target) == "/ui"


@given(st.text())
def test_whatever_is_asked_for_the_next_page_is_ours(target):
    page = local_page(target)
    assert page == "/ui" or page.startswith(("/ui/", "/ui?"))
    assert page.isascii()
    assert page.isprintable()
    assert "//" not in page.partition("?")[0]
    assert "\\" not in page


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "gw.example", "origin": "http://gw.example"},
        {"host": "GW.example:8000", "origin": "http://gw.example:8000"},
        {"host": "inner", "origin": "https://gw.example", "sec-fetch-site": "same-origin"},
        {"host": "gw.example", "sec-fetch-site": "none"},
    ],
)
def test_a_form_of_ours_is_taken(headers):
    require_own_origin(_request(headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "gw.example", "origin": "http://evil.example"},
        {"host": "gw.example", "origin": "null"},
        {"host": "gw.example", "origin": ""},
        {"host": "gw.example", "origin": "http://["},
        {"host": "gw.example:8000", "origin": "http://gw.example:8001"},
        {"host": "gw.example", "origin": "http://gw.example", "sec-fetch-site": "cross-site"},
        {"host": "gw.example", "origin": "http://a.gw.example", "sec-fetch-site": "same-site"},
    ],
)
def test_a_form_of_somebody_elses_is_refused(headers):
    with pytest.raises(NotAllowed, match="another site"):
        require_own_origin(_request(headers))


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("", ""),
        ("other=a", ""),
        ("multiverse_session=abc", "abc"),
        ("a=b; multiverse_session=abc; c=d", "abc"),
        ("multiverse_session=first; multiverse_session=second", "first"),
        ("xmultiverse_session=abc", ""),
    ],
)
def test_our_cookie_is_found_among_others(header, value):
    assert cookie_of({"cookie": header}) == value


def test_https_is_known_here_at_a_trusted_proxy_and_by_the_public_url():
    plain = Settings(_env_file=None)
    proxied = Settings(_env_file=None, trusted_proxies="10.0.0.0/8")
    public = Settings(_env_file=None, public_url="https://gw.example")
    forwarded = {"x-forwarded-proto": "https"}
    assert is_https(_request({}, scheme="https"))
    assert not is_https(_request({}))
    assert not is_https(_request(forwarded, settings=plain))
    assert is_https(_request(forwarded, settings=proxied))
    assert not is_https(_request({"x-forwarded-proto": "http"}, settings=proxied))
    assert is_https(_request({}, settings=public))


@pytest.mark.parametrize(
    ("method", "accept", "is_use"),
    [
        ("GET", "text/html,application/xhtml+xml", True),
        ("GET", "application/json", False),
        ("GET", "*/*", False),
        ("HEAD", "", False),
        ("POST", "*/*", True),
    ],
)
def test_what_a_page_asks_for_by_itself_keeps_no_sign_in_going(method, accept, is_use):
    told = []

    def find(_cookie, *, is_use):
        told.append(is_use)
        return SimpleNamespace(principal=Principal("k", "key", Role.USER))

    request = _request({"accept": accept, "cookie": "multiverse_session=c"})
    request.scope["method"] = method
    request.app.state.sessions = SimpleNamespace(find=find)
    assert signed_in(request).principal.key_id == "k"
    assert told == [is_use]


@pytest.mark.parametrize(
    ("method", "path", "referer", "page"),
    [
        ("GET", "/ui/servers", "", "/ui/servers?state=healthy"),
        ("POST", "/ui/register/test", "http://gw/ui/register", "/ui/register"),
        ("POST", "/ui/register/test", "http://gw/ui/register/test", "/ui/register"),
        ("POST", "/ui/keys/abc/rotate", "http://gw/ui/keys/abc/rotate", "/ui/keys/abc"),
        ("POST", "/ui/keys/abc/rotate", "", "/ui"),
        ("POST", "/ui/theme", "https://evil.example//x", "/ui"),
    ],
)
def test_a_form_of_the_frame_comes_back_to_a_page_that_can_be_loaded(method, path, referer, page):
    request = _request({"referer": referer} if referer else {})
    request.scope |= {"method": method, "path": path, "query_string": b"state=healthy" if method == "GET" else b""}
    assert rendering.here(request) == page
