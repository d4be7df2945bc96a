"""Commands of the operator's own."""

from typing import ClassVar

from contract.fields import Argv
from contract.handle_kind import HandleKind
from contract.strict import Strict


class Command(Strict):
    """Commands of the operator's own, each a list of arguments; there is no shell. Exit status 0 is success.

    `check` succeeds while the target is there, and fails while it is away.
    """

    renamed: ClassVar = {"mend": "restore"}

    inject: Argv
    check: Argv
    restore: Argv
    deadman: Argv | None = None  # arms what restores without us; {seconds} is replaced by the time it has


HANDLE = HandleKind(given=Command, name=lambda command, place: place.target)
