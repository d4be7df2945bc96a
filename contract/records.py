"""What is recorded: one record per request, one event per stage of a move of a fault. Rows of samplers: `contract.samplers`.

Instants are unix seconds UTC, lengths are milliseconds. None means unknown, never 0.
This module defines the types and meanings of the columns; `schemas.py` makes the files' schemas from them, and
`results/README.md` is checked against them.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

# Bits of a number in a file, if not the default: 32 for an int, 64 for a float.
Int8 = Annotated[int, "int8"]
Int16 = Annotated[int, "int16"]
Float32 = Annotated[float, "float32"]

FORMAT = 5
"""The format number in a run's manifest. Runs of another format are refused: up to 4, files, columns and events had other
names."""

GATEWAY = "gateway"


class Outcome(StrEnum):
    """What became of a request; exactly one each."""

    OK = "ok"  # status 200, content (or a cap spent on tokens that are not shown), a proper end, no in-band error
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
    WARMUP = "warmup"  # before the clock starts; not used by any metric


def of_users(lane: Any, via: Any) -> Any:
    """Whether a request is one of the users: lane load, through the gateway. For columns: elementwise."""
    return (lane == Lane.LOAD) & (via == GATEWAY)


class Witness(StrEnum):
    """How an answer was verified to be whole."""

    END = "end"  # finish_reason "length": the cap was the known end
    USAGE = "usage"  # another finish_reason, but the usage reached the cap
    CONTENT = "content"  # the content showed that it is whole
    NONE = "none"  # the request had no witness


@dataclass(slots=True)
class RequestRecord:
    """One record of requests.arrow or probe.arrow; exactly one per request, whatever its outcome."""

    request_id: str  # also the nonce at the head of the prompt
    scenario: str
    lane: str
    via: str  # `gateway`, or the name of the tier that got the request directly
    stream: bool
    scheduled_at: float
    sent_at: float | None = None  # None: it was never sent
    outcome: str = Outcome.ABANDONED
    status: Int16 | None = None
    error: str | None = None
    headers_ms: float | None = None  # sent → the response's headers
    ttft_ms: float | None = None  # sent → first chunk with content; of a plain answer its whole body
    thought_ms: float | None = None  # sent → first chunk with thoughts and no content; None: none came
    gaps_ms: list[Float32] = field(default_factory=list)  # between chunks with content or thoughts
    latency_ms: float | None = None  # sent → the end of the exchange
    tier: str | None = None  # which tier served; known only for a status 200
    route_group: str | None = None  # the gateway's headers as found
    route_api_base: str | None = None
    route_fallbacks: Int16 | None = None
    route_retries: Int16 | None = None
    route_overhead_ms: float | None = None  # overhead reported by the gateway; about half of the measured one
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    max_tokens: int | None = None
    finish_reason: str | None = None
    witness: str | None = None  # None: the answer was not verified
    pair: str | None = None  # overhead: the requests of one pair share it
    covered_by: str | None = None  # probe: no request was sent in this slot; that waiting request covers it
    worker: str | None = None
    # The id of the document that was to be classified; None: the request was about none.
    document: str | None = None
    attempt: Int8 | None = None  # which call for this document this is, from 1: the client's own retries
    valid: bool | None = None  # the client can use the content; None: no whole answer
    wrong: list[str] | None = None  # the judged fields answered wrongly or left out; None: not valid

    @property
    def first_ms(self) -> float | None:
        """Sent → the first token (a thought is one); of a whole answer without any, its end. None: nothing came."""
        first = self.ttft_ms if self.thought_ms is None else self.thought_ms
        return self.latency_ms if first is None and self.outcome == Outcome.OK else first


OVERLOADED_CPU_PERCENT = 80.0
OVERLOADED_LAG_MS = 10.0
"""Limits for the client's rows (`samplers/client.py`): in a second above either, the load generator was overloaded, and its
times are not valid."""


@dataclass(slots=True)
class Event:
    """One line of chaos.jsonl: one stage of one move of a fault.

    - `begin`: written before anything is called.
    - `commanded`: the call was answered. For an operator's own command: it was started, because it may take effect long
      before it ends.
    - `effective`: verified.
    - `fail`: could not be done, or not be verified.
    - `waiting`: not effective after a minute (a restore: after half a minute, and once a minute); checks continue.
    - `again`: a fault that repeats within its step.
    - `reclaimed`: the fault's record had been deleted by someone, and was made again.
    - `takeover`: what a dead holder had left open on the target was restored first.

    `detail` of a restore:

    - `commanded`: `claimed_again` if the fault's record had been deleted.
    - `effective`: readiness, and `answered`: "yes", a real request was answered; "unknown", none could be sent (`unanswered`:
      why). `again`: true: the target was lost after an earlier verification.
    - `waiting`: `missing`, in words, and `waited_s` since the restore began.
    - `fail`: `foreign`: true: someone else changed the target; `gone`: true: its machine is gone; `elsewhere`: true: another
      restorer of ours had restored it; `back`: true: the target is back and only its claim could not be released. Any other
      `fail` revokes an earlier `effective` of the same restorer.
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
    late_ms: float | None = None  # begin: how late the move began; None: it was not scheduled
    detail: dict[str, Any] | None = None
    error: str | None = None


class WorkerEnd(StrEnum):
    """How a worker ended; None while it is running."""

    STOPPED = "stopped"  # with the run, after sending all its records
    LEFT = "left"  # before the run ended, after sending all its records
    LOST = "lost"  # silently: it was killed, or the network failed; records not sent by then are missing


@dataclass(slots=True)
class Worker:
    """One entry of the manifest's `workers`: a Locust process that sent requests for a master."""

    worker: str  # as in the records
    host: str
    pid: int
    joined_at: float
    end: str | None = None
    heard_at: float | None = None  # when its last message came
    # When its last records came; of requests that ended later, a lost worker has sent none.
    reported_at: float | None = None
    requests: int = 0  # ended, by its own count in its last message
    records: int = 0  # of these, records that arrived


@dataclass(frozen=True, slots=True)
class Offset:
    """One line of clocks.jsonl: by how much a worker's clock was ahead of the master's, with uncertainty."""

    at: float  # by the master's clock, which chaos shares
    worker: str
    offset_s: float
    uncertainty_s: float
