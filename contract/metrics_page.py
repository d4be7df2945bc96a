"""Pages of metrics: whose they are, how one is read, and the samples on it.

What is needed of Prometheus' text format is two lines of it, and is read here; a page's other lines are not looked at.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from contract import page as pages
from contract.endpoint import headers_of
from contract.framing import End
from contract.outcome import redirected
from contract.records import GATEWAY
from contract.topology import Topology

PATIENCE_S = 5.0  # for one page
LARGEST = 16 * 2**20

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+([^\s]+)(?:\s+-?\d+)?\s*")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


class NotServed(ValueError):
    """A whole response came, and it is no page of metrics."""

    def __init__(self, status: int, location: str | None) -> None:
        super().__init__(f"status {status}{redirected(status, location)}")
        # 501: llama.cpp's server that was started without --metrics. Other 5xx come from servers that load, or have an error.
        self.for_good = status < 500 or status == 501


@dataclass(frozen=True, slots=True)
class Page:
    """One page of metrics."""

    name: str  # `gateway`, or a tier's
    url: str
    headers: Mapping[str, str] = field(repr=False)
    ca_file: str | None


def every(topology: Topology) -> list[Page]:
    """The gateway's page and the engines'. Raises Refusal where a key is not in the environment."""
    gateway = topology.gateway
    assert gateway.url is not None, "an embedded stack's urls are filled in before the run"
    found = []
    if gateway.of_kind.metrics is not None:
        url = f"{gateway.url}{gateway.of_kind.metrics}"
        found.append(Page(GATEWAY, url, headers_of(gateway), gateway.ca_file))
    return found + engines(topology)


def engines(topology: Topology) -> list[Page]:
    """Those of the tiers that have a url. A cloud tier has none, and is left alone."""
    return [
        Page(t.name, f"{t.url.removesuffix('/v1')}/metrics", headers_of(t), t.ca_file)
        for t in topology.tiers
        if t.url is not None and not t.cloud
    ]


def read(page: Page, within_s: float = PATIENCE_S) -> str:
    """Its text now. Raises OSError where no whole response came, NotServed where its status is not 200."""
    found = pages.get(page.url, within_s, page.headers, page.ca_file, LARGEST)
    if found.status is not None and found.status != 200:
        raise NotServed(found.status, found.headers.get("location"))
    if found.end is not End.COMPLETE:
        raise OSError(found.error)
    return pages.body(found).decode("utf-8", "replace")


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


def _unescaped(found: re.Match[str]) -> str:
    return {"n": "\n"}.get(found[1], found[1])
