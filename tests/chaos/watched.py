"""Replays a sequence of requests through the watch."""

from typing import Any, Literal

from chaos.watch.changes import Change, Changes
from chaos.watch.lines import banner, plain
from chaos.watch.lineup import Lineup
from chaos.watch.summary import Summary, Tally
from contract.ranks import Ranks
from contract.records import RequestRecord

TIERS = ("vllm", "ollama", "openai", "vllm-b")
RANKS = [["vllm", "vllm-b"], ["ollama"], ["openai"]]


def request(
    sent_at: float, by: str | None = None, took_s: float = 0.4, ttft_s: float = 0.1, outcome: str = "ok",
    **fields: Any,
) -> RequestRecord:  # fmt: skip
    """A request with a good answer by that tier, or with another outcome."""
    came = outcome in ("ok", "cut", "stalled")
    given: dict[str, Any] = {
        "status": 200 if came else None,
        "tier": by if by in TIERS else None,
        "route_group": by,
        "max_tokens": 8,
    }
    given |= {"ttft_ms": ttft_s * 1000 if came else None, "witness": "end" if outcome == "ok" else None}
    return RequestRecord(
        request_id=f"req-{sent_at:g}", scenario="watch", lane="watch", via="gateway", scheduled_at=sent_at,
        sent_at=sent_at, outcome=outcome, latency_ms=took_s * 1000, **({"stream": True} | given | fields),
    )  # fmt: skip


def bad(
    sent_at: float, outcome: str = "rejected", took_s: float = 0.1, error: str = "500: boom", **fields: Any
) -> RequestRecord:
    status = 500 if outcome == "rejected" else None
    return request(sent_at, None, took_s, outcome=outcome, **({"error": error, "status": status} | fields))


class Replay:
    """The requests in the order in which they were sent, each with its duration; `until`: when the replay stops."""

    def __init__(self, *requests: RequestRecord, until: float = 1000.0, ranks: Ranks = RANKS) -> None:
        lineup = Lineup(ranks)
        self.changes, tally = Changes(lineup), Tally(lineup, 3.0, 0.0)
        self.banners: list[str] = []
        happens: list[tuple[float, int, RequestRecord | Literal["begun"] | None]] = []
        for n, a in enumerate(requests, 1):
            assert a.sent_at is not None
            assert a.latency_ms is not None
            happens += [(a.sent_at, n, None), (a.sent_at + a.latency_ms / 1000, n, a)]
            if a.stream and a.ttft_ms is not None and a.ttft_ms < a.latency_ms:
                happens.append((a.sent_at + a.ttft_ms / 1000, n, "begun"))
        happens += [(second, 0, None) for second in range(int(min(until, max(h[0] for h in happens))))]
        waiting = 0
        for at, n, record in sorted((h for h in happens if h[0] <= until), key=lambda h: h[:2]):
            if n == 0:
                self._take(self.changes.looked(at))
            elif record is None:
                waiting += 1
                self.changes.sent(n, at)
            elif record == "begun":
                self.changes.begun(n)
            else:
                waiting -= 1
                tally.ended(record)
                self._take(self.changes.ended(n, record))
        self.summary: Summary = tally.summary(min(until, max(h[0] for h in happens)), waiting)

    def _take(self, change: Change | None) -> None:
        if change is not None:
            self.banners.append(plain(banner(change, self.changes)).strip("─ "))
