"""What the pages are made of comes from the package, as it was published, and nothing in it escapes the policy."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import httpx2
import pytest

from app.routers.api import create_api
from app.routers.dashboard.assets import ASSETS, FOR_A_YEAR, asset_url, version
from app.routers.dashboard.policy import POLICY
from app.routers.dashboard.rendering import TEMPLATES, templates

VENDOR = ASSETS / "vendor"
OURS = sorted(path for path in (ASSETS / "dashboard").rglob("*") if path.suffix == ".js")
PAGES = sorted(TEMPLATES.rglob("*.html"))


async def _get(url: str, **headers: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(create_api("0"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://gw") as client:
        return await client.get(url, headers=headers)


def test_what_is_vendored_is_as_it_was_published():
    listed = dict(reversed(line.split()) for line in (VENDOR / "CHECKSUMS.sha256").read_text().splitlines())
    there = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name not in {"CHECKSUMS.sha256", "README.md"}
    }
    assert listed == there


async def test_a_file_is_kept_for_a_year_under_a_name_that_changes_with_it():
    answer = await _get(asset_url("gateway.css"))
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == FOR_A_YEAR
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert version() in asset_url("gateway.css")


async def test_an_old_name_still_works_but_is_not_kept():
    answer = await _get("/ui/assets/000000000000/gateway.css")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"


async def test_it_goes_out_compressed_to_those_who_take_it():
    plain = await _get(asset_url("pico/pico.min.css"), **{"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == (VENDOR / "pico" / "pico.min.css").read_bytes()
    small = await _get(asset_url("pico/pico.min.css"), **{"accept-encoding": "gzip"})
    assert small.headers["content-encoding"] == "gzip"
    assert small.headers["vary"] == "accept-encoding"
    assert int(small.headers["content-length"]) < len(plain.content) / 4
    assert small.content == plain.content
    assert gzip.compress(b"") != b""


@pytest.mark.parametrize(
    "name",
    ["missing.js", "../templates/base.html", "..%2ftemplates%2fbase.html", "vendor/htmx/LICENSE", "htmx/LICENSE",
     "CHECKSUMS.sha256", "%2e%2e/%2e%2e/main.py", "/etc/passwd"],
)  # fmt: skip
async def test_nothing_else_is_given_out(name):
    answer = await _get(f"/ui/assets/{version()}/{name}")
    assert answer.status_code == 404


def test_a_wrong_name_in_a_template_is_an_error():
    with pytest.raises(KeyError):
        asset_url("missing.js")


@pytest.mark.parametrize("page", PAGES, ids=[path.name for path in PAGES])
def test_templates_keep_to_the_policy(page: Path):
    text = page.read_text()
    assert not re.search(r"\|\s*safe\b|\bMarkup\b|{%\s*autoescape", text)
    assert not re.search(r"<script(?![^>]*\bsrc=)", text), "an inline script"
    assert "<style" not in text
    assert not re.search(r"<[^>{]*\sstyle\s*=", text), "an inline style"
    assert not re.search(r"<[^>]*\son[a-z]+\s*=", text), "an inline handler"
    assert not re.search(r"hx-on|[\"']js:|javascript:", text)
    assert not re.search(r"hx-trigger=\"[^\"]*\[", text), "a filter is evaluated as script"
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", re.sub(r"<a [^>]*>", "", text)), "another host"
    templates.get_template(page.relative_to(TEMPLATES).as_posix())


@pytest.mark.parametrize("script", OURS, ids=[path.name for path in OURS])
def test_scripts_write_text_and_never_markup(script: Path):
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", script.read_text(), flags=re.DOTALL)
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function"
    assert not re.search(markup + r"|setAttribute\(\s*[\"'](?:style|on)", text)
    assert not re.search(r"localStorage|sessionStorage|indexedDB|document\.cookie", text)


def test_there_is_something_to_look_at():
    assert {path.name for path in PAGES} >= {"base.html", "sign_in.html", "error.html"}
    assert {path.name for path in OURS} >= {"base.js", "live.js", "live-worker.js"}
