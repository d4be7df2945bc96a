"""python -m embedded.engine: one simulated engine on one port of 127.0.0.1, until SIGTERM."""

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
from embedded.engine.departure import die, leave
from embedded.engine.engine import Engine
from embedded.engine.ledger import Ledger
from embedded.engine.wire import Listener


def main(argv: list[str]) -> int:
    catalogue = personalities.load()
    chosen = options.parse(argv, {name: each.defaults for name, each in catalogue.items()}, os.environ)
    # Before the ledger is opened: the core would keep it open.
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
        # Before the model is loaded: one that loads can be killed, too.
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
    """The exit code."""
    told_to_go = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_go.set)
    if engine.options.while_loading != options.REFUSED:
        engine.starting = True
        await listener.open(engine.options.port)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(told_to_go.wait(), loads_s)
        return 0
    if not engine.starting:
        # vLLM loads its model first, and does not listen meanwhile.
        await listener.open(engine.options.port)
    engine.starting = False
    ends: set[asyncio.Task[Any]] = {asyncio.create_task(told_to_go.wait())}
    if core is not None:
        ends.add(asyncio.create_task(core.death()))
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if not told_to_go.is_set():
        await die(engine, listener)
        return 1
    await leave(engine, listener)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
