"""python -m embedded.llamacpp: llama.cpp's own server on one port of 127.0.0.1, until SIGTERM.

Run by the Python of .venv-engines. Behaves as llama.cpp does everywhere: 503 while the model loads; at SIGTERM the port
refuses connections at once, and running streams stall for about 30 s unless the process is killed.
"""

import contract.exit_70  # noqa: F401  before any import that may fail

# isort: split
import signal
import sys

import xllamacpp

from embedded import pidfile
from embedded.llamacpp import model
from embedded.llamacpp.options import Options, parse

WARNINGS = 2
# On two cores that other processes use too, a second thread makes it slower.
THREADS = 1


def main(argv: list[str]) -> int:
    options = parse(argv)
    if options.pidfile is not None:
        pidfile.write(options.pidfile)
    # Set before the server exists: a signal during its construction would be lost.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _server = xllamacpp.Server(parameters(options))
    while True:
        signal.pause()


def parameters(options: Options) -> xllamacpp.CommonParams:
    found = xllamacpp.CommonParams()
    found.model.path = str(model.at(options.models, options.seed, options.eos_bias))
    found.model_alias = [options.model]
    found.hostnames, found.port = ["127.0.0.1"], options.port
    found.reuse_port = True  # the stack holds the port, so that no other process gets it
    found.n_parallel, found.n_ctx = options.slots, options.context
    found.sse_ping_interval = int(options.sse_ping_interval)
    found.fit_params = False  # the context stays as requested, regardless of the free memory
    found.cpuparams.n_threads = found.cpuparams_batch.n_threads = THREADS
    found.cache_ram_mib = 0  # prompts that begin with a nonce never repeat, and a soak lasts for days
    found.endpoint_metrics = True
    found.ui = False
    found.verbosity = WARNINGS
    return found


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
