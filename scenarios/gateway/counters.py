"""counters.jsonl: reads the metrics pages of gateway and engines, once before the load and once after it.

A page that cannot be read is told, and ends no run. What is wanted of the text format is two lines of it, and is read
here; a page's other lines are not looked at.
"""

import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import gevent.pool

from contract import page as pages
from contract.clock import Clock
from contract.counters import Scrape, labels, wanted
from contract.endpoint import headers_of
from contract.framing import End
from contract.gateway_kind import GatewayKind
from contract.outcome import redirected
from contract.records import GATEWAY
from contract.run import JsonLines
from contract.topology import Topology

PATIENCE_S = 5.0  # for one page
LARGEST = 16 * 2**20
# A gateway counts an answer a moment after it was given: a page is believed when it says the same twice.
AGAIN_S, SETTLED_WITHIN_S = 0.5, 5.0

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+([^\s]+)(?:\s+-?\d+)?\s*")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


def keep(folder: Path, topology: Topology, when: str, clock: Clock) -> None:
    """Read all sources side by side and append what they told to the run. Never raises for what it cannot read or write."""
    kind = topology.gateway.of_kind
    told = gevent.pool.Group().map(lambda source: _settled(source, kind, when, clock), sources(topology))
    try:
        lines = JsonLines(folder / "counters.jsonl")
        for scrape in told:
            lines.append(scrape)
        lines.close()
    except OSError as e:  # the run goes on without; its report says that nothing was told
        print(f"\ncounters.jsonl cannot be written: {e}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Source:
    """One page of metrics."""

    name: str  # `gateway`, or a tier's
    url: str
    headers: Mapping[str, str] = field(repr=False)
    ca_file: str | None


def sources(topology: Topology) -> list[Source]:
    """The gateway's page and the engines'. A cloud tier has none, and is left alone."""
    gateway = topology.gateway
    assert gateway.url is not None, "an embedded stack's urls are filled in before the run"
    found = []
    if gateway.of_kind.metrics is not None:
        url = f"{gateway.url}{gateway.of_kind.metrics}"
        found.append(Source(GATEWAY, url, headers_of(gateway), gateway.ca_file))
    for tier in topology.tiers:
        if tier.url is not None and not tier.cloud:
            url = f"{tier.url.removesuffix('/v1')}/metrics"
            found.append(Source(tier.name, url, headers_of(tier), tier.ca_file))
    return found


def read(text: str, kind: GatewayKind) -> list[dict[str, Any]]:
    """The wanted counters of a page in Prometheus' text format, with the wanted labels."""
    kept = labels(kind)
    return [
        {"name": name, "labels": {k: of[k] for k in kept if k in of}, "value": value}
        for name, of, value in samples(text, wanted(kind))
    ]


def samples(text: str, wanted: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels and value of each sample of these names on a page."""
    for line in text.splitlines():
        if not line.startswith(wanted):
            continue
        sample = _SAMPLE.fullmatch(line)
        if sample is None or sample[1] not in wanted:
            continue
        try:
            value = float(sample[3])
        except ValueError:
            continue
        yield sample[1], {k: _ESCAPED.sub(_unescaped, v) for k, v in _LABEL.findall(sample[2] or "")}, value


def _settled(source: Source, kind: GatewayKind, when: str, clock: Clock) -> Scrape:
    until = time.monotonic() + SETTLED_WITHIN_S
    found = _scrape(source, kind, when, clock)
    while found.error is None and time.monotonic() < until:
        gevent.sleep(AGAIN_S)
        before, found = found, _scrape(source, kind, when, clock)
        if found.counters == before.counters:
            break
    return found


def _scrape(source: Source, kind: GatewayKind, when: str, clock: Clock) -> Scrape:
    found = Scrape(clock.now(), when, source.name, source.url)
    try:
        found.counters = read(page(source), kind)
    except (OSError, ValueError) as e:
        found.error = f"{type(e).__name__}: {e}"
    return found


def page(source: Source, within_s: float = PATIENCE_S) -> str:
    """What it tells now. Raises OSError where no whole page came, ValueError where it is none of metrics."""
    found = pages.get(source.url, within_s, source.headers, source.ca_file, LARGEST)
    if found.status is not None and found.status != 200:
        raise ValueError(f"status {found.status}{redirected(found.status, found.headers.get('location'))}")
    if found.end is not End.COMPLETE:
        raise OSError(found.error)
    return pages.body(found).decode("utf-8", "replace")


def _unescaped(found: re.Match[str]) -> str:
    return {"n": "\n"}.get(found[1], found[1])
