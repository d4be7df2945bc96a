"""Answers that a real LiteLLM reports as whole although their engine did not finish them: each is a cut in our records.

Terminated in mid-stream, a vLLM ends its answers with "abort", with an error, or not at all. The gateway changes a plain answer's
"abort" to "stop", with status 200 and a true usage; it passes a streamed one on. For a stream that merely ends it invents a "stop"
and a usage.
"""

import json
import os
import threading
import urllib.request
from collections import Counter
from contextlib import contextmanager

import pytest

from tests.chaos.stand import until
from tests.whole.client import ClientProcess

REQUESTS = int(os.environ.get("REQUESTS_REPORTED_AS_WHOLE", "2000"))
AT_ONCE = 24
MAX_TOKENS = 30


def requests(count: int) -> list[dict]:
    """Two streamed, then one plain."""
    return [{"stream": n % 3 != 2, "max_tokens": MAX_TOKENS} for n in range(count)]


@contextmanager
def terminating(stack):
    """Scales the vLLM to zero in the middle of its answers, which end with "abort", and back, repeatedly; yields one item each time."""
    over, times = threading.Event(), []

    def run() -> None:
        while not over.is_set():
            try:
                busy = stack.running("vllm") >= AT_ONCE / 3
            except OSError:
                busy = False  # it starts
            if not busy:
                over.wait(0.05)
                continue
            over.wait(0.3)  # into the middle of its answers
            stack.scale("ml", "vllm-server", 0)
            times.append(True)
            until(
                lambda: not stack.cluster.pods("ml", {"matchLabels": {"app": "vllm-server"}}), "it has gone"
            )
            stack.scale("ml", "vllm-server", 1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join()


@pytest.mark.verify
@pytest.mark.timeout(900)
def test_what_a_terminated_engine_aborted_is_a_cut_although_the_gateway_calls_it_whole(stack):
    with terminating(stack) as times:
        records = ClientProcess(stack.path, requests(REQUESTS), at_once=AT_ONCE).records(within_s=800)
    assert len({r["request_id"] for r in records}) == len(records) == REQUESTS
    entries: dict[tuple[str, str], list] = {}
    for tier in ("vllm", "ollama", "openai"):
        for entry in stack.entries(tier):
            entries.setdefault((entry.nonce, tier), []).append(entry)
    met: Counter[tuple] = Counter()
    for record in records:
        at_engine = entries.get((record["request_id"], record["tier"]), [])
        how = "/".join(str(e.how) for e in at_engine) or "–"
        written = max((e.written_tokens for e in at_engine), default=0)
        reported_whole = record["status"] == 200 and record["finish_reason"] in ("stop", "length")
        met[record["outcome"], record["tier"], how, written > 0, record["stream"], reported_whole] += 1
        if record["tier"] is not None:
            assert at_engine, f"{record} names a tier that never got it"
        if record["outcome"] == "ok":
            # If the gateway repeated the request, the client got the last answer.
            assert at_engine[-1].how == "length", (
                f"{record} is recorded as whole; its engine reports {at_engine}"
            )
            assert record["output_tokens"] == at_engine[-1].output_tokens == MAX_TOKENS
        elif record["outcome"] == "cut":
            assert at_engine[-1].how != "length", f"{record} is recorded as cut; its engine finished it"
    print(f"\n{REQUESTS} requests, the engine was terminated {len(times)} times")
    print(table(("outcome", "tier", "ledger", "tokens", "streamed", "reported as whole"), met))
    # Each request that the engine aborted after a token, and that the gateway reported as whole.
    false_reports = 0
    for record in records:
        if record["tier"] != "vllm":
            continue
        entry = entries[record["request_id"], "vllm"][-1]
        if entry.how != "abort":
            continue
        if entry.written_tokens:
            assert record["outcome"] == "cut", f"{record}; {entry}"
            assert record["output_tokens"] in (None, entry.output_tokens)
            false_report = record["status"] == 200 and record["finish_reason"] == "stop"
            assert not (false_report and record["stream"]), f"a streamed abort is passed on; {record}"
            false_reports += false_report
        else:
            assert record["outcome"] == "broken", f"{record}; {entry}"
    print(
        f"{false_reports} of them aborted by their engine, reported by the gateway with status 200 and finish_reason stop"
    )
    assert false_reports > REQUESTS / 120  # else the test shows nothing


@pytest.mark.verify
def test_a_stream_that_merely_ends_is_a_cut_although_the_gateway_invents_its_end(stack):
    fault = {"fault": "cut", "how": "clean_end", "after_tokens": 4, "for_s": 120, "id": "reported-as-whole"}
    url = f"{stack.url('vllm')}/faults"
    put = urllib.request.Request(url, json.dumps(fault).encode(), method="PUT")
    delete = urllib.request.Request(f"{url}?id=reported-as-whole", method="DELETE")
    urllib.request.urlopen(put, timeout=10).close()
    try:
        records = ClientProcess(stack.path, requests(300), at_once=AT_ONCE).records()
    finally:
        urllib.request.urlopen(delete, timeout=10).close()
    ledger = stack.ledger("vllm")
    met = Counter(
        (r["outcome"], r["tier"], r["status"], r["finish_reason"], r["stream"], r["output_tokens"])
        for r in records
    )
    print(table(("outcome", "tier", "status", "finish_reason", "streamed", "usage"), met))
    for record in records:
        entry = ledger[record["request_id"]]
        assert (entry.how, entry.fault, entry.written_tokens) == ("cut", "cut", 4)
        assert (record["outcome"], record["tier"], record["status"]) == ("cut", "vllm", 200)
    invented = [r for r in records if r["stream"] and r["finish_reason"] == "stop" and r["output_tokens"]]
    assert len(invented) > 50


def table(names: tuple[str, ...], met: Counter[tuple]) -> str:
    rows = [(*names, "requests"), *((*map(str, row), str(n)) for row, n in sorted(met.items(), key=str))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows)
