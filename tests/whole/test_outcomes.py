"""Each outcome through a real LiteLLM proxy, recorded correctly. Directly: tests/scenarios/test_outcomes.py.

Where an engine must misbehave in a special way, a scripted server takes the cloud engine's place on its port: the
cloud is the end of the fallback chain, so that its behaviour reaches the client.
"""

import pytest
import yaml

from tests.chaos.stand import until
from tests.scenarios.server import CLOSE, HANG, RST, Server
from tests.whole.client import ClientProcess

CLOUD = "openai-gpt4o"
DEADLINES = {"connect": 2, "first_token": 3, "silence": 2, "whole": 20}


def one(path, deadlines=DEADLINES, env=None, **record):
    (record,) = ClientProcess(path, [{"stream": True, **record}], deadlines=deadlines, env=env).records()
    return record


@pytest.fixture
def scripted(stack):
    """Puts a scripted server in the cloud engine's place."""
    config = yaml.safe_load((stack.folder / "gateway.yaml").read_text())
    base = next(m["litellm_params"]["api_base"] for m in config["model_list"] if m["model_name"] == CLOUD)
    port = int(base.rsplit(":", 1)[1].split("/")[0])
    stack.scale("outside", "openai", 0)
    until(
        lambda: not stack.cluster.pods("outside", {"matchLabels": {"app": "openai"}}),
        "the cloud engine has gone",
    )
    servers = []

    def serve(*script):
        server = Server(script, port=port).__enter__()
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.__exit__()


def head(status: str = "200 OK", kind: str = "text/event-stream") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode()


def event(text: str = "", finish: str | None = None) -> bytes:
    import json

    delta = {"role": "assistant", "content": text} if text else {}
    body = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}  # fmt: skip
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def test_a_whole_answer_is_ok_and_records_its_witness(stack):
    requests = [{"stream": s, "model": m} for m in (None, "ollama-qwen", CLOUD) for s in (True, False)]
    found = ClientProcess(stack.path, requests).records()
    assert [(r["outcome"], r["tier"], r["witness"]) for r in found] == [
        ("ok", "vllm", "end"), ("ok", "vllm", "end"),
        ("ok", "ollama", "usage"), ("ok", "ollama", "usage"),
        ("ok", "openai", "end"), ("ok", "openai", "end"),
    ]  # fmt: skip


def test_no_gateway_is_refused(stack, tmp_path):
    data = yaml.safe_load(stack.path.read_text())
    data["gateway"]["url"] = "http://127.0.0.1:1"
    (tmp_path / "dead.yaml").write_text(yaml.safe_dump(data))
    assert one(tmp_path / "dead.yaml")["outcome"] == "refused"


def test_a_wrong_key_is_rejected(stack):
    record = one(stack.path, env={"LITELLM_MASTER_KEY": "sk-wrong"})
    assert (record["outcome"], record["tier"]) == ("rejected", None)
    assert record["status"] in (
        400,
        401,
    )  # 1.106.2 answers 400 where it has no database to look the key up in
    assert "sk-wrong" not in str(record)


def test_a_content_policy_rejection_is_filtered(scripted, stack):
    body = b'{"error": {"message": "content_filter: refused", "type": "invalid_request_error", "code": "content_policy_violation"}}'
    scripted(
        head("400 Bad Request", "application/json").replace(
            b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        + body
    )
    assert one(stack.path, model=CLOUD)["outcome"] == "filtered"


def test_an_engine_that_dies_before_the_first_token_with_nobody_behind_it_is_no_answer(scripted, stack):
    scripted(RST)
    record = one(stack.path, model=CLOUD, deadlines={**DEADLINES, "first_token": 20})
    assert record["outcome"] == "rejected"
    assert record["status"] >= 500


def test_an_empty_answer_reported_as_whole_is_broken(scripted, stack):
    """A gateway sends this when an engine was terminated before its first token."""
    scripted(head(), event(finish="abort"), b"data: [DONE]\n\n", CLOSE)
    record = one(stack.path, model=CLOUD)
    assert (record["outcome"], record["status"]) == ("broken", 200)


def counted(tokens: int) -> bytes:
    usage = f'{{"id":"x","object":"chat.completion.chunk","created":1,"model":"gpt-4o-mini","choices":[],"usage":{{"prompt_tokens":5,"completion_tokens":{tokens},"total_tokens":{5 + tokens}}}}}'
    return b"data: " + usage.encode() + b"\n\n"


UNSEEN = {
    # what the engine sends before its end; finish_reason and tokens as LiteLLM reports them, and the outcome
    "length, counted": ((event(finish="length"), counted(2)), ("length", 2, "ok")),
    "length, no usage": ((event(finish="length"),), ("length", 0, "broken")),
    "stop at the cap": ((event(finish="stop"), counted(2)), ("stop", 2, "broken")),
    "counted, without a reason": ((event(), counted(2)), ("stop", 2, "broken")),
    "nothing": ((), ("stop", None, "broken")),
    "an empty chunk": ((event(),), ("stop", None, "broken")),
}


@pytest.mark.parametrize("case", UNSEEN)
def test_of_an_answer_that_shows_no_token_only_the_engines_length_proves_anything(scripted, stack, case):
    sent, (reason, tokens, outcome) = UNSEEN[case]
    scripted(head(), *sent, b"data: [DONE]\n\n", CLOSE)
    record = one(stack.path, model=CLOUD, max_tokens=2)
    assert (record["finish_reason"], record["output_tokens"], record["outcome"]) == (reason, tokens, outcome)
    assert (record["ttft_ms"], record["status"]) == (None, 200)


@pytest.mark.parametrize(
    "end", [(CLOSE,), (RST,), (event(finish="stop"), b"data: [DONE]\n\n", CLOSE)], ids=["FIN", "RST", "abort"]
)
def test_a_stream_that_ends_below_its_cap_is_cut_although_the_gateway_calls_it_whole(scripted, stack, end):
    scripted(head(), event("one"), event(" two"), 0.2, *end)
    record = one(stack.path, model=CLOUD)
    assert (record["outcome"], record["status"], record["tier"]) == ("cut", 200, "openai")


def test_silence_after_the_first_tokens_is_stalled(scripted, stack):
    scripted(head(), event("one"), event(" two"), HANG)
    assert one(stack.path, model=CLOUD)["outcome"] == "stalled"


def test_silence_from_the_start_is_a_timeout(scripted, stack):
    scripted(HANG)
    assert one(stack.path, model=CLOUD)["outcome"] == "timeout"


def test_a_request_whose_client_has_left_is_abandoned(stack):
    record = one(stack.path, model="ollama-qwen", kill_after_s=0.3)
    assert record["outcome"] == "abandoned"


# (via, streamed) → the record: outcome, status, finish_reason, tier.
SCALED_DOWN = {
    "abort": {
        ("gateway", True): ("cut", 200, "abort", "vllm"),
        ("gateway", False): ("cut", 200, "stop", "vllm"),  # reported as complete
        ("vllm", True): ("cut", 200, "abort", "vllm"),
        ("vllm", False): ("cut", 200, "abort", "vllm"),
    },
    "error": {
        ("gateway", True): ("cut", 200, None, "vllm"),
        ("gateway", False): ("ok", 200, "stop", "ollama"),
        ("vllm", True): ("cut", 200, None, "vllm"),
        ("vllm", False): ("rejected", 500, None, None),
    },
    "silence": {
        ("gateway", True): ("cut", 200, None, "vllm"),  # by the gateway, after its timeout
        ("gateway", False): ("ok", 200, "stop", "ollama"),
        ("vllm", True): ("stalled", 200, None, "vllm"),
        ("vllm", False): ("timeout", None, None, None),
    },
}


@pytest.mark.parametrize(
    "end", ["abort", *(pytest.param(e, marks=pytest.mark.verify) for e in ("error", "silence"))]
)
def test_a_scale_down_in_mid_answer_is_recorded_as_what_it_was(stack, end):
    """The outcomes that a client gets; by the ledger no answer was finished."""
    requests = [
        {"stream": s, "max_tokens": 200, "via": via} for via in ("gateway", "vllm") for s in (True, False)
    ]
    deadlines = {"connect": 2, "first_token": 20, "silence": 8, "whole": 20}
    with stack.going_with(end):
        before = stack.generated("vllm")
        client = ClientProcess(stack.path, requests, at_once=4, deadlines=deadlines)
        until(lambda: stack.generated("vllm") > before + 100, "all four have begun to answer")
        stack.scale("ml", "vllm-server", 0)
        records = client.records()
        ledger = stack.ledger("vllm")
    recorded = {
        (r["via"], r["stream"]): (r["outcome"], r["status"], r["finish_reason"], r["tier"]) for r in records
    }
    assert recorded == SCALED_DOWN[end]
    assert {ledger[r["request_id"]].how for r in records} == {"gone" if end == "silence" else "abort"}
    for record in records:
        if record["outcome"] == "cut" and end == "abort":
            assert record["output_tokens"] == ledger[record["request_id"]].output_tokens < 200
