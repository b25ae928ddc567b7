"""Can what the demo prints be copied and pasted as it stands?"""

from __future__ import annotations

import ast
import json
import shlex

from app.cli.demo_guide import DemoServer, Guide, curl_line, guide_text, kill_line, python_snippet

SERVERS = (DemoServer("http://127.0.0.1:5001", "id-1", 4242), DemoServer("http://127.0.0.1:5002", "id-2", 4243))
GUIDE = Guide("http://127.0.0.1:8001/v1", "demo-key", "org/model:7b", SERVERS)


def test_curl_is_one_line_with_everything_in_it() -> None:
    line = curl_line(GUIDE, stream=False, windows=False)
    words = shlex.split(line)
    assert "\n" not in line
    assert words[:3] == ["curl", "-s", "http://127.0.0.1:8001/v1/chat/completions"]
    assert "Authorization: Bearer demo-key" in words
    assert json.loads(words[-1])["model"] == "org/model:7b"


def test_the_streaming_line_streams() -> None:
    words = shlex.split(curl_line(GUIDE, stream=True, windows=False))
    assert words[1] == "-sN"
    assert json.loads(words[-1])["stream"] is True


def test_windows_gets_its_own_quotes() -> None:
    line = curl_line(GUIDE, stream=False, windows=True)
    assert "'" not in line
    assert '\\"model\\": \\"org/model:7b\\"' in line
    assert kill_line(7, windows=True) == "taskkill /F /PID 7"


def test_the_snippet_is_python() -> None:
    tree = ast.parse(python_snippet(GUIDE))
    assert len(tree.body) == 5
    assert "demo-key" in ast.unparse(tree)


def test_the_snippet_compiles_as_it_is_printed() -> None:
    text = guide_text(GUIDE, "Hello!", windows=False)
    printed = text.partition("From Python")[2].partition("\n")[2].partition("\n\n")[0]
    compile(printed, "pasted", "exec")
    assert "demo-key" in printed


def test_the_page_tells_how_to_break_it() -> None:
    text = guide_text(GUIDE, "Hello!\nSecond line.", windows=False)
    for part in ("  kill 4242\n", "process 4243", "  Hello!\n  Second line.", "http://127.0.0.1:8001/docs", "Ctrl-C"):
        assert part in text
    assert f"  {curl_line(GUIDE, stream=False, windows=False)}\n" in text


def test_the_page_leads_to_the_pages() -> None:
    text = guide_text(GUIDE, "Hello!", windows=False)
    assert "  http://127.0.0.1:8001/ui\n  Sign in with the key above. The playground" in text
    engines = Guide(GUIDE.base_url, "k", "m", (DemoServer("http://127.0.0.1:11434", "id"),))
    assert "The playground" not in guide_text(engines, "Hello!", windows=False)


def test_one_server_alone_is_not_to_be_killed() -> None:
    text = guide_text(Guide(GUIDE.base_url, "k", "m", SERVERS[:1]), "Hi", windows=False)
    assert "kill 4242" not in text
    assert "--servers 2" in text


def test_engines_that_were_there_before_are_not_ours_to_kill() -> None:
    text = guide_text(
        Guide(GUIDE.base_url, "k", "m", (DemoServer("http://127.0.0.1:11434", "id"),)), "Hi", windows=False
    )
    assert "\n  kill " not in text
    assert "You have one server; `multiverse demo --no-engines`" in text
    assert "left as they are" in text
    assert "nothing is left behind" not in text


def test_json_has_what_a_script_needs() -> None:
    assert GUIDE.as_json() == {
        "base_url": "http://127.0.0.1:8001/v1",
        "key": "demo-key",
        "model": "org/model:7b",
        "servers": [
            {"pid": 4242, "url": "http://127.0.0.1:5001", "registration_id": "id-1"},
            {"pid": 4243, "url": "http://127.0.0.1:5002", "registration_id": "id-2"},
        ],
    }
