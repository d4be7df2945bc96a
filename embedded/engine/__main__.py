"""python -m embedded.engine: one simulated engine on one port of 127.0.0.1, until SIGTERM."""

import contract.exit_70  # noqa: F401  before any import that may fail

# isort: split
import asyncio
import contextlib
import os
import signal
import sys
from typing import Any

from contract.clock import shared
from embedded import pidfile
from embedded.engine import options, personalities, punctual
from embedded.engine.core import Core
from embedded.engine.engine import Engine
from embedded.engine.ledger import Ledger
from embedded.engine.shutdown import on_core_death, on_sigterm
from embedded.engine.wire import Listener


def main(argv: list[str]) -> int:
    catalogue = personalities.load()
    chosen = options.parse(argv, {name: each.defaults for name, each in catalogue.items()}, os.environ)
    # Before the ledger is opened: a forked core would keep it open.
    core = Core() if chosen.engine_core else None
    clock = shared()
    engine = Engine(chosen, clock, Ledger(chosen.ledger, clock))
    listener = Listener(
        catalogue[chosen.personality](engine),
        clock,
        chosen.keep_alive_connection_s,
        chosen.after_stream == "close",
    )
    loads_s = chosen.startup_s
    if chosen.pidfile is not None:
        if chosen.first_startup_s is not None and not chosen.pidfile.exists():
            loads_s = chosen.first_startup_s
        # Before the model is loaded, so that the engine can be killed while it loads.
        pidfile.write(chosen.pidfile)
    try:
        with asyncio.Runner(loop_factory=punctual.loop) as runner:
            return runner.run(serve(engine, listener, core, loads_s))
    except OSError as error:
        print(
            f"python -m embedded.engine: port {chosen.port} of 127.0.0.1: {error.strerror}", file=sys.stderr
        )
        return 1
    finally:
        if core is not None:
            core.kill()


async def serve(engine: Engine, listener: Listener, core: Core | None, loads_s: float) -> int:
    """Serves until SIGTERM, SIGINT or the core's death; the exit code."""
    terminated = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, terminated.set)
    if engine.options.while_loading != options.REFUSED:
        engine.starting = True
        await listener.open(engine.options.port)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(terminated.wait(), loads_s)
        return 0
    if not engine.starting:
        # vLLM does not listen while it loads its model.
        await listener.open(engine.options.port)
    engine.starting = False
    ends: set[asyncio.Task[Any]] = {asyncio.create_task(terminated.wait())}
    if core is not None:
        ends.add(asyncio.create_task(core.death()))
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if not terminated.is_set():
        await on_core_death(engine, listener)
        return 1
    await on_sigterm(engine, listener)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
