"""The catalogue of scenarios: one file per name under `scenarios:` in a timeline.

A file defines `USER`, a subclass of `GatewayUser` (`gateway/user.py`), whose `scenario` is the file's name. To add a scenario,
add a file; `direct.py` is the smallest. The folders beside the files hold no scenarios.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING

from contract.refusal import Refusal

if TYPE_CHECKING:
    from scenarios.gateway.user import GatewayUser


def names() -> list[str]:
    """The scenarios that a timeline may name."""
    return sorted(
        m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg and not m.name.startswith("_")
    )


def users() -> dict[str, type["GatewayUser"]]:
    """Scenario → its user class, sorted by name. Raises Refusal where a file does not define a scenario."""
    found = {name: _user(name) for name in names()}
    # Locust identifies user classes by their names.
    by_class: dict[str, str] = {}
    for name, user in found.items():
        other = by_class.setdefault(user.__name__, name)
        if other != name:
            raise Refusal(
                f"scenarios/{name}.py: its class {user.__name__} has the same name as the one in scenarios/{other}.py; rename it"
            )
    return found


def _user(name: str) -> type["GatewayUser"]:
    user: type[GatewayUser] | None = getattr(importlib.import_module(f"{__name__}.{name}"), "USER", None)
    if user is None:
        raise Refusal(f"scenarios/{name}.py: has no USER; add USER = <its class> at the end of the file")
    if getattr(user, "scenario", None) != name:
        raise Refusal(
            f"scenarios/{name}.py: its class {user.__name__} needs scenario = {name!r}, the file's name"
        )
    return user
