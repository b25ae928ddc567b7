"""Names of what is known by id alone: of keys that ended too, and of servers as far as one may know them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from app.services.known_names import KnownNames
from app.services.registry.specification import ServerSpec
from tests.fakes.registry import ADMIN, OWNER, STRANGER, registry_world

KEYS = {
    "use-a": SimpleNamespace(name="Ann's student", minted_by="own-a"),
    "use-b": SimpleNamespace(name="b", minted_by=None),
}


async def test_names_are_told_as_far_as_one_may_know(tmp_path: Path) -> None:
    async with registry_world(tmp_path) as world:
        spec = ServerSpec("http://10.0.0.5:8000", metadata={"description": "lab box"})
        record = await world.registry.register(OWNER, spec)
        names = KnownNames(lambda: KEYS, world.registry)
        assert names.owner(record.id) == OWNER.key_id
        assert [names.server_name(record.id, one) for one in (ADMIN, OWNER, STRANGER)] == [
            "10.0.0.5:8000",
            "10.0.0.5:8000",
            "lab box",
        ]
        await world.registry.remove(OWNER, record.id)
        assert (names.owner(record.id), names.server_name(record.id, ADMIN)) == ("", "(removed)")


def test_keys_without_rows_have_names_too() -> None:
    names = KnownNames(lambda: KEYS, None)
    assert [names.key_name(one) for one in ("use-a", "admin", "anonymous", "gone", "")] == [
        "Ann's student",
        "operator",
        "anonymous",
        "(removed)",
        "(none)",
    ]
    assert [names.minted_by(one) for one in ("use-a", "use-b", "gone")] == ["own-a", "", ""]
