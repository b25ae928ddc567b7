"""Does ``multiverse servers explain`` ask the gateway for the right thing, and tell what it said?"""

from __future__ import annotations

import json

import pytest

ID = "3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"
OTHER_ID = "99aa4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"
SENTENCE = "The next request goes to 3f0c4a52, because the model is in memory there."
PLACE = {
    "registration_id": ID,
    "endpoint_url": "http://10.0.0.5:8000",
    "takes": True,
    "share": 1.0,
    "word": "",
    "why": "",
    "in_flight": 2,
    "foreign": 1.5,
    "places": 4,
    "cap": None,
    "priority": 0,
    "weight": 1.0,
    "ramp": 0.5,
    "warm": True,
    "context_length": 8192,
    "home": "session",
}
OTHER = {
    **PLACE, "registration_id": OTHER_ID, "endpoint_url": None, "takes": False, "share": 0.0, "why": "full, 4 of 4",
    "in_flight": 4, "foreign": 0.0, "context_length": None, "home": "",
}  # fmt: skip
TOLD = {
    "model": "llama", "verdict": "forward", "why": "loaded", "message": "", "sentence": SENTENCE,
    "servers": [PLACE, OTHER],
}  # fmt: skip


@pytest.fixture
def explaining(gateway):
    gateway.answers["GET", "/admin/explain"] = (200, TOLD)
    return gateway


@pytest.mark.usefixtures("explaining")
def test_it_shows_a_row_a_server_and_a_sentence(run_here) -> None:
    result = run_here("servers", "explain", "llama")
    assert result.exit_code == 0
    head, one, two, blank, sentence = result.stdout.splitlines()
    assert head.split() == ["Id", "Endpoint", "Taken", "Load", "Context", "Why"]
    known = "coming back, at 50% of its weight, knows this session"
    assert " ".join(one.split()) == f"3f0c4a52 http://10.0.0.5:8000 100% 2+1.5 of 4 8,192 {known}"
    assert " ".join(two.split()) == "99aa4a52 - no 4 of 4 - full, 4 of 4"
    assert (blank, sentence) == ("", SENTENCE)


@pytest.mark.usefixtures("explaining")
def test_it_fits_into_eighty_columns(run_here) -> None:
    shown = run_here("servers", "explain", "llama", COLUMNS="80").stdout
    assert "Endpoint" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_as_json_it_is_json_alone(run_here, explaining) -> None:
    options = ["--prompt-tokens", "30000", "--answer-tokens", "500", "--session", "a b", "--json"]
    result = run_here("servers", "explain", "org/llama:8b", *options)
    assert json.loads(result.stdout) == TOLD
    method, path, _body = explaining.requests[-1]
    assert method == "GET"
    query = "model=org%2Fllama%3A8b&prompt_tokens=30000&answer_tokens=500&session=a+b"
    assert path.replace("%20", "+") == f"/admin/explain?{query}"


def test_what_is_not_asked_for_is_left_to_the_gateway(run_here, explaining) -> None:
    run_here("servers", "explain", "llama")
    assert explaining.requests[-1][1] == "/admin/explain?model=llama"


def test_an_unknown_model_ends_with_one_and_the_gateways_words(run_here, gateway) -> None:
    error = {"error": {"message": "Model 'gpt' not found. Available: llama.", "code": "model_not_found"}}
    gateway.answers["GET", "/admin/explain"] = (404, error)
    result = run_here("servers", "explain", "gpt")
    assert result.exit_code == 1
    assert "Available: llama" in result.stderr


def test_bad_counts_are_wrong_usage(run_here) -> None:
    assert run_here("servers", "explain", "llama", "--prompt-tokens", "-5").exit_code == 2
