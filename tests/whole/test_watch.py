"""The failover demo with a real LiteLLM: its banners come in order when a tier goes and comes back."""

import json
import signal
import subprocess

import pytest

from tests.forked import Forked


@pytest.mark.verify
@pytest.mark.shows("watch", "make watch", on="embedded + real LiteLLM")
def test_the_banners_come_in_order_when_a_tier_goes_and_comes_back(stack):
    process = Forked(
        "chaos", "watch", "--topology", str(stack.path), "--every", "500ms", "--json", stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    printed: list[dict] = []

    def seen(kind: str, **what: str) -> dict:
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(json.loads(line))
            if printed[-1]["kind"] == kind and all(printed[-1][key] == value for key, value in what.items()):
                return printed[-1]
        raise AssertionError(f"it ended before {kind} {what}; {printed}")

    try:
        assert seen("request", outcome="ok")["place"] == "primary"
        stack.scale("ml", "vllm-server", 0)
        failover = seen("failover", before="vllm", to="ollama")
        assert seen("request", outcome="ok")["served_by"] == "ollama"
        stack.scale("ml", "vllm-server", 1)
        recovery = seen("recovery", to="vllm")
        assert recovery["on"] == ["ollama"]
        assert seen("request", outcome="ok")["witness"] == "end"
        process.send_signal(signal.SIGINT)
        summary = seen("summary")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert [change["kind"] for change in summary["changes"] if change["kind"] != "outage"] == [
        "failover",
        "recovery",
    ]
    assert 0 <= failover["lower_s"] <= failover["waited_s"] <= failover["upper_s"]
    served = {tier["name"]: tier["answers"] for tier in summary["tiers"]}
    assert served.keys() == {"vllm", "ollama"}
    assert sum(served.values()) == summary["good"]
    # The tiers in the watch's records agree with the engines' ledgers.
    ledgers = {tier: stack.ledger(tier) for tier in served}
    for record in (row for row in printed if row["kind"] == "request" and row["outcome"] == "ok"):
        assert ledgers[record["served_by"]][record["request_id"]].how == "length"
