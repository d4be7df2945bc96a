"""The operator's own commands."""

from typing import ClassVar

from contract.fields import Argv
from contract.handle_kind import HandleKind
from contract.strict import Strict


class Command(Strict):
    """The operator's own commands, each a list of arguments, run without a shell. Exit status 0 is success.

    `check` succeeds while the target is up, and fails while it is away.
    """

    renamed: ClassVar = {"mend": "restore"}

    inject: Argv
    check: Argv
    restore: Argv
    deadman: Argv | None = (
        None  # arms a restore that needs no process of ours; {seconds} is replaced by its delay
    )


HANDLE = HandleKind(given=Command, name=lambda command, place: place.target)
