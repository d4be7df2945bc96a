"""Number formats for pages, tables and the terminal. Independent of metrics."""

from contract.duration import text

UNKNOWN = "–"  # in a table cell: unknown, or there was none


def ms(value: float) -> str:
    """`83 ms`, `1.24 s`"""
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.0f} ms"


def fine(value: float) -> str:
    """`18.3 ms`: for durations with a resolution of a tenth of a millisecond."""
    return ms(value) if value >= 100 else f"{value:.1f} ms"


def two(quantiles: dict[str, float | None], upper: str = "p99") -> str:
    """`83 ms / 1.24 s`: p50 and p99, or another upper quantile."""
    low, high = quantiles["p50"], quantiles[upper]
    return UNKNOWN if low is None or high is None else f"{ms(low)} / {ms(high)}"


def share(part: int, whole: int) -> str:
    """`95.0 %`"""
    return f"{100 * part / whole:.1f} %" if whole else UNKNOWN


def length(seconds: float) -> str:
    """`12.34 s`, and from a minute on `10m12s`"""
    return f"{seconds:.2f} s" if seconds < 60 else text(round(seconds))


def maybe(value: float | None, form: str) -> str:
    """A number in this format, or UNKNOWN."""
    return UNKNOWN if value is None else form.format(value)


def sent(requests: int, lost: int) -> str:
    """`192, 3 lost to a fault`: how many were sent in a part of the run, and how many of these have no latency due to a fault."""
    return f"{requests}, {lost} lost to a fault" if lost else f"{requests}"


def known(value: float | None) -> float | None:
    """A number from a table cell; None if the cell is empty."""
    return None if value is None or value != value else value
