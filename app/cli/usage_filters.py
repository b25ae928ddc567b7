"""Whose use is meant by a name or the beginning of an id?

The account goes by ids, and remembers what is gone: an id that is written out is taken as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from app.cli.exits import CommandFailed, ExitCode
from app.cli.key_table import fetch_groups, fetch_keys, group_named, key_named
from app.cli.server_reference import fetch_servers, server_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from app.cli.gateway_client import GatewayClient

__all__ = ["with_ids"]

_WRITTEN_OUT: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
OWN_USE_PATH: Final = "/v1/usage"
_NOT_LISTED: Final = frozenset({"", "admin", "anonymous"})
"""None at all, and the keys that are in no list: the operator's own, and that of requests without one."""
Row = dict[str, Any]


def with_ids(client: GatewayClient, filters: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Put ids in place of names, of what is shown of keys, of URLs of servers and of beginnings of ids.

    Args:
        client: asks the gateway for what there is, where that is needed.
        filters: by ``key``, ``owner``, ``group`` or ``server``; models and people are their own ids.

    Raises:
        CommandFailed: something fits none or several; the message names those that exist.
    """
    listed: dict[Callable[[GatewayClient], list[Row] | None], list[Row] | None] = {}
    meant: dict[str, list[str]] = {}
    for field, wanted in filters.items():
        meant[field] = list(wanted)
        if field not in _KINDS or all(_is_taken_as_it_is(each) for each in wanted):
            continue
        fetch, named, id_field = _KINDS[field]
        if fetch not in listed:
            listed[fetch] = fetch(client)
        rows = listed[fetch]
        if rows is not None:
            meant[field] = [each if _is_taken_as_it_is(each) else str(named(rows, each)[id_field]) for each in wanted]
    return meant


def _is_taken_as_it_is(wanted: str) -> bool:
    return wanted in _NOT_LISTED or _WRITTEN_OUT.fullmatch(wanted) is not None


def _listed(fetch: Callable[[GatewayClient], list[Row]]) -> Callable[[GatewayClient], list[Row] | None]:
    """List what there is; None for a key that may not: what it may know of use is for that route to say."""

    def listing(client: GatewayClient) -> list[Row] | None:
        try:
            return fetch(client)
        except CommandFailed as failure:
            if failure.code is not ExitCode.UNAUTHORISED:
                raise
            return None

    return listing


def _keys(client: GatewayClient) -> list[Row]:
    """The keys that one may see and the one that asks, which its own list may leave out."""
    keys = fetch_keys(client)
    own = client.request("GET", OWN_USE_PATH)
    if all(key["id"] != own["key_id"] for key in keys):
        keys.append({"id": own["key_id"], "name": own["name"], "state": "active"})
    return keys


_KEYS: Final = _listed(_keys)
_KINDS: Final[
    Mapping[str, tuple[Callable[[GatewayClient], list[Row] | None], Callable[[Sequence[Row], str], Row], str]]
] = {
    "key": (_KEYS, key_named, "id"),
    "owner": (_KEYS, key_named, "id"),
    "group": (_listed(fetch_groups), group_named, "id"),
    "server": (_listed(fetch_servers), server_named, "registration_id"),
}
