"""A real engine from the harness's view: what holds for the simulated engines must hold for llama.cpp."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.blast_radius import Handles
from contract.match import Match
from contract.refusal import Refusal
from contract.topology import Tier
from embedded import program
from embedded.llamacpp.options import parse
from tests.embedded.engine import until
from tests.embedded.llamacpp import Llama, llama
from tests.whole.client import ClientProcess

LONG = 12_000  # tokens: seconds of answer


@pytest.fixture(scope="module")
def shared() -> Iterator[Llama]:
    with llama("--slots", "2", "--context", "8192") as engine:
        yield engine


def run_client(engine: Llama, folder: Path, *requests: dict[str, Any], **more: Any) -> ClientProcess:
    return ClientProcess(
        engine.topology(folder), [{"via": "llamacpp", **request} for request in requests], **more
    )


@pytest.mark.parametrize("stream", [True, False])
def test_a_whole_answer_is_ok_and_its_end_was_known_beforehand(shared, tmp_path, stream):
    (record,) = run_client(shared, tmp_path, {"stream": stream, "max_tokens": 200}).records()
    assert (record["outcome"], record["tier"], record["witness"]) == ("ok", "llamacpp", "end")
    assert record["output_tokens"] == 200
    assert record["prompt_tokens"] > 10
    assert 0 < record["headers_ms"] <= record["ttft_ms"] <= record["latency_ms"]
    # One chunk per token; several words of a stream may arrive in one read.
    assert len(record["gaps_ms"]) == (199 if stream else 0)
    assert record["ttft_ms"] + sum(record["gaps_ms"]) <= record["latency_ms"] + 0.01


def test_the_engine_counts_the_tokens_that_we_count(shared, tmp_path):
    before = shared.metric("tokens_predicted_total")
    requests = [{"stream": s, "max_tokens": n} for s in (True, False) for n in (1, 20)]
    # Each on its own connection: after a stream, llama.cpp announces keep-alive and closes the connection.
    records = run_client(shared, tmp_path, *requests, at_once=len(requests)).records()
    assert sum(r["output_tokens"] for r in records) == 42
    until(
        lambda: shared.metric("tokens_predicted_total") - before == 42
    )  # counted when the slot is given back


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_beyond_its_slots_share_of_the_context_is_rejected(shared, tmp_path, stream):
    (record,) = run_client(shared, tmp_path, {"stream": stream, "prompt": "through " * 5000}).records()
    assert (record["outcome"], record["status"], record["tier"]) == ("rejected", 400, None)
    assert "exceeds the available context size (4096 tokens)" in record["error"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_sigkill_in_mid_answer_is_cut_or_broken_and_never_ok(tmp_path, stream):
    with llama() as engine:
        client = run_client(engine, tmp_path, {"stream": stream, "max_tokens": LONG // 2})
        until(engine.answering)
        engine.process.kill()
        (record,) = client.records()
        assert record["outcome"] == ("cut" if stream else "broken")
        assert (record["witness"], record["finish_reason"]) == (None, None)


def test_after_a_sigterm_its_streams_stall_or_are_closed_and_no_answer_is_whole(tmp_path):
    """Which of the two is a race inside it: nearly always they stall."""
    with llama("--slots", "2") as engine:
        client = run_client(
            engine, tmp_path, {"stream": True, "max_tokens": LONG}, deadlines={"silence": 1.5}
        )
        until(engine.answering)
        engine.process.send_signal(signal.SIGTERM)
        until(lambda: not engine.accepts())
        (record,) = client.records()
        assert (record["outcome"], record["error"]) in (
            ("stalled", "silent for 1.5 s"), ("cut", "connection closed"),
        )  # fmt: skip
        assert record["output_tokens"] is None


@pytest.mark.verify
def test_a_client_that_waits_out_the_stall_after_a_sigterm_is_cut(tmp_path):
    with llama("--slots", "2") as engine:
        client = run_client(engine, tmp_path, {"stream": True, "max_tokens": LONG}, deadlines={"silence": 50})
        until(engine.answering)
        engine.process.send_signal(signal.SIGTERM)
        (record,) = client.records()
        assert record["outcome"] == "cut"


def test_while_its_model_loads_it_is_refused_or_503_and_never_otherwise_until_it_is_healthy():
    seen: list[int | None] = []

    def health_status(engine: Llama) -> int | None:
        try:
            return engine.request("/health").status
        except OSError:
            return None

    with llama("--context", "200000", healthy=False) as engine:
        while seen[-1:] != [200]:
            assert engine.process.poll() is None
            status = health_status(engine)
            if seen[-1:] != [status]:
                seen.append(status)
    assert seen in ([None, 200], [None, 503, 200], [503, 200])  # the polling interval decides which of them


def test_busy_it_is_healthy_and_reports_no_free_slot(tmp_path):
    with llama("--slots", "1") as engine:
        assert engine.request("/slots?fail_on_no_slot=1").status == 200
        client = run_client(engine, tmp_path, {"stream": True, "max_tokens": LONG})
        until(engine.answering)
        assert engine.request("/health").status == 200
        assert engine.request("/slots?fail_on_no_slot=1").status == 503
        assert engine.metric("requests_processing") == 1
        engine.process.kill()
        client.records()


def test_with_every_slot_busy_not_even_headers_come(tmp_path):
    with llama("--slots", "1") as engine:
        requests = [{"stream": True, "max_tokens": 600}, {"stream": True, "max_tokens": 600}]
        first, second = sorted(
            run_client(engine, tmp_path, *requests, at_once=2).records(), key=lambda r: r["headers_ms"]
        )
        assert (first["outcome"], second["outcome"]) == ("ok", "ok")
        assert second["headers_ms"] > 0.5 * first["latency_ms"] > 2 * first["headers_ms"]


def test_a_model_that_ends_early_is_cut_by_its_witness(tmp_path):
    """The end of each answer is random; some may reach the cap, and some are empty."""
    with llama("--eos-bias", "1") as engine:
        requests = ({"stream": s, "max_tokens": 400, "repeat": 5} for s in (True, False))
        outcomes = {
            (r["outcome"], r["finish_reason"])
            for r in run_client(engine, tmp_path, *requests, at_once=10).records()
        }
        assert ("cut", "stop") in outcomes
        assert outcomes <= {("cut", "stop"), ("ok", "length"), ("broken", "stop")}


def place(folder: Path) -> program.Place:
    return program.Place(1234, folder / "ledger", folder / "pid")


@pytest.mark.parametrize(
    ("given", "handles", "words"),
    [
        ({}, {}, "give either a personality (vllm, ollama, cloud) or an engine (llamacpp)"),
        ({"engine": "llamacpp", "personality": "vllm"}, {}, "give either a personality"),
        ({"engine": "llamacp"}, {}, "did you mean 'llamacpp'?"),
        ({"personality": "olama"}, {}, "did you mean 'ollama'?"),
        ({"engine": "llamacpp"}, {"engine": "embedded"}, "is a real engine and cannot inject faults"),
        ({"engine": "llamacpp", "slots": 0}, {}, "invalid parameter"),
        ({"engine": "llamacpp", "sse-ping-interval": "500ms"}, {}, "invalid parameter"),
        ({"engine": "llamacpp", "termination-grace-period": 5}, {}, "5 is a bare number, not a duration; write 5s"),
        ({"engine": "llamacpp", "slot": 4}, {}, "invalid parameter"),
    ],
)  # fmt: skip
def test_an_unknown_engine_is_refused(tmp_path, given, handles, words):
    tier = Tier(name="t", match=Match(group="g"), handles=Handles(**handles))
    with pytest.raises(Refusal) as refused:
        program.of(tier, given, place(tmp_path), "here", tmp_path)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "required: --port"),
        (("--slot", "4"), "did you mean '--slots'?"),
        (("--eos-bias", "nan"), "'nan' is not a number from -100 to 100"),
        (("--context", "-1"), "--context"),
    ],
)
def test_a_bad_parameter_of_the_real_engine_is_refused(argv, words, capsys):
    line = () if not argv else ("--port", "1", "--models", "/none")
    with pytest.raises(SystemExit) as ended:
        parse([*line, *argv])
    assert ended.value.code == 64
    assert words in capsys.readouterr().err
