"""How late the hub was, from a heartbeat's overshoots. Pure."""

from collections.abc import Sequence


def lag_p99_s(overshoots_s: Sequence[float], period_s: float) -> float:
    """The 99th percentile of the lag that an event at a random instant of the period would have met.

    While the heart missed its beat by L, an event that fell into it waited between 0 and L: so the time in which the
    wait was above x is the sum of what each overshoot has above x, and the answer is the x for which that is one
    hundredth of the period. A hiccup of 15 ms once a second is none; a stall of 30 ms is.
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
