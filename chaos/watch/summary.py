"""The summary of a watch: requests, answers and latency by tier, and the longest silence. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from chaos.watch.error_text import kind
from chaos.watch.lineup import Lineup
from contract.quantile import needs, quantile
from contract.records import Outcome, RequestRecord, Witness

CUT = (Outcome.CUT, Outcome.STALLED)
P95_FROM = needs(0.95)  # answers; with fewer the 95th percentile is the slowest one


@dataclass(frozen=True, slots=True)
class TierSummary:
    """The good answers of one tier. Durations in ms."""

    name: str | None  # None: unknown
    place: int | None  # in the fallback order, from 0; None: unknown
    answers: int
    share: float  # of all good answers
    latency_ms: float  # median, sent → end
    p95_ms: float | None  # None: too few answers
    slowest_ms: float
    ttft_ms: float | None  # median; None: nothing was streamed


@dataclass(frozen=True, slots=True)
class Longest:
    """The longest time between the first tokens of two good answers, or between one and the begin or end of the watch."""

    from_at: float
    to_at: float
    ended: bool  # with a good answer

    @property
    def s(self) -> float:
        return self.to_at - self.from_at


@dataclass(frozen=True, slots=True)
class Summary:
    """Times in unix seconds."""

    from_at: float
    to_at: float
    every_s: float
    sent: int
    good: int
    cut: int  # tokens arrived, but no proper end
    failed: int
    abandoned: int  # still waiting at the end
    covered: int  # slots without a request, since too many were waiting
    unverified: int  # good answers without evidence that they are whole
    failed_as: dict[str, int]  # `429 (all in cooldown)`: 3
    tiers: tuple[TierSummary, ...]  # in the order of the fallback
    silence: Longest
    never_whole: tuple[str, ...]  # tiers whose every answer stopped below its cap


@dataclass(slots=True)
class Tally:
    """Collects requests as they end; `summary` returns the totals so far."""

    lineup: Lineup
    every_s: float
    began_at: float
    covered: int = 0
    _ended: list[RequestRecord] = field(default_factory=list)

    def ended(self, record: RequestRecord) -> None:
        self._ended.append(record)

    def summary(self, now: float, abandoned: int) -> Summary:
        counted = Counter(record.outcome for record in self._ended)
        cut = sum(counted[outcome] for outcome in CUT)
        good = [record for record in self._ended if record.outcome == Outcome.OK]
        failed = len(self._ended) - len(good) - cut
        return Summary(
            from_at=self.began_at, to_at=now, every_s=self.every_s, sent=len(self._ended) + abandoned, good=len(good),
            cut=cut, failed=failed, abandoned=abandoned, covered=self.covered,
            unverified=sum(record.witness == Witness.NONE for record in good), failed_as=self._failed_as(),
            tiers=self._tiers(good), silence=self._silence(good, now), never_whole=self._never_whole(),
        )  # fmt: skip

    def _failed_as(self) -> dict[str, int]:
        apart = (Outcome.OK, *CUT)
        return dict(
            Counter(kind(record) for record in self._ended if record.outcome not in apart).most_common()
        )

    def _tiers(self, good: list[RequestRecord]) -> tuple[TierSummary, ...]:
        by_name: dict[str | None, list[RequestRecord]] = {}
        for record in good:
            by_name.setdefault(self.lineup.name(record), []).append(record)
        tiers = [self._tier(name, requests, len(good)) for name, requests in by_name.items()]
        return tuple(sorted(tiers, key=lambda t: (t.place is None, t.place, t.name)))

    def _tier(self, name: str | None, requests: list[RequestRecord], of: int) -> TierSummary:
        latency = [record.latency_ms for record in requests if record.latency_ms is not None]
        ttft = [record.ttft_ms for record in requests if record.stream and record.ttft_ms is not None]
        return TierSummary(
            name, self.lineup.place(name), len(requests), len(requests) / of, median(latency),
            quantile(latency, 0.95) if len(requests) >= P95_FROM else None, max(latency), median(ttft) if ttft else None,
        )  # fmt: skip

    def _silence(self, good: list[RequestRecord], now: float) -> Longest:
        first = sorted(
            record.sent_at + record.first_ms / 1000 for record in good if record.sent_at and record.first_ms
        )
        found = [Longest(a, b, True) for a, b in pairwise([self.began_at, *first])]
        last = Longest(first[-1] if first else self.began_at, now, False)
        return max([*found, last], key=lambda silence: silence.s)

    def _never_whole(self) -> tuple[str, ...]:
        ends: dict[str, set[bool]] = {}
        for record in self._ended:
            name = self.lineup.name(record)
            if name is not None:
                stopped = record.outcome == Outcome.CUT and record.finish_reason == "stop"
                ends.setdefault(name, set()).add(stopped)
        return tuple(name for name, stopped in ends.items() if stopped == {True})
