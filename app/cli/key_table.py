"""How do keys and groups read in a terminal, and which one is meant by a name or the beginning of an id?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from rich.table import Table
from rich.text import Text

from app.cli.exits import CommandFailed
from app.cli.key_options import LIMIT_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from app.cli.gateway_client import GatewayClient

__all__ = [
    "GROUPS_PATH",
    "KEYS_PATH",
    "fetch_groups",
    "fetch_keys",
    "find_group",
    "find_key",
    "group_details",
    "group_named",
    "group_table",
    "key_details",
    "key_lines",
    "key_named",
    "key_path",
    "key_table",
    "limits_in_words",
]

KEYS_PATH: Final = "/admin/keys"
GROUPS_PATH: Final = "/admin/groups"
WIDE_COLUMNS: Final = 100
"""From this width on what a key may do has room too."""
SHORT_ID_LENGTH: Final = 8
KNOWN_SHOWN: Final = 10
MAX_SEARCH_LENGTH: Final = 200
"""As long as a name can be."""
_NONE: Final = "-"
_STYLES: Final = {"active": "green", "unclaimed": "yellow", "expired": "dim", "revoked": "red"}
_LIMIT_WORDS: Final = dict(
    zip(LIMIT_NAMES, ("requests/min", "tokens/min", "tokens/day", "tokens/month", "at once"), strict=True)
)
_SWITCHES: Final = (
    ("tools_anywhere", "its tools go to every server"),
    ("names_people", "names its users"),
    ("background", "yields to people"),
)


def fetch_keys(client: GatewayClient, filters: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The keys that one may see, page after page."""
    keys: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = client.request("GET", KEYS_PATH, params={**(filters or {}), **after})
        keys += page["keys"]
        if not (page["keys"] and page.get("next_after")):
            return keys
        after = {"after": page["next_after"]}


def fetch_groups(client: GatewayClient) -> list[dict[str, Any]]:
    """The groups that one may see."""
    return list(client.request("GET", GROUPS_PATH)["groups"])


def find_key(client: GatewayClient, wanted: str) -> dict[str, Any]:
    """The one key that an id, its beginning, a name or the shown end of the key means. Live keys go before ended ones.

    Raises:
        CommandFailed: none or several fit; the message names those that exist.
    """
    fitting = fetch_keys(client, {"q": wanted[:MAX_SEARCH_LENGTH]})
    return key_named(fitting if any(_fits(key, wanted) for key in fitting) else fetch_keys(client), wanted)


def key_named(keys: Sequence[Mapping[str, Any]], wanted: str) -> dict[str, Any]:
    """The one of these keys that is meant, as ``find_key`` says.

    Raises:
        CommandFailed: none or several fit; the message names those that exist.
    """
    fitting = [key for key in keys if _fits(key, wanted)]
    live = [key for key in fitting if key["state"] not in {"revoked", "expired"}]
    return _only(live or fitting, wanted, "key", keys)


def find_group(client: GatewayClient, wanted: str) -> dict[str, Any]:
    """The one group that an id, its beginning or a name means.

    Raises:
        CommandFailed: none or several fit; the message names those that exist.
    """
    return group_named(fetch_groups(client), wanted)


def group_named(groups: Sequence[Mapping[str, Any]], wanted: str) -> dict[str, Any]:
    """The one of these groups that is meant, as ``find_group`` says.

    Raises:
        CommandFailed: none or several fit; the message names those that exist.
    """
    named = [group for group in groups if group["name"] == wanted]
    return _only(named or [group for group in groups if _fits(group, wanted)], wanted, "group", groups)


def key_path(key: Mapping[str, Any]) -> str:
    """The path under which one key is looked at and changed."""
    return f"{KEYS_PATH}/{quote(str(key['id']), safe='')}"


def limits_in_words(limits: Mapping[str, Any] | None) -> str:
    """The limits that are set, such as "60 requests/min, 4 at once"; empty if none is."""
    known = limits or {}
    return ", ".join(f"{known[name]:,} {words}" for name, words in _LIMIT_WORDS.items() if known.get(name) is not None)


def key_table(keys: Sequence[Mapping[str, Any]], width_columns: int) -> Table:
    """One row a key."""
    is_wide = width_columns >= WIDE_COLUMNS
    table = Table(box=None, pad_edge=False, highlight=False)
    for title in ("Id", "Name", "Role", "Group", "State", "Key"):
        table.add_column(title, overflow="fold", no_wrap=title in {"Id", "Role", "State", "Key"})
    for title in ("Expires", "Limits") if is_wide else ():
        table.add_column(title, overflow="fold")
    for key in keys:
        aside = (_day(key.get("expires_at")), Text(limits_in_words(key.get("limits")) or _NONE)) if is_wide else ()
        table.add_row(
            str(key["id"])[:SHORT_ID_LENGTH],
            Text(str(key["name"])),
            str(key["role"]),
            Text(str(key.get("group") or _NONE)),
            _state(key),
            Text(" ".join(secret["shown"] for secret in key.get("secrets") or ()) or _NONE),
            *aside,
        )
    return table


def key_lines(key: Mapping[str, Any]) -> Iterator[str]:
    """What a key that was just made may do, in a few lines."""
    scope = [f"role {key['role']}"]
    scope += [f"group {key['group']}"] if key.get("group") else []
    scope += [f"models {', '.join(key['models'])}"] if key.get("models") else []
    scope += [words] if (words := limits_in_words(key.get("limits"))) else []
    scope += [f"{model} {limits_in_words(limits)}" for model, limits in (key.get("model_limits") or {}).items()]
    scope += [f"until {key['expires_at']}"] if key.get("expires_at") else []
    yield f"{key['name']} ({str(key['id'])[:SHORT_ID_LENGTH]}): {'; '.join(scope)}."
    yield "Keep the key now: it is not stored and cannot be shown again."


def key_details(key: Mapping[str, Any]) -> Table:
    """Everything about one key, one line a field."""
    secrets = [
        f"{secret['shown']}" + (f" until {secret['expires_at']}" if secret.get("expires_at") else "")
        for secret in key.get("secrets") or ()
    ]
    rows = [
        ("Id", key["id"]),
        ("Name", key["name"]),
        ("Role", key["role"]),
        ("Group", key.get("group")),
        ("Person", key.get("person")),
        ("Key", ", ".join(secrets)),
        ("Expires", key.get("expires_at") or "never"),
        ("Routes", _all_or(key.get("routes"))),
        ("Minted by", key.get("minted_by")),
        ("Created", key.get("created_at")),
        ("Changed", key.get("updated_at")),
        ("Revoked", key.get("revoked_at")),
    ]
    table = Table.grid(padding=(0, 2))
    table.add_row("State", _state(key))
    _add_rows(table, rows)
    _add_rows(table, _terms(key))
    _add_rows(table, [("Besides", words) for name, words in _SWITCHES if key.get(name)])
    return table


def group_table(groups: Sequence[Mapping[str, Any]]) -> Table:
    """One row a group."""
    table = Table(box=None, pad_edge=False, highlight=False)
    for title in ("Id", "Name", "Models", "Limits together", "Limits a person"):
        table.add_column(title, overflow="fold", no_wrap=title == "Id")
    for group in groups:
        table.add_row(
            str(group["id"])[:SHORT_ID_LENGTH],
            Text(str(group["name"])),
            Text(_all_or(group.get("models"))),
            limits_in_words(group.get("limits")) or _NONE,
            limits_in_words(group.get("person_limits")) or _NONE,
        )
    return table


def group_details(group: Mapping[str, Any]) -> Table:
    """Everything about one group, one line a field."""
    table = Table.grid(padding=(0, 2))
    _add_rows(table, [("Id", group["id"]), ("Name", group["name"]), ("Description", group.get("description"))])
    _add_rows(table, _terms(group))
    _add_rows(table, [("Limits a person", limits_in_words(group.get("person_limits")))])
    return table


def _terms(one: Mapping[str, Any]) -> list[tuple[str, object]]:
    """What keys and groups have alike."""
    by_model = (one.get("model_limits") or {}).items()
    return [
        ("Models", _all_or(one.get("models"))),
        ("Reach", one.get("reach")),
        ("Weight", one.get("weight")),
        ("Limits", limits_in_words(one.get("limits"))),
        *((f"Limits of {model}", limits_in_words(limits)) for model, limits in by_model),
    ]


def _add_rows(table: Table, rows: Iterable[tuple[str, object]]) -> None:
    """Add what is there to be told."""
    for label, value in rows:
        if value not in {None, ""}:
            table.add_row(Text(label), Text(str(value)))


def _fits(one: Mapping[str, Any], wanted: str) -> bool:
    """Whether an id, its beginning, a name or what is shown of a key means this."""
    shown = {str(secret["shown"]) for secret in one.get("secrets") or ()}
    is_id = bool(wanted) and str(one["id"]).startswith(wanted.lower())
    return is_id or wanted == one["name"] or wanted in shown


def _only(
    fitting: Sequence[Mapping[str, Any]], wanted: str, kind: str, existing: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    exact = [one for one in fitting if one["id"] == wanted]
    if len(exact or fitting) == 1:
        return dict((exact or fitting)[0])
    if fitting:
        ids = ", ".join(str(one["id"]) for one in fitting[:KNOWN_SHOWN])
        raise CommandFailed(f"'{wanted}' fits {len(fitting)} {kind}s: {ids}.", fix="Write the id, or more of it.")
    known = ", ".join(f"{str(one['id'])[:SHORT_ID_LENGTH]} ({one['name']})" for one in existing[:KNOWN_SHOWN])
    more = f" and {len(existing) - KNOWN_SHOWN} more" if len(existing) > KNOWN_SHOWN else ""
    fix = f"There are: {known}{more}." if known else f"Make one first: multiverse {kind}s create"
    raise CommandFailed(f"There is no {kind} '{wanted}'.", fix=fix)


def _state(key: Mapping[str, Any]) -> Text:
    state = str(key.get("state") or "unknown")
    return Text(state, style=_STYLES.get(state, ""))


def _day(instant: object) -> str:
    """The date of an ISO timestamp."""
    return "never" if instant is None else str(instant)[:10]


def _all_or(names: Sequence[str] | None) -> str:
    return "all" if names is None else ", ".join(names)
