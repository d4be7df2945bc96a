"""A process of this machine, given by its pidfile; in an embedded topology `embedded`."""

from typing import Annotated

from pydantic import BeforeValidator

from contract.fields import Argv
from contract.handle_kind import HandleKind
from contract.strict import Strict


class Process(Strict):
    """A process given by its pidfile; `start` starts it again if nothing else does."""

    pidfile: str
    start: Argv | None = None


def _mapping(value: object) -> object:
    if isinstance(value, dict | Process):
        return value
    raise ValueError(
        f"{value!r} is not a process; write pidfile: PATH below it, or in an embedded topology 'embedded'"
    )


HANDLE = HandleKind(
    given=Annotated[Process, BeforeValidator(_mapping)],
    name=lambda process, place: process.pidfile,
    embedded=lambda started: Process(pidfile=started.pidfile),
)
