"""A systemd unit: its name alone, or with its manager (system or user) and host."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from contract.handle_kind import HandleKind, Place
from contract.strict import Strict


def _unit_name(text: str) -> str:
    # A leading dash would be taken for an option.
    if not re.fullmatch(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]*\.service", text):
        raise ValueError(f"{text!r} is not a unit; write name.service")
    return text


def _ssh_host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.][A-Za-z0-9_.@:-]*", text):
        raise ValueError(f"{text!r} is not an ssh host; write host or user@host")
    return text


class Unit(Strict):
    """A unit of the system or user manager, on this or another host."""

    name: Annotated[str, AfterValidator(_unit_name)]
    user: bool = False
    # As ssh takes it: host, user@host, or a Host of its configuration.
    ssh: Annotated[str, AfterValidator(_ssh_host)] | None = None


def _whole(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _name(unit: Unit, place: Place) -> str:
    return "/".join((unit.ssh or "here", "user" if unit.user else "system", unit.name))


HANDLE = HandleKind(given=Annotated[Unit, BeforeValidator(_whole)], name=_name)
