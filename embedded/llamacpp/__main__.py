"""python -m embedded.llamacpp: llama.cpp's own server on one port of 127.0.0.1, until SIGTERM.

Run by the Python of .venv-engines. It says of itself what it says everywhere: while the model loads, 503 on its port;
at SIGTERM the port is refused at once, and running streams fall silent, for half a minute where nobody kills it.
"""

import signal
import sys

import xllamacpp

from embedded import pidfile
from embedded.llamacpp import model
from embedded.llamacpp.options import Options, parse

WARNINGS = 2
# Beside other processes on two cores a second thread waits more than it helps.
THREADS = 1


def main(argv: list[str]) -> int:
    options = parse(argv)
    if options.pidfile is not None:
        pidfile.write(options.pidfile)
    # Unheard until the server stands, a signal would be lost in its making.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _server = xllamacpp.Server(parameters(options))
    while True:
        signal.pause()


def parameters(options: Options) -> xllamacpp.CommonParams:
    found = xllamacpp.CommonParams()
    found.model.path = str(model.at(options.models, options.seed, options.eos_bias))
    found.model_alias = [options.model]
    found.hostnames, found.port = ["127.0.0.1"], options.port
    found.reuse_port = True  # the stack holds the port, so that nobody else is given it
    found.n_parallel, found.n_ctx = options.slots, options.context
    found.sse_ping_interval = int(options.sse_ping_interval)
    found.fit_params = False  # the context is as it was asked for, however much memory there is
    found.cpuparams.n_threads = found.cpuparams_batch.n_threads = THREADS
    found.cache_ram_mib = 0  # prompts that begin with a nonce never come again, and a soak lasts for days
    found.endpoint_metrics = True
    found.ui = False
    found.verbosity = WARNINGS
    return found


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
