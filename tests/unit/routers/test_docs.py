"""Is the API described completely, and without any other host?"""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from app.routers.docs import FOLDER, MEDIA_TYPES

ERROR = {"$ref": "#/components/schemas/ErrorEnvelope"}
HEALTH_ANSWERS = {("/health", "503"), ("/ready", "503")}


async def test_the_page_needs_nothing_but_this_host(api):
    page = await api.client.get("/docs", headers={"authorization": ""})
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "http" not in re.sub(r"http-equiv", "", page.text)
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=", page.text)
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for path in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert (await api.client.get(f"/{path}", headers={"authorization": ""})).status_code == 200


@pytest.mark.parametrize("name", sorted(MEDIA_TYPES))
async def test_each_file_of_the_page_is_there_with_its_type(api, name):
    answer = await api.client.get(f"/docs/assets/{name}")
    assert answer.content == (FOLDER / name).read_bytes()
    assert answer.headers["content-type"].startswith(MEDIA_TYPES[name])
    assert "max-age" in answer.headers["cache-control"]


@pytest.mark.parametrize("name", ["README.md", "..%2f..%2fmain.py", "%2e%2e/init.js", "missing.js"])
async def test_no_other_file_is_given(api, name):
    assert (await api.client.get(f"/docs/assets/{name}")).status_code == 404


def test_vendored_files_are_as_they_were_published():
    lines = (FOLDER / "CHECKSUMS.sha256").read_text().splitlines()
    listed = dict(reversed(line.split(maxsplit=1)) for line in lines)
    assert set(MEDIA_TYPES) - set(listed) == {"init.js"}
    for name, checksum in listed.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == checksum


async def test_the_description_is_served_and_complete(api):
    described = (await api.client.get("/openapi.json", headers={"authorization": ""})).json()
    assert described == json.loads(json.dumps(api.app.openapi()))
    assert described["info"]["version"] == "1.2.3"
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]
            answers = operation["responses"]
            assert {"400", "408", "413", "431", "500"} <= set(answers)
            for status, answer in answers.items():
                assert answer["description"]
                if int(status) >= 400 and (path, status) not in HEALTH_ANSWERS:
                    assert answer["content"]["application/json"]["schema"] == ERROR
            takes_key = path.startswith(("/admin", "/v1/")) or path == "/metrics"
            assert ("401" in answers and "403" in answers) is takes_key
            assert ("security" in operation) is ("401" in answers)


def test_keys_are_described_both_ways(api):
    described = api.app.openapi()
    assert set(described["components"]["securitySchemes"]) == {"BearerKey", "X-API-Key"}
    assert described["paths"]["/admin/servers"]["get"]["security"] == [{"BearerKey": []}, {"X-API-Key": []}]


def test_bodies_carry_examples_and_refuse_more_fields(api):
    schemas = api.app.openapi()["components"]["schemas"]
    for name in ("RegisterServer", "ChangeServer", "HoldRequest"):
        assert schemas[name]["examples"]
        assert schemas[name]["additionalProperties"] is False
    assert "HTTPValidationError" not in schemas
