"""Is each change told, can no line be changed, and does nobody read them who may not?"""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.services.core.errors import NotAllowed, StorageUnavailable
from app.services.core.people.principal import Principal, Role
from app.services.registry.accounting.audit import Audit, AuditQuery
from app.services.registry.accounting.audit_entry import append, entry
from app.services.registry.accounting.origin import Origin, coming_from
from app.services.registry.accounting.shown_settings import shown_settings
from app.services.registry.tables import audit_log
from app.utils.config import load_settings
from tests.fakes.registry import ADMIN, OWNER, START, USER

LAB_ADMIN = Principal("lab-admin", "lab admin", Role.ADMIN, group="lab")


@pytest.fixture
def audit(accounts) -> Audit:
    return Audit(accounts.database, accounts.clock)


async def write(accounts, *changes: tuple[str, str, str]) -> None:
    async with accounts.database.write() as connection:
        for number, (action, object_id, actor) in enumerate(changes):
            principal = Principal(actor, f"name of {actor}", Role.ADMIN)
            at = START + timedelta(minutes=number)
            line = entry(
                principal, at, action, action.partition(".")[0], object_id, f"the {object_id}", after={"n": number}
            )
            await append(connection, line)


async def ids(audit: Audit, **fields) -> list[int]:
    return [line.id for line in (await audit.page(ADMIN, AuditQuery(**fields))).lines]


CHANGES = (("key.created", "k1", "admin"), ("key.revoked", "k1", "ann"), ("server.paused", "s1", "ann"))


async def test_lines_come_back_whole_the_newest_first(accounts, audit) -> None:
    with coming_from(Origin("192.0.2.7", "r-1")):
        await write(accounts, *CHANGES)
    page = await audit.page(ADMIN, AuditQuery())
    assert [(line.id, line.entry.action) for line in page.lines] == [
        (3, "server.paused"),
        (2, "key.revoked"),
        (1, "key.created"),
    ]
    told = page.lines[1].entry
    assert (told.actor_id, told.actor_name, told.client, told.request_id) == ("ann", "name of ann", "192.0.2.7", "r-1")
    assert (told.object_kind, told.object_id, told.object_name) == ("key", "k1", "the k1")
    assert (told.before, told.after, told.at) == (None, {"n": 1}, START + timedelta(minutes=1))
    assert page.next_before is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kind": "key"}, [2, 1]),
        ({"action": "key.created"}, [1]),
        ({"actor": "ann"}, [3, 2]),
        ({"actor": "name of ann"}, [3, 2]),
        ({"actor": "name of an"}, []),
        ({"object_id": "s1"}, [3]),
        ({"kind": "key", "actor": "ann"}, [2]),
        ({"since": START + timedelta(minutes=1)}, [3, 2]),
        ({"until": START + timedelta(minutes=1)}, [1]),
        ({"before": 3}, [2, 1]),
        ({"kind": "' OR 1=1 --"}, []),
        ({"object_id": "\ud800"}, []),
    ],
)
async def test_lines_are_found_by_what_they_tell(accounts, audit, fields, expected) -> None:
    await write(accounts, *CHANGES)
    assert await ids(audit, **fields) == expected


async def test_pages_follow_each_other_whatever_is_written_meanwhile(accounts, audit) -> None:
    await write(accounts, *CHANGES, *CHANGES)
    first = await audit.page(ADMIN, AuditQuery(limit=4))
    await write(accounts, *CHANGES)
    second = await audit.page(ADMIN, AuditQuery(limit=4, before=first.next_before))
    assert [line.id for line in (*first.lines, *second.lines)] == [6, 5, 4, 3, 2, 1]
    assert second.next_before is None


async def test_only_the_operator_reads_it(audit) -> None:
    for principal in (OWNER, USER):
        with pytest.raises(NotAllowed, match="admin key"):
            await audit.page(principal, AuditQuery())
    with pytest.raises(NotAllowed, match="without a group"):
        await audit.page(LAB_ADMIN, AuditQuery())


@pytest.mark.parametrize(
    "statement",
    [
        sa.update(audit_log).values(actor_id="somebody else"),
        sa.update(audit_log).where(audit_log.c.id == 1).values(after=None),
        sa.delete(audit_log),
        sa.delete(audit_log).where(audit_log.c.id == 2),
    ],
)
async def test_no_line_is_changed_or_taken_away(accounts, audit, statement) -> None:
    await write(accounts, *CHANGES)
    before = await audit.page(ADMIN, AuditQuery())
    with pytest.raises(sa.exc.IntegrityError, match="append-only"):
        async with accounts.database.write() as connection:
            await connection.execute(statement)
    assert await audit.page(ADMIN, AuditQuery()) == before


# -- settings


async def test_settings_are_told_at_the_first_start_and_then_what_changed(accounts, audit) -> None:
    await audit.record_settings({"A": 1, "B": ["x"], "C": None, "KEY": "set"})
    await audit.record_settings({"A": 1, "B": ["x"], "C": None, "KEY": "set"})
    await audit.record_settings({"A": 2, "B": ["x"], "D": False, "KEY": "unset"})
    await audit.record_settings({"A": 2, "B": ["x"], "D": False, "KEY": "unset"})
    await audit.record_settings({"A": 1, "B": ["x"], "C": None, "KEY": "unset"})
    page = await audit.page(ADMIN, AuditQuery(kind="settings"))
    told = [(line.entry.action, line.entry.before, line.entry.after) for line in reversed(page.lines)]
    assert told == [
        ("settings.first", None, {"A": 1, "B": ["x"], "C": None, "KEY": "set"}),
        ("settings.changed", {"A": 1, "C": None, "KEY": "set"}, {"A": 2, "D": False, "KEY": "unset"}),
        ("settings.changed", {"A": 2, "D": False}, {"A": 1, "C": None}),
    ]
    assert {line.entry.actor_id for line in page.lines} == {"gateway"}


async def test_settings_that_cannot_be_written_are_told_of(accounts, audit) -> None:
    await accounts.database.close()
    with pytest.raises(StorageUnavailable):
        await audit.record_settings({"A": 1})


async def test_the_settings_in_force_are_shown_without_a_secret(audit, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    secrets = {
        "admin_api_key": "canary-admin-0123456789",
        "metrics_key": "canary-metrics-0123456789",
        "otel_exporter_otlp_headers": "authorization=canary-header",
    }
    settings = load_settings(**secrets, allowed_server_networks="10.0.0.0/8")
    shown = shown_settings(settings.model_copy(update={"public_url": "https://user:canary-password@gateway"}))
    assert shown["PUBLIC_URL"] == "https://********@gateway"
    assert "canary" not in str(shown)
    assert (shown["ADMIN_API_KEY"], shown["ENCRYPTION_KEY"]) == ("set", "unset")
    assert (shown["ALLOWED_SERVER_NETWORKS"], shown["PORT"], shown["TLS_CERT_FILE"]) == (["10.0.0.0/8"], 8000, None)
    await audit.record_settings(shown)
    await audit.record_settings(shown)
    assert await ids(audit) == [1]
