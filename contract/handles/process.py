"""A process of this machine, known by its pidfile; in an embedded topology the word `embedded`."""

from contract.fields import Argv
from contract.handle_kind import HandleKind
from contract.strict import Strict


class Process(Strict):
    """A process known by the file that holds its pid; `start` begins it anew where nothing else does."""

    pidfile: str
    start: Argv | None = None


HANDLE = HandleKind(
    given=Process,
    name=lambda process, place: process.pidfile,
    embedded=lambda started: Process(pidfile=started.pidfile),
)
