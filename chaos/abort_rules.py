"""When a run must be aborted: by the number of a cloud tier's answers, or by `abort_when`. Pure: instants are parameters.

`abort_when` covers users and probe over a sliding window. Users' answers count for the share of failures only: their
times to the first token depend on their prompts.
"""

from collections import deque
from statistics import median

from contract.timeline import AbortWhen


def too_many_cloud_answers(used: int, most: int | None, rounds: int) -> str | None:
    """Why the run must be aborted; None: no reason. `most`: per round begun; what a round leaves unused the next may use."""
    rounds = max(1, rounds)
    if most is None or used <= most * rounds:
        return None
    each = "" if rounds == 1 else f" per round, and this is round {rounds}"
    return f"guard: {used} answers of a cloud tier, max_cloud_answers is {most}{each}"


class AbortGuard:
    """Gets every probe result and every count; `why` returns the reason to abort now."""

    def __init__(self, rule: AbortWhen) -> None:
        self._rule = rule
        self._probe: deque[tuple[float, bool, float | None]] = deque()  # when, good, TTFT in ms
        self._load: deque[tuple[float, int, int]] = deque()  # when counted, good and bad so far

    def answered(self, at: float, good: bool, ttft_ms: float | None) -> None:
        """A request of the probe ended."""
        self._probe.append((at, good, ttft_ms))

    def counted(self, at: float, good: int, bad: int) -> None:
        """The load generator's counts so far."""
        self._load.append((at, good, bad))

    def why(self, now: float, waiting_ms: list[float]) -> str | None:
        """`waiting_ms`: how long each request of the probe that is still in flight has waited. None: no reason to abort."""
        rule, since = self._rule, now - self._rule.over
        while self._probe and self._probe[0][0] < since:
            self._probe.popleft()
        # The last count before the window is the window's zero.
        while len(self._load) > 1 and self._load[1][0] <= since:
            self._load.popleft()
        good, bad = self._counts(since)
        if rule.failures is not None and good + bad >= rule.at_least:
            share = bad / (good + bad)
            if share >= rule.failures:
                return f"{bad} of {good + bad} answers failed within {rule.over:g} s; abort_when allows {rule.failures:g}"
        if rule.ttft_ms is not None:
            seen = [ms for _, _, ms in self._probe if ms is not None] + waiting_ms
            if len(seen) >= rule.at_least and median(seen) >= rule.ttft_ms:
                return (
                    f"the median time to the first token within {rule.over:g} s is {median(seen):.0f} ms; "
                    f"abort_when allows {rule.ttft_ms:g} ms"
                )
        return None

    def _counts(self, since: float) -> tuple[int, int]:
        good = sum(1 for _, fine, _ in self._probe if fine)
        bad = len(self._probe) - good
        if self._load:
            _, good_before, bad_before = self._load[0]
            if self._load[0][0] > since:  # the run is younger than the window
                good_before = bad_before = 0
            _, good_now, bad_now = self._load[-1]
            good, bad = good + good_now - good_before, bad + bad_now - bad_before
        return good, bad
