"""Metrics pages: where they are, how one is read, and its samples.

Only the sample lines of Prometheus' text format are parsed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from contract import page as pages
from contract.endpoint import headers_of
from contract.foreign import without
from contract.framing import End
from contract.outcome import redirected
from contract.records import GATEWAY
from contract.topology import Topology

PATIENCE_S = 5.0  # limit for one page
LARGEST = 16 * 2**20

MOST_SAMPLES = 10_000  # of the requested names
LONGEST_LINE = 65_536  # characters

_SAMPLE = re.compile(
    r'([a-zA-Z_:][\w:]*+)(\{(?:[^"}]++|"(?:[^"\\]++|\\.)*+")*+\})?\s++(\S++)(?:\s++-?\d++)?+\s*+'
)
_LABEL = re.compile(r'\s*+(\w++)="((?:[^"\\]++|\\.)*+)"\s*+,?+')
_ESCAPED = re.compile(r"\\(.)")


class NotServed(ValueError):
    """A whole response came, and it is not a metrics page."""

    def __init__(self, status: int, location: str | None) -> None:
        super().__init__(f"status {status}{redirected(status, location)}")
        # 501: llama.cpp's server without --metrics. Other 5xx come from servers that load, or have an error.
        self.for_good = status < 500 or status == 501


@dataclass(frozen=True, slots=True)
class Page:
    """One page of metrics."""

    name: str  # `gateway`, or a tier's
    url: str
    headers: Mapping[str, str] = field(repr=False)
    ca_file: str | None


def every(topology: Topology) -> list[Page]:
    """The gateway's page and the engines'. Raises Refusal if a key is not in the environment."""
    gateway = topology.gateway
    assert gateway.url is not None, "an embedded stack's urls are filled in before the run"
    found = []
    if gateway.of_kind.metrics is not None:
        url = f"{gateway.url}{gateway.of_kind.metrics}"
        found.append(Page(GATEWAY, url, headers_of(gateway), gateway.ca_file))
    return found + engines(topology)


def engines(topology: Topology) -> list[Page]:
    """The pages of the tiers that have a url, without cloud tiers."""
    return [
        Page(t.name, f"{t.url.removesuffix('/v1')}/metrics", headers_of(t), t.ca_file)
        for t in topology.tiers
        if t.url is not None and not t.cloud
    ]


def read(page: Page, within_s: float = PATIENCE_S) -> str:
    """The page's current text. Raises OSError if no whole response came, NotServed if its status is not 200."""
    found = pages.get(page.url, within_s, page.headers, page.ca_file, LARGEST)
    if found.status is not None and found.status != 200:
        raise NotServed(found.status, found.headers.get("location"))
    if found.end is not End.COMPLETE:
        raise OSError(found.error)
    return pages.body(found).decode("utf-8", "replace")


def samples(text: str, names: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels and value of each sample with one of these names.

    Raises ValueError if there are more than MOST_SAMPLES, or if the line of one is longer than LONGEST_LINE.
    """
    for name, line in _lines(text, names):
        sample = _SAMPLE.fullmatch(line)
        if sample is None or sample[1] != name:
            continue
        try:
            value = float(sample[3])
        except ValueError:
            continue
        yield name, _labels(sample[2]), value


def _lines(text: str, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """(name, line) of each line that begins with one of these names."""
    found: list[tuple[int, str, str]] = []
    for name in names:
        for start, line in _beginning(text, name):
            found.append((start, name, line))
            if len(found) > MOST_SAMPLES:
                raise ValueError(f"more than {MOST_SAMPLES} samples")
    return [(name, line) for _, name, line in sorted(found)]


def _beginning(text: str, begins: str) -> Iterator[tuple[int, str]]:
    """(where, line). Other lines are passed over by a search, because a page may have millions."""
    at = 0 if text.startswith(begins) else text.find(f"\n{begins}")
    while at >= 0:
        start = at + (text[at] == "\n")
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if end - start > LONGEST_LINE:
            raise ValueError(f"a line of more than {LONGEST_LINE} characters")
        yield start, text[start:end]
        at = text.find(f"\n{begins}", end)


def _labels(text: str | None) -> dict[str, str]:
    """`{a="b",c="d"}` as a mapping."""
    found, at = {}, 1
    while text is not None and (label := _LABEL.match(text, at)) is not None:
        found[label[1]] = without((), _ESCAPED.sub(_unescaped, label[2]))
        at = label.end()
    return found


def _unescaped(found: re.Match[str]) -> str:
    return {"n": "\n"}.get(found[1], found[1])
