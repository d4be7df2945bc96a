"""python -m embedded.engine: one simulated engine on one port of 127.0.0.1, until SIGTERM."""

import asyncio
import contextlib
import os
import signal
import sys

from contract.clock import shared
from embedded import pidfile
from embedded.engine import options, personalities, punctual
from embedded.engine.engine import Engine
from embedded.engine.ledger import Ledger
from embedded.engine.wire import Listener

# A real vLLM refuses its port a tenth of a second after SIGTERM; whoever is slower to end is cut.
GOODBYE_S = 1.0


def main(argv: list[str]) -> int:
    catalogue = personalities.load()
    chosen = options.parse(argv, {name: each.defaults for name, each in catalogue.items()}, os.environ)
    clock = shared()
    engine = Engine(chosen, clock, Ledger(chosen.ledger, clock))
    listener = Listener(catalogue[chosen.personality](engine), clock, chosen.after_stream == "close")
    loads_s = chosen.startup_s
    if chosen.pidfile is not None:
        if chosen.first_startup_s is not None and not chosen.pidfile.exists():
            loads_s = chosen.first_startup_s
        # Before the model is loaded: one that loads can be killed, too.
        pidfile.write(chosen.pidfile)
    try:
        with asyncio.Runner(loop_factory=punctual.loop) as runner:
            runner.run(serve(engine, listener, loads_s))
    except OSError as error:
        print(
            f"python -m embedded.engine: port {chosen.port} of 127.0.0.1: {error.strerror}", file=sys.stderr
        )
        return 1
    return 0


async def serve(engine: Engine, listener: Listener, loads_s: float) -> None:
    told_to_go = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_go.set)
    if engine.options.while_loading != options.REFUSED:
        engine.starting = True
        await listener.open(engine.options.port)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(told_to_go.wait(), loads_s)
    if not (engine.starting or told_to_go.is_set()):
        # vLLM loads its model first, and does not listen meanwhile.
        await listener.open(engine.options.port)
    engine.starting = False
    await told_to_go.wait()
    listener.refuse()
    engine.stop()
    await listener.close(GOODBYE_S)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
