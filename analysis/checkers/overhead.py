"""The gateway adds at most `max_ms` milliseconds."""

from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, judge_between, unknown, worst
from analysis.metrics import overhead
from analysis.metrics.overhead import Overhead
from contract.records import Lane

MIN_PAIRS = 6  # with fewer, a median has no useful interval


class Params(Common):
    """`overhead: {id: NFR66, max_ms: 100}`"""

    max_ms: float = Field(gt=0, strict=True)


def check(params: Params, run: Evidence) -> Finding:
    """The gateway's overhead on TTFT and on the total latency, from paired requests, is each ≤ `max_ms`.

    Each is judged by its 95 % interval: pass if it is below the limit, fail if above, unknown if the limit lies inside, or with
    fewer than six pairs. The worse of the two counts. Pairs whose answers show no content have no TTFT. If fewer than six pairs
    have a TTFT, only the total is judged, and the measured text states that.
    """
    target = f"at most {params.max_ms:g} ms more through the gateway"
    requests = run.frames.requests
    made = requests.loc[requests["lane"] == Lane.OVERHEAD, "pair"].nunique()
    kept = f"{len(run.pairs)} of {made} pairs count"
    found = {name: overhead.overhead(run.pairs, name) for name in ("ttft_ms", "latency_ms")}
    known = {name: o for name, o in found.items() if o is not None and o.pairs >= MIN_PAIRS}
    if not known:
        return unknown("overhead", params.id, target, f"{kept}; at least {MIN_PAIRS} are needed")
    header_ms = overhead.header_ms(requests, run.pairs)
    header = (
        ""
        if header_ms is None
        else (f"; the gateway's own header reports {header_ms:.1f} ms, about half of what is measured")
    )
    words = {"ttft_ms": "TTFT", "latency_ms": "total"}
    largest = max(known.values(), key=lambda o: o.ms)
    measured = [
        f"{words[name]} {_with_interval(o)}"
        if (o := known.get(name))
        else f"{words[name]} unknown ({int(run.pairs[name].notna().sum())} of {len(run.pairs)} pairs have one)"
        for name in found
    ]
    return Finding(
        "overhead", params.id, target, "; ".join(measured),
        worst(judge_between(*o.interval_ms, params.max_ms) for o in known.values()),
        evidence=f"{kept}: all requests good, one tier, no fallback or retry, the client not overloaded" + header,
        value=largest.ms, unit="ms", n=largest.pairs, interval=largest.interval_ms,
    )  # fmt: skip


def _with_interval(o: Overhead) -> str:
    return f"{o.ms:+.1f} ms [{o.interval_ms[0]:.1f}, {o.interval_ms[1]:.1f}]"
