"""Do names and beginnings of ids become the ids that the account goes by?"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

ADA, GONE = "7d0f1c6e-2b8a-4f0e-9c55-0f4b1f1f6a01", "99999999-2b8a-4f0e-9c55-0f4b1f1f6a01"
LAB = "aaaa1c6e-2b8a-4f0e-9c55-0f4b1f1f6a01"
SERVER = "3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"
EMPTY = {"rows": [], "total": 0, "group_by": "key", "from": "a", "to": "b",
         "totals": dict.fromkeys(("requests", "errors", "prompt_tokens", "completion_tokens", "total_tokens",
                                  "estimated_tokens"), 0)}  # fmt: skip
REFUSED = 403, {"error": {"message": "This key sees its own use alone."}}


def key_row(key_id: str, name: str, state: str = "active") -> dict[str, Any]:
    return {"id": key_id, "name": name, "state": state, "secrets": [{"shown": f"mvk_...{key_id[:4]}"}]}


@pytest.fixture
def known(gateway):
    gateway.answers["GET", "/admin/usage"] = 200, EMPTY
    keys = [key_row(ADA, "ada"), key_row("ffff", "ada", "revoked"), key_row("b1", "twin"), key_row("b2", "twin")]
    gateway.answers["GET", "/admin/keys"] = 200, {"keys": keys}
    gateway.answers["GET", "/v1/usage"] = 200, {"key_id": "admin", "name": "operator"}
    gateway.answers["GET", "/admin/groups"] = 200, {"groups": [{"id": LAB, "name": "lab"}]}
    gateway.add(SERVER, "http://10.0.0.5:8000")
    return gateway


def filters(gateway) -> dict[str, list[str]]:
    path = gateway.requests[-1][1]
    assert urlsplit(path).path == "/admin/usage"
    return {name: value for name, value in parse_qs(urlsplit(path).query, keep_blank_values=True).items()
            if name != "limit"}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--of-key", "ada"], {"key": [ADA]}),
        (["--of-key", "7d0f", "--of-key", "b1"], {"key": [ADA, "b1"]}),
        (["--of-key", "mvk_...7d0f"], {"key": [ADA]}),
        (["--owner", "ada"], {"owner": [ADA]}),
        (["--of-key", "operator"], {"key": ["admin"]}),
        (["--group", "lab"], {"group": [LAB]}),
        (["--group", "aaaa"], {"group": [LAB]}),
        (["--server", "3f0c"], {"server": [SERVER]}),
        (["--server", "http://10.0.0.5:8000/v1"], {"server": [SERVER]}),
        (["--model", "ada", "--person", "lab"], {"model": ["ada"], "person": ["lab"]}),
        (["--of-key", "ada", "--owner", "twin-less", "--owner", "b2"], None),
    ],
)
def test_what_is_meant_goes_to_the_gateway_as_ids(run_here, known, options: list[str], asked: Any) -> None:
    result = run_here("usage", *options)
    if asked is None:
        assert (result.exit_code, "There is no key 'twin-less'" in result.stderr) == (1, True)
        return
    assert result.exit_code == 0, result.stderr
    assert filters(known) == asked


def test_keys_are_listed_once_for_both_filters(run_here, known) -> None:
    run_here("usage", "--of-key", "ada", "--owner", "b1")
    assert [path for _method, path, _body in known.requests].count("/admin/keys") == 1


def test_the_key_that_asks_is_known_by_name_once(run_here, known) -> None:
    known.answers["GET", "/v1/usage"] = 200, {"key_id": ADA, "name": "ada"}
    assert run_here("usage", "--of-key", "ada").exit_code == 0
    assert filters(known) == {"key": [ADA]}


def test_what_is_gone_is_found_by_its_whole_id_and_the_operators_key_by_its_own(run_here, known) -> None:
    options = ["--of-key", GONE, "--of-key", "admin", "--group", "", "--server", GONE, "--owner", "anonymous"]
    assert run_here("usage", *options).exit_code == 0
    assert [path for _method, path, _body in known.requests if "/usage" not in path] == []
    assert filters(known) == {"key": [GONE, "admin"], "group": [""], "server": [GONE], "owner": ["anonymous"]}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--of-key", "nobody"], "There are: 7d0f1c6e (ada)"),
        (["--of-key", "twin"], "fits 2 keys: b1, b2"),
        (["--group", "labb"], "(lab)"),
        (["--server", "eeee"], "http://10.0.0.5:8000"),
    ],
)
def test_what_fits_none_or_several_is_told_with_those_that_there_are(run_here, known, options, said: str) -> None:
    result = run_here("usage", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert all("/admin/usage" not in path for _method, path, _body in known.requests)


def test_a_key_that_may_not_list_hears_what_it_may_know_of_use(run_here, known) -> None:
    known.answers["GET", "/admin/keys"] = 403, {"error": {"message": "Keys are for admins."}}
    known.answers["GET", "/admin/usage"] = REFUSED
    result = run_here("usage", "--of-key", "ada")
    assert (result.exit_code, "This key sees its own use alone." in result.stderr) == (4, True)


def test_another_failure_of_the_listing_is_told(run_here, known) -> None:
    known.answers["GET", "/admin/groups"] = 503, {"error": {"message": "The gateway is starting."}}
    result = run_here("usage", "--group", "lab")
    assert (result.exit_code, "The gateway is starting." in result.stderr) == (1, True)
