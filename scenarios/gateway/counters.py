"""counters.jsonl: reads the metrics pages of the gateway and the engines, once before the load and once after it.

A page that cannot be read is recorded as an error and does not end the run.
"""

import math
import sys
import time
from pathlib import Path

import gevent
import gevent.pool

from contract import metrics_page, printable
from contract.clock import Clock
from contract.counters import Counter, Scrape, counter_names, labels
from contract.gateway_kind import GatewayKind
from contract.metrics_page import Page
from contract.run import JsonLines
from contract.topology import Topology

# A gateway counts an answer shortly after sending it: a page is final when two reads in a row are equal.
AGAIN_S, SETTLED_WITHIN_S = 0.5, 5.0


def keep(folder: Path, topology: Topology, when: str, clock: Clock) -> None:
    """Read all sources in parallel and append their counters to the run. Never raises on a read or write error."""
    kind = topology.gateway.of_kind
    pages = metrics_page.every(topology)
    scrapes = gevent.pool.Group().map(lambda page: _settled(page, kind, when, clock), pages)
    try:
        lines = JsonLines(folder / "counters.jsonl")
        for scrape in scrapes:
            lines.append(scrape)
        lines.close()
    except OSError as e:  # the run continues without them; its report states that there are no counters
        print(printable.lines(f"\ncounters.jsonl cannot be written: {e}"), file=sys.stderr, flush=True)


def read(text: str, kind: GatewayKind) -> list[Counter]:
    """The known counters of a page in Prometheus' text format, with the known labels."""
    kept = labels(kind)
    return [
        {"name": name, "labels": {k: of[k] for k in kept if k in of}, "value": value}
        for name, of, value in metrics_page.samples(text, counter_names(kind))
        if math.isfinite(value)  # JSON has no other numbers
    ]


def _settled(page: Page, kind: GatewayKind, when: str, clock: Clock) -> Scrape:
    until = time.monotonic() + SETTLED_WITHIN_S
    found = _scrape(page, kind, when, clock)
    while found.error is None and time.monotonic() < until:
        gevent.sleep(AGAIN_S)
        before, found = found, _scrape(page, kind, when, clock)
        if found.counters == before.counters:
            break
    return found


def _scrape(page: Page, kind: GatewayKind, when: str, clock: Clock) -> Scrape:
    found = Scrape(clock.now(), when, page.name, page.url)
    try:
        found.counters = read(metrics_page.read(page), kind)
    except (OSError, ValueError) as e:
        found.error = f"{type(e).__name__}: {e}"
    return found
