"""Which pages are there for whom? The menu of the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from app.routers.dashboard.visitors import Visitor

__all__ = ["MenuItem", "menu_for"]


@dataclass(frozen=True, slots=True)
class MenuItem:
    """One page of the menu. ``icon`` is the name of its sign in ``icons.html``."""

    url: str
    name: str
    icon: str
    is_here: bool = False


_EVERYBODY: Final = ("user", "owner", "admin", "operator")
_OWNERS: Final = _EVERYBODY[1:]
_OPERATOR: Final = _EVERYBODY[3:]
_ITEMS: Final = (
    ("/ui", "Overview", "overview", _EVERYBODY),
    ("/ui/servers", "Servers", "servers", _OWNERS),
    ("/ui/register", "Register", "register", _OWNERS),
    ("/ui/models", "Models", "models", _EVERYBODY),
    ("/ui/playground", "Playground", "playground", _EVERYBODY),
    ("/ui/keys", "Keys", "keys", _EVERYBODY),
    ("/ui/usage", "Usage", "usage", _EVERYBODY),
    ("/ui/activity", "Activity", "activity", _EVERYBODY),
    ("/ui/settings", "Settings", "settings", _OPERATOR),
)


def menu_for(visitor: Visitor, path: str) -> tuple[MenuItem, ...]:
    """Name the pages that a visitor may see; the one that ``path`` belongs to is marked."""
    rank = "operator" if visitor.is_operator else visitor.principal.role.value
    return tuple(
        MenuItem(url, name, icon, path == url or (url != "/ui" and path.startswith(f"{url}/")))
        for url, name, icon, ranks in _ITEMS
        if rank in ranks
    )
