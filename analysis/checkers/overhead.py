"""The gateway adds at most so many milliseconds."""

from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, judge_between, unknown, worst
from analysis.metrics import overhead
from analysis.metrics.overhead import Overhead
from contract.records import Lane

MIN_PAIRS = 6  # below, an interval of a median says nothing


class Params(Common):
    """`overhead: {id: NFR66, max_ms: 100}`"""

    max_ms: float = Field(gt=0, strict=True)


def check(params: Params, run: Evidence) -> Finding:
    """What the gateway adds to TTFT and to the whole, from paired requests, is each ≤ `max_ms`.

    Each is judged by its 95 % interval: pass below the limit, fail above it, unknown where the limit lies inside, or
    below six pairs. The worse of the two is the answer. Pairs whose answers show no content have no TTFT: where fewer than six
    have one, the whole alone is judged, since nothing reached the user before it, and what was measured says so.
    """
    target = f"at most {params.max_ms:g} ms more through the gateway"
    requests = run.frames.requests
    made = requests.loc[requests["lane"] == Lane.OVERHEAD, "pair"].nunique()
    kept = f"{len(run.pairs)} of {made} pairs count"
    found = {name: overhead.overhead(run.pairs, name) for name in ("ttft_ms", "latency_ms")}
    known = {name: o for name, o in found.items() if o is not None and o.pairs >= MIN_PAIRS}
    if not known:
        return unknown("overhead", params.id, target, f"{kept}; at least {MIN_PAIRS} are needed")
    header_ms = overhead.said_ms(requests, run.pairs)
    said = (
        ""
        if header_ms is None
        else (
            f"; what the gateway says of itself (its header), about half of what is measured: {header_ms:.1f} ms"
        )
    )
    words = {"ttft_ms": "TTFT", "latency_ms": "total"}
    largest = max(known.values(), key=lambda o: o.ms)
    measured = [
        f"{words[name]} {_told(o)}"
        if (o := known.get(name))
        else f"{words[name]} unknown ({int(run.pairs[name].notna().sum())} of {len(run.pairs)} pairs have one)"
        for name in found
    ]
    return Finding(
        "overhead", params.id, target, "; ".join(measured),
        worst(judge_between(*o.interval_ms, params.max_ms) for o in known.values()),
        evidence=f"{kept}: all requests good, one tier, no fallback or retry, the client not overloaded" + said,
        value=largest.ms, unit="ms", n=largest.pairs, interval=largest.interval_ms,
    )  # fmt: skip


def _told(o: Overhead) -> str:
    return f"{o.ms:+.1f} ms [{o.interval_ms[0]:.1f}, {o.interval_ms[1]:.1f}]"
