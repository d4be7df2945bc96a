"""Answers that a real LiteLLM reports as whole and that their engine never gave: each is a cut in our records.

Terminated in mid-stream, a vLLM ends its answers with "abort", with an error, or not at all. Of a plain answer's "abort" the gateway
makes "stop", with status 200 and a true usage; a streamed one it passes on. Of a stream that merely ends it makes a "stop"
and a usage of its own.
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

REQUESTS = int(os.environ.get("ASKS_TOLD_AS_WHOLE", "2000"))
AT_ONCE = 24
MAX_TOKENS = 30


def requests(count: int) -> list[dict]:
    """Two streamed, then one plain."""
    return [{"stream": n % 3 != 2, "max_tokens": MAX_TOKENS} for n in range(count)]


@contextmanager
def terminating(stack):
    """Scales the vLLM away in the middle of its answers, which end with "abort", and back, again and again; counts."""
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
            over.wait(0.3)  # into the middle of what it is telling
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
        told_whole = record["status"] == 200 and record["finish_reason"] in ("stop", "length")
        met[record["outcome"], record["tier"], how, written > 0, record["stream"], told_whole] += 1
        if record["tier"] is not None:
            assert at_engine, f"{record} names a tier that was never asked"
        if record["outcome"] == "ok":
            # Asked again by the gateway, it is the last answer that was told.
            assert at_engine[-1].how == "length", f"{record} is called whole; its engine says {at_engine}"
            assert record["output_tokens"] == at_engine[-1].output_tokens == MAX_TOKENS
        elif record["outcome"] == "cut":
            assert at_engine[-1].how != "length", f"{record} is called cut; its engine gave all of it"
    print(f"\n{REQUESTS} requests, the engine was terminated {len(times)} times")
    print(table(("outcome", "tier", "ledger", "tokens", "streamed", "told as whole"), met))
    # Ask by ask: what the engine aborted after a token, and the gateway told as whole.
    lies = 0
    for record in records:
        if record["tier"] != "vllm":
            continue
        entry = entries[record["request_id"], "vllm"][-1]
        if entry.how != "abort":
            continue
        if entry.written_tokens:
            assert record["outcome"] == "cut", f"{record}; {entry}"
            assert record["output_tokens"] in (None, entry.output_tokens)
            lie = record["status"] == 200 and record["finish_reason"] == "stop"
            assert not (lie and record["stream"]), f"a streamed abort is passed on; {record}"
            lies += lie
        else:
            assert record["outcome"] == "broken", f"{record}; {entry}"
    print(
        f"{lies} of them aborted by their engine, told by the gateway with status 200 and finish_reason stop"
    )
    assert lies > REQUESTS / 120  # else nothing was shown


@pytest.mark.verify
def test_a_stream_that_merely_ends_is_a_cut_although_the_gateway_invents_its_end(stack):
    fault = {"fault": "cut", "how": "clean_end", "after_tokens": 4, "for_s": 120, "id": "told-as-whole"}
    url = f"{stack.url('vllm')}/faults"
    put = urllib.request.Request(url, json.dumps(fault).encode(), method="PUT")
    delete = urllib.request.Request(f"{url}?id=told-as-whole", method="DELETE")
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
