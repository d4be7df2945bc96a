"""The lag of the gevent hub, from a heartbeat's overshoots. Pure."""

from collections.abc import Sequence


def lag_p99_s(overshoots_s: Sequence[float], period_s: float) -> float:
    """The 99th percentile of the lag that an event at a random instant of the period would have met.

    An event during an overshoot of length L waited between 0 and L. So the time in which the wait was above x is the sum of
    the parts of all overshoots above x. The result is the x for which that sum is one hundredth of the period. Example for
    a period of 1 s: one overshoot of 15 ms gives 5 ms, one of 30 ms gives 20 ms.
    """
    budget = period_s / 100
    above, x = 0.0, 0.0
    ordered = sorted((o for o in overshoots_s if o > 0), reverse=True)
    for count, (here, below) in enumerate(zip(ordered, [*ordered, 0.0][1:], strict=True), start=1):
        step = count * (here - below)
        if above + step >= budget:
            return here - (budget - above) / count
        above, x = above + step, below
    return x
