"""python -m embedded.engine: one simulated engine on one port of 127.0.0.1, until SIGTERM."""

import asyncio
import os
import signal
import sys

from contract.clock import shared
from embedded import pidfile
from embedded.engine import options, personalities, punctual
from embedded.engine.departure import leave
from embedded.engine.engine import Engine
from embedded.engine.ledger import Ledger
from embedded.engine.wire import Listener


def main(argv: list[str]) -> int:
    catalogue = personalities.load()
    chosen = options.parse(argv, {name: each.defaults for name, each in catalogue.items()}, os.environ)
    clock = shared()
    engine = Engine(chosen, clock, Ledger(chosen.ledger, clock))
    listener = Listener(catalogue[chosen.personality](engine), clock, chosen.keep_alive_connection_s)
    if chosen.pidfile is not None:
        # Before the model is loaded: one that loads can be killed, too.
        pidfile.write(chosen.pidfile)
    try:
        with asyncio.Runner(loop_factory=punctual.loop) as runner:
            runner.run(serve(engine, listener))
    except OSError as error:
        print(
            f"python -m embedded.engine: port {chosen.port} of 127.0.0.1: {error.strerror}", file=sys.stderr
        )
        return 1
    return 0


async def serve(engine: Engine, listener: Listener) -> None:
    told_to_go = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_go.set)
    try:
        # A real engine loads its model first and does not listen meanwhile.
        await asyncio.wait_for(told_to_go.wait(), engine.options.startup_s or 0.0)
        return
    except TimeoutError:
        pass
    await listener.open(engine.options.port)
    await told_to_go.wait()
    await leave(engine, listener)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
