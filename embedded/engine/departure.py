"""How an engine goes when it is told to (SIGTERM), as a vLLM 0.32 does it.

Its server passes the signal on to the core and kills it in the same breath, so that it is a race how the answers under
way end: with "abort"; with an error; or not at all, and then the process stays until its clients have left. With a
--shutdown-timeout it lets them come to their end first, and answers whatever is new with an error meanwhile; what is
not through by then ends with an error, or not at all.
"""

import asyncio
import os
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedded.engine.engine import Engine
    from embedded.engine.wire import Listener

# A real vLLM refuses its port a tenth of a second after SIGTERM; whoever is slower to end is cut.
GOODBYE_S = 1.0
# So long it says of itself that it is not well, before it goes, when its core has died.
UNHEALTHY_S = 1.5
ABORT, ERROR, SILENCE = "abort", "error", "silence"
RACE = "race"
ENDS = {ABORT: 1, ERROR: 7, SILENCE: 9}
"""How often each was met in 17 tries."""


async def leave(engine: "Engine", listener: "Listener") -> None:
    """From SIGTERM until the process may end."""
    options = engine.options
    end = drawn(options.sigterm, options.seed, options.ledger)
    if options.shutdown_timeout_s:
        # It listens, and says that it is well, for as long as this takes.
        engine.leaving = True
        if not await engine.idle(options.shutdown_timeout_s) and end == ABORT:
            end = ERROR  # the core does not come to abort what is left: it is killed
    listener.refuse()
    engine.stop(end)
    if end == SILENCE:
        listener.hang_up_on_idle()
        await listener.left()
    else:
        await listener.close(GOODBYE_S)


async def die(engine: "Engine", listener: "Listener") -> None:
    """From the death of the core until the process ends."""
    engine.dead = True
    engine.stop(ERROR)
    await asyncio.sleep(UNHEALTHY_S)
    listener.refuse()
    await listener.close(GOODBYE_S)


def drawn(choice: str, seed: int, ledger: Path | None) -> str:
    """One of ENDS. Of the race: the same ones in the same order for the same seed, on a ledger of its own."""
    if choice != RACE:
        return choice
    chance = Random(f"{seed} SIGTERM {_earlier(ledger)}")
    return chance.choices(list(ENDS), list(ENDS.values()))[0]


def _earlier(ledger: Path | None) -> int:
    """How many went before, of those that share this ledger: a byte for each in a file beside it."""
    if ledger is None:
        return 0
    path = ledger.with_name(f"{ledger.name}.terms")
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(file, b".")
        return os.lseek(file, 0, os.SEEK_CUR) - 1
    finally:
        os.close(file)
