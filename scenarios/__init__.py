"""The catalogue of scenarios: one file per word of `scenarios:` in a timeline, found by file name.

A file holds `USER`, a subclass of `GatewayUser` (`gateway/user.py`), whose `scenario` is the file's name. To add a scenario is
to add a file; `direct.py` is the smallest. The folders beside them are rooms.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scenarios.gateway.user import GatewayUser


def names() -> list[str]:
    """The words that a timeline may name."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)


def users() -> dict[str, type["GatewayUser"]]:
    """Scenario → its user; in the order of their names."""
    return {name: _user(name) for name in names()}


def _user(name: str) -> type["GatewayUser"]:
    user: type[GatewayUser] = importlib.import_module(f"{__name__}.{name}").USER
    assert user.scenario == name, f"scenarios/{name}.py: its user's scenario is {user.scenario!r}"
    return user
