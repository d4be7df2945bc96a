"""The catalogue of scenarios: one file per word of `scenarios:` in a timeline, found by file name.

A file holds `USER`, a subclass of `GatewayUser` (`gateway/user.py`), whose `scenario` is the file's name. To add a scenario is
to add a file; `direct.py` is the smallest. The folders beside them are rooms.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING

from contract.refusal import Refusal

if TYPE_CHECKING:
    from scenarios.gateway.user import GatewayUser


def names() -> list[str]:
    """The words that a timeline may name."""
    return sorted(
        m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg and not m.name.startswith("_")
    )


def users() -> dict[str, type["GatewayUser"]]:
    """Scenario → its user; in the order of their names. Raises Refusal where a file is no scenario."""
    found = {name: _user(name) for name in names()}
    # Locust knows its users by the names of their classes.
    by_class: dict[str, str] = {}
    for name, user in found.items():
        other = by_class.setdefault(user.__name__, name)
        if other != name:
            raise Refusal(
                f"scenarios/{name}.py: its class {user.__name__} has the name of the one in scenarios/{other}.py; rename it"
            )
    return found


def _user(name: str) -> type["GatewayUser"]:
    user: type[GatewayUser] | None = getattr(importlib.import_module(f"{__name__}.{name}"), "USER", None)
    if user is None:
        raise Refusal(f"scenarios/{name}.py: has no USER; write USER = and its class at its end")
    if getattr(user, "scenario", None) != name:
        raise Refusal(
            f"scenarios/{name}.py: its class {user.__name__} needs scenario = {name!r}, the file's name"
        )
    return user
