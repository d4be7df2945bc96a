"""In no window of the given length does the gateway give no good answer for longer than `max_s` seconds."""

from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, judge_between, unknown
from analysis.metrics import availability
from contract.duration import Duration, text


class Params(Common):
    """`availability: {window: 60s, max_s: 5}`; without `window:` the whole run"""

    max_s: float = Field(ge=0, strict=True)
    window: Duration | None = Field(default=None, gt=0)


def check(params: Params, run: Evidence) -> Finding:
    """The most seconds without a good answer to the probe in any window of that length, over the whole run, ≤ `max_s`.

    Time in which the probe should have sent requests and did not gives a range: the lower value without it, the upper with it.
    Fail if the lower is beyond the limit, unknown if only the upper is.
    """
    long = "the run" if params.window is None else f"any {text(params.window)}"
    target = f"at most {params.max_s:g} s of {long} without a good answer"
    if run.down is None:
        return unknown("availability", params.id, target, "the probe sent no request")
    start, end = run.probed
    window_s = params.window if params.window is not None else end - start
    low, at = availability.worst_window(run.down, window_s)
    high, _ = availability.worst_window(availability.union(run.down, run.unprobed), window_s)
    unprobed = f"; for {run.unprobed.s:.1f} s the probe sent no request" if run.unprobed.s else ""
    return Finding(
        "availability", params.id, target,
        f"{low:.2f} s" if high - low < 0.005 else f"between {low:.2f} and {high:.2f} s",
        judge_between(low, high, params.max_s),
        evidence=f"{len(run.down)} outages of {run.down.s:.2f} s in total, of {end - start:.0f} s"
        + ("" if at is None else f"; the worst window begins at {run.instant(at)}") + unprobed,
        value=low, unit="s", n=len(run.down), interval=(low, high),
    )  # fmt: skip
