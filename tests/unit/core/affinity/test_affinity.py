"""Affinity: homes in their order, where a conversation begins, and when it moves."""

from __future__ import annotations

import pytest

from app.services.core.affinity import Affinity, mark_session
from app.services.core.affinity.trail import make_trail

NOW = 10_000.0
HEAD = b'{"messages":['


def prompt(*texts: bytes) -> bytes:
    return HEAD + b"".join(texts)


CHAT = prompt(b"c" * 6000)
LONGER = prompt(b"c" * 6000, b"d" * 3000)


def homes(affinity: Affinity, body: bytes, session: int | None = None, *among: str) -> list[tuple[str, str]]:
    found, trail = affinity.homes("m", body, session, NOW, among)
    assert trail == make_trail("m", body)
    assert len(found) <= 4
    return [(home.server_id, home.by) for home in found]


def send(affinity: Affinity, body: bytes, server_id: str, session: int | None = None, *, ends: bool = True) -> None:
    work = affinity.went(make_trail("m", body), session, server_id, NOW)
    if ends:
        affinity.ended(server_id, work, 1.0)


def test_what_is_new_and_may_go_anywhere_has_no_home() -> None:
    assert homes(Affinity(), CHAT) == []
    assert homes(Affinity(), b"short") == []
    assert homes(Affinity(), b"short", 1, "a", "b") == []


def test_a_conversation_goes_where_it_was() -> None:
    affinity = Affinity()
    send(affinity, CHAT, "a")
    assert homes(affinity, LONGER) == [("a", "prefix")]
    [home], _trail = affinity.homes("m", LONGER, None, NOW)
    assert 5500 <= home.known_bytes <= 6000


def test_who_knows_more_comes_first() -> None:
    affinity = Affinity()
    send(affinity, CHAT, "a")
    send(affinity, LONGER, "b")
    assert homes(affinity, LONGER) == [("b", "prefix"), ("a", "prefix")]


def test_less_than_half_is_no_home() -> None:
    affinity = Affinity()
    send(affinity, prompt(b"s" * 2000, b"x" * 4000), "a")
    assert homes(affinity, prompt(b"s" * 2000, b"y" * 4000)) == []


def test_other_models_and_tenants_are_not_at_home_there() -> None:
    affinity = Affinity()
    send(affinity, CHAT, "a")
    assert affinity.homes("other", CHAT, None, NOW)[0] == ()
    assert affinity.homes("m", CHAT, None, NOW, (), "tenant")[0] == ()


def test_a_named_session_goes_before_all_even_for_a_short_prompt() -> None:
    affinity = Affinity()
    session = mark_session("key", "m", b"chat-1")
    assert affinity.went((), session, "b", NOW) == 0
    send(affinity, CHAT, "a")
    assert homes(affinity, b"short", session) == [("b", "session")]
    assert homes(affinity, CHAT, session) == [("b", "session"), ("a", "prefix")]
    assert homes(affinity, b"short", mark_session("another", "m", b"chat-1")) == []


def test_a_server_is_named_once() -> None:
    affinity = Affinity()
    send(affinity, CHAT, "a", 7)
    found, _trail = affinity.homes("m", CHAT, 7, NOW, ["a"])
    assert [(home.server_id, home.by) for home in found] == [("a", "session")]
    assert found[0].known_bytes > 5500


def test_never_more_than_four() -> None:
    affinity = Affinity()
    for number in range(10):
        send(affinity, CHAT, f"server-{number}", 7)
    assert len(homes(affinity, CHAT, 7, "idle", "server-1")) == 4
    assert homes(affinity, CHAT, 7, "idle", "server-1")[-1] == ("idle", "placed")


def test_conversations_that_begin_are_spread_by_their_work() -> None:
    affinity = Affinity()
    servers = ["a", "b", "c"]
    sent = dict.fromkeys(servers, 0)
    for number in range(30):
        body = prompt(b"%d " % number, b"x" * (3000 + 500 * (number % 7)))
        [(server_id, by)] = homes(affinity, body, None, *servers)
        assert by == "placed"
        sent[server_id] += len(body)
        send(affinity, body, server_id)
    assert max(sent.values()) <= 1.25 * sum(sent.values()) / 3


def test_slow_servers_are_given_less() -> None:
    affinity = Affinity()
    sent = {"laptop": 0, "big": 0}
    for number in range(60):
        body = prompt(b"%d " % number, b"x" * 3000)
        [(server_id, _by)] = homes(affinity, body, None, *sent)
        sent[server_id] += 1
        work = affinity.went(make_trail("m", body), None, server_id, NOW)
        affinity.ended(server_id, work, 20.0 if server_id == "laptop" else 1.0)
    assert 1 <= sent["laptop"] <= 5


def test_a_shared_beginning_is_worth_as_much_as_it_saves() -> None:
    affinity = Affinity()
    system = b"s" * 4000
    send(affinity, prompt(system, b"x" * 100), "a")
    following = prompt(system, b"y" * 30_000)
    affinity.went(make_trail("m", prompt(b"z" * 3000)), None, "b", NOW)
    assert homes(affinity, following, None, "a", "b") == [("a", "placed")]
    for number in range(3):
        send(affinity, prompt(b"%d" % number * 4000), "a")
    assert homes(affinity, following, None, "a", "b") == [("b", "placed")]


def overworked() -> Affinity:
    """A server with far more to do than another, and a conversation at home there."""
    affinity = Affinity()
    for number in range(20):
        send(affinity, prompt(b"%02d" % number * 5000), "a")
    send(affinity, CHAT, "a", 7)
    return affinity


def test_a_conversation_leaves_a_home_with_too_much_work() -> None:
    affinity = overworked()
    send(affinity, prompt(b"!" * 3000), "a", ends=False)
    assert homes(affinity, LONGER, None, "a", "b") == [("b", "placed"), ("a", "prefix")]


def test_it_goes_to_the_other_that_knows_it_if_that_is_best() -> None:
    affinity = overworked()
    send(affinity, prompt(b"!" * 3000), "a", ends=False)
    send(affinity, CHAT, "b")
    send(affinity, LONGER, "a")
    assert homes(affinity, LONGER, None, "a", "b") == [("b", "prefix"), ("a", "prefix")]


def test_it_stays_where_nothing_else_runs() -> None:
    assert homes(overworked(), LONGER, None, "a", "b") == [("a", "prefix"), ("b", "placed")]


def test_named_sessions_stay() -> None:
    affinity = overworked()
    send(affinity, prompt(b"!" * 3000), "a", ends=False)
    assert homes(affinity, LONGER, 7, "a", "b") == [("a", "session"), ("b", "placed")]


def test_one_conversation_alone_is_never_moved() -> None:
    affinity = Affinity()
    text = b""
    for turn in range(40):
        text += b"%02d" % turn * 1500
        first = homes(affinity, prompt(text), None, "a", "b", "c")[0]
        assert first == ("a", "prefix" if turn else "placed")
        send(affinity, prompt(text), "a")


def test_of_very_many_servers_some_are_looked_at_others_each_time() -> None:
    affinity = Affinity()
    servers = [f"server-{number}" for number in range(100)]
    placed = set()
    for number in range(50):
        body = prompt(b"%d " % number, b"x" * 3000)
        [(server_id, _by)] = homes(affinity, body, None, *servers)
        placed.add(server_id)
        send(affinity, body, server_id)
    assert len(placed) == 50


def test_servers_that_are_gone_or_started_anew_are_no_home() -> None:
    affinity = Affinity()
    for server_id in ("a", "b", "c"):
        send(affinity, CHAT, server_id)
    affinity.keep({"a", "b"})
    affinity.forget("a")
    assert homes(affinity, CHAT) == [("b", "prefix")]


@pytest.mark.parametrize("body", [b"", b"\x00" * 5000, b'{"messages"' * 500, b"[" * 5000])
def test_any_body_will_do(body: bytes) -> None:
    affinity = Affinity()
    send(affinity, body, "a")
    assert {server_id for server_id, _by in homes(affinity, body, None, "a", "b")} <= {"a", "b"}


def test_what_owners_say_of_their_servers_goes_before_what_was_learnt() -> None:
    affinity = Affinity()
    sent = {"big": 0, "small": 0}
    for number in range(80):
        body = prompt(b"%d " % number, b"x" * 3000)
        strength = {"big": 3.0, "small": 1.0}.__getitem__
        [home], trail = affinity.homes("m", body, None, NOW, tuple(sent), strength=strength)
        sent[home.server_id] += 1
        affinity.ended(home.server_id, affinity.went(trail, None, home.server_id, NOW), 1.0)
    assert sent == {"big": 60, "small": 20}


def test_a_home_that_is_not_among_them_is_named_and_nothing_else() -> None:
    affinity = Affinity()
    send(affinity, CHAT, "down")
    assert homes(affinity, LONGER, None, "a") == [("down", "prefix"), ("a", "placed")]
