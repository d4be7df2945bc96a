"""How an engine shuts down on SIGTERM, as vLLM 0.32 does.

vLLM's server forwards the signal to the core and kills the core at once, so the end of running answers is a race: with
"abort"; with an error; or without any end, and then the process stays until its clients have disconnected. With
--shutdown-timeout, running answers may finish first, and new requests get an error. Answers that are not finished by
then end with an error, or without any end.
"""

import asyncio
import os
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedded.engine.engine import Engine
    from embedded.engine.wire import Listener

# A real vLLM refuses its port 0.1 s after SIGTERM; answers that end later than this are cut.
CLOSE_WITHIN_S = 1.0
# Time from the core's death to the process's end; the health page reports 503 meanwhile.
UNHEALTHY_S = 1.5
ABORT, ERROR, SILENCE = "abort", "error", "silence"
RACE = "race"
ENDS = {ABORT: 1, ERROR: 7, SILENCE: 9}
"""How often each was observed in 17 tries."""


async def on_sigterm(engine: "Engine", listener: "Listener") -> None:
    """Runs from SIGTERM until the process may end."""
    options = engine.options
    end = draw_end(options.sigterm, options.seed, options.ledger)
    if options.shutdown_timeout_s:
        # Meanwhile it still listens, and its health page reports 200.
        engine.shutting_down = True
        if not await engine.idle(options.shutdown_timeout_s) and end == ABORT:
            end = ERROR  # the core is killed before it can abort the remaining answers
    listener.refuse()
    engine.stop(end)
    if end == SILENCE:
        listener.close_idle()
        await listener.all_closed()
    else:
        await listener.close(CLOSE_WITHIN_S)


async def on_core_death(engine: "Engine", listener: "Listener") -> None:
    """Runs from the core's death until the process ends."""
    engine.core_dead = True
    engine.stop(ERROR)
    await asyncio.sleep(UNHEALTHY_S)
    listener.refuse()
    await listener.close(CLOSE_WITHIN_S)


def draw_end(choice: str, seed: int, ledger: Path | None) -> str:
    """One of ENDS. With RACE, the same seed and a separate ledger give the same sequence of ends."""
    if choice != RACE:
        return choice
    chance = Random(f"{seed} SIGTERM {_earlier(ledger)}")
    return chance.choices(list(ENDS), list(ENDS.values()))[0]


def _earlier(ledger: Path | None) -> int:
    """How many earlier SIGTERMs the engines of this ledger got: one byte each in a file next to it."""
    if ledger is None:
        return 0
    path = ledger.with_name(f"{ledger.name}.terms")
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(file, b".")
        return os.lseek(file, 0, os.SEEK_CUR) - 1
    finally:
        os.close(file)
