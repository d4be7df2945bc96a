"""What is recorded: one record per request, one event per move of a fault. The rows of samplers: `contract.samplers`.

Instants are unix seconds UTC, lengths are milliseconds. None is "nobody told us"; it is never 0.
The columns' types and meanings stand here; `schemas.py` makes the files' schemas of them, and `results/README.md` is
checked against them.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

# How many bits a number has in a file, where they are not those of Python's own: 32 of an integer, 64 of a float.
Int8 = Annotated[int, "int8"]
Int16 = Annotated[int, "int16"]
Float32 = Annotated[float, "float32"]

FORMAT = 5
"""The number of this shape of a run, in its manifest. A run of another format is refused: up to 4, files, columns and events
had other names."""

GATEWAY = "gateway"


class Outcome(StrEnum):
    """What became of a request; exactly one each."""

    OK = "ok"  # status 200, content (or a cap that was spent on tokens which are not shown), a proper end, no in-band error
    REFUSED = "refused"  # no connection
    REJECTED = "rejected"  # 4xx or 5xx
    FILTERED = "filtered"  # a content-policy rejection
    BROKEN = "broken"  # the exchange died or made no sense before the first token; a thought is one
    CUT = "cut"  # tokens came, then no proper end
    STALLED = "stalled"  # tokens came, then silence past the deadline
    TIMEOUT = "timeout"  # nothing came in time
    ABANDONED = "abandoned"  # we stopped waiting: the end of the run


class Lane(StrEnum):
    """Why a request was made."""

    LOAD = "load"
    PROBE_NEW = "probe_new"  # the probe, on a connection of its own
    PROBE_KEPT = "probe_kept"  # the probe, on a kept connection
    OVERHEAD = "overhead"  # pairs: the same request through the gateway and directly
    WARMUP = "warmup"  # before the clock starts; no metric rests on it


def of_users(lane: Any, via: Any) -> Any:
    """Whether a request stands for users: lane load, through the gateway. Of columns: for each of them."""
    return (lane == Lane.LOAD) & (via == GATEWAY)


class Witness(StrEnum):
    """How an answer was verified to be whole."""

    END = "end"  # finish_reason "length": the cap was the known end
    USAGE = "usage"  # the end was told otherwise, but the usage reached the cap
    CONTENT = "content"  # the content itself showed that it is whole
    NONE = "none"  # the request brought no witness


@dataclass(slots=True)
class RequestRecord:
    """One record of requests.arrow or probe.arrow; made once, whatever happens to the request."""

    request_id: str  # also the nonce at the head of the prompt
    scenario: str
    lane: str
    via: str  # `gateway`, or the name of the tier that was asked directly
    stream: bool
    scheduled_at: float
    sent_at: float | None = None  # None: it never got as far
    outcome: str = Outcome.ABANDONED
    status: Int16 | None = None
    error: str | None = None
    headers_ms: float | None = None  # sent → the response's headers
    ttft_ms: float | None = None  # sent → first chunk with content; of a plain answer its whole body
    thought_ms: float | None = None  # sent → first chunk with thoughts and no content; None: none came
    gaps_ms: list[Float32] = field(default_factory=list)  # between chunks with content or thoughts
    latency_ms: float | None = None  # sent → the end of the exchange
    tier: str | None = None  # who served; only ever known of a status 200
    route_group: str | None = None  # the gateway's headers as found
    route_api_base: str | None = None
    route_fallbacks: Int16 | None = None
    route_retries: Int16 | None = None
    route_overhead_ms: float | None = None  # what the gateway says that it added; it knows about half of that
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    max_tokens: int | None = None
    finish_reason: str | None = None
    witness: str | None = None  # None: the answer was not verified
    pair: str | None = None  # overhead: the requests of one pair share it
    covered_by: str | None = None  # probe: this slot was not asked; that waiting request covers it
    worker: str | None = None
    # The id of the document that was to be classified; None: the request was about none.
    document: str | None = None
    attempt: Int8 | None = None  # which call for this document this is, from 1: the client's own retries
    valid: bool | None = None  # the content was what the client can use; None: no answer came to its end
    wrong: list[str] | None = None  # the judged fields answered wrongly or left out; None: not valid

    @property
    def first_ms(self) -> float | None:
        """Sent → the first token, be it a thought; of an answer without either that is whole, its end. None: nothing came."""
        first = self.ttft_ms if self.thought_ms is None else self.thought_ms
        return self.latency_ms if first is None and self.outcome == Outcome.OK else first


OVERLOADED_CPU_PERCENT = 80.0
OVERLOADED_LAG_MS = 10.0
"""Of the client's rows (`samplers/client.py`): a second with more than one of these is one in which the load generator was overloaded, and its times are fiction."""


@dataclass(slots=True)
class Event:
    """One line of chaos.jsonl: one stage of one move of a fault.

    `begin` is written before anything is called, `commanded` when the call was answered (when it was made, where it is
    an operator's own command: it may take effect long before it ends), `effective` when it was verified, `fail` when it
    could not be done or not be verified. `waiting`: what was commanded is not effective after a minute (a restore: after half a minute,
    and once a minute), and is looked for further. `again`: a fault that repeats within its step. `reclaimed`: the fault's record had been
    deleted by someone, and was made again. `takeover`: what a dead holder had left open on the target was restored first.

    `detail` of a restore. `commanded`: `claimed_again` where the fault's record had been deleted. `effective`: readiness, and `answered`:
    "yes", a real request was answered; "unknown", none could be sent, and `unanswered` says why. `again`: true: the target was lost after an earlier verification. `waiting`:
    `missing`, in words, and `waited_s` since the restore began. `fail`: `foreign`: true where someone else changed the target; `gone`: true
    where its machine is gone; `elsewhere`: true where another of ours had restored it; `back`: true where the target is back and only its
    claim could not be released. Any other `fail` revokes an `effective` of the same restorer before it.
    """

    at: float
    run: str
    move: str  # inject | restore
    stage: str  # begin | commanded | waiting | effective | fail | again | reclaimed | takeover
    by: str  # timeline | guardian | restore | reaper | takeover
    step: str
    trial: int  # rounds of the timeline, from 1
    fault: str
    target: str
    late_ms: float | None = None  # begin: how late the move began; None where nothing was scheduled
    detail: dict[str, Any] | None = None
    error: str | None = None


class WorkerEnd(StrEnum):
    """How a worker ended; of one that is still playing it is None."""

    STOPPED = "stopped"  # with the run, and handed over all it had
    LEFT = "left"  # before the run, and handed over all it had
    LOST = "lost"  # silently: it was killed, or the network was; what it had not sent by then is missing


@dataclass(slots=True)
class Worker:
    """One entry of the manifest's `workers`: a process of Locust's that made asks for a master."""

    worker: str  # as in the records
    host: str
    pid: int
    joined_at: float
    end: str | None = None
    heard_at: float | None = None  # its last word of any kind
    # Its last records; of what ended after that, a lost one has told nothing.
    reported_at: float | None = None
    requests: int = 0  # that had ended, as it counted them itself when it was last heard
    records: int = 0  # of them that arrived


@dataclass(frozen=True, slots=True)
class Offset:
    """One line of clocks.jsonl: by how much a worker's clock was ahead of the master's, give or take."""

    at: float  # of the master's clock, which is that of chaos too
    worker: str
    offset_s: float
    uncertainty_s: float
