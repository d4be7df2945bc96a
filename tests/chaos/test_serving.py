"""What answers before a run: models, and whether answers stream."""

import json

import pytest

from chaos import serving
from contract.framing import End, Exchange
from contract.topology import Topology
from tests.contract.exchanges import head, plain
from tests.embedded.test_engine import QUICK, running
from tests.scenarios.server import Server, free_port

SLOWLY = (*QUICK, "--inter-token-latency", "20ms")  # so that its chunks are not read together


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with running("vllm", tmp_path_factory.mktemp("v"), *SLOWLY, "--model", "m") as found:
        yield found


@pytest.fixture(scope="module")
def ollama(tmp_path_factory):
    with running("ollama", tmp_path_factory.mktemp("o"), *SLOWLY, "--model", "qwen:3b") as found:
        yield found


def topology(engine, **tier) -> Topology:
    url = f"http://127.0.0.1:{engine.port}"
    given = {"name": "vllm", "match": {"group": "m"}, "url": url, "model": "m"} | tier
    cloud = {"name": "openai", "match": {"group": "c"}, "url": url, "model": "not-asked", "cloud": True}
    return Topology.model_validate({"gateway": {"url": url, "model": "m"}, "tiers": [given, cloud]})


def told(topology) -> list[str]:
    return list(serving.told(serving.look(topology)))


def test_what_is_well_is_said_of_the_gateway_and_of_each_tier_and_no_cloud_is_asked(engine):
    before = len(engine.entries())
    assert told(topology(engine)) == ["  gateway: lists m, streams", "  vllm: lists m, streams"]
    assert len(engine.ended(before + 2)) == before + 2


def test_a_tier_is_asked_in_the_api_that_it_speaks(engine, ollama):
    found = topology(
        engine, url=f"http://127.0.0.1:{ollama.port}", api="ollama", model="qwen:3b", name="ollama"
    )
    assert told(found)[1] == "  ollama: lists qwen:3b, streams"


def test_a_model_that_is_not_listed_is_named_with_what_would_be_right(engine):
    said = told(topology(engine, model="other"))
    assert said[1] == (
        "  vllm: NOT WELL: it lists m, and not 'other': serve it by that name (vLLM: --served-model-name, llama.cpp: --alias), "
        "or name one of those"
    )
    assert "a streamed ask was not answered" in said[2]
    found = topology(engine)
    other = found.model_copy(update={"gateway": found.gateway.model_copy(update={"model": "other"})})
    assert "add it to its model_list, or name one of those as the gateway's model" in told(other)[0]


def test_a_port_on_which_nobody_answers_is_named(engine):
    port = free_port()
    (said,) = [line for line in told(topology(engine, url=f"http://127.0.0.1:{port}")) if "vllm" in line]
    assert f"NOT WELL: nothing answers at 127.0.0.1:{port} (" in said
    assert said.endswith("): start it, or set its url right")


def test_a_key_that_is_not_in_the_environment_is_named(engine, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    assert "NO_SUCH_KEY is not set" in told(topology(engine, api_key="${NO_SUCH_KEY}"))[1]


def test_a_redirect_is_named_with_where_to_and_not_followed(engine):
    moved = head(
        "308 Permanent", "content-length: 0", f"location: http://127.0.0.1:{engine.port}/v1/x?key=secret"
    )
    before = len(engine.entries())
    with Server([moved]) as server:
        said = [line for line in told(topology(engine, url=server.url)) if "  vllm" in line]
    place = f"308, a redirect to http://127.0.0.1:{engine.port}/v1/x, which is not followed"
    assert said == [
        f"  vllm: NOT WELL: 127.0.0.1:{server.port} does not list its models: /v1/models says {place}",
        f"  vllm: NOT WELL: a streamed ask was not answered: status {place}",
    ]
    assert len(engine.ended(before + 1)) == before + 1  # the gateway's


def test_the_words_that_a_newer_model_asks_for_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_TIER_KEY", "k")
    newer = ("--unsupported-parameters", "max_tokens", "--least-output-tokens", "64")
    with running(
        "cloud", tmp_path, *QUICK, *newer, "--model", "m", "--reasoning", "hidden", "--reasoning-tokens", "48"
    ) as cloud:
        tier = {"api_key": "${TEST_TIER_KEY}"}
        assert told(topology(cloud, **tier))[-1].endswith(
            " instead.: set max_tokens_field: max_completion_tokens"
        )
        tier |= {"max_tokens_field": "max_completion_tokens"}
        assert told(topology(cloud, **tier))[-1].endswith(
            ": the model needs a larger cap: set probe_max_tokens, and max_tokens for users"
        )
        assert told(topology(cloud, **tier, probe_max_tokens=64))[-1].startswith("  vllm: lists m, ")


@pytest.mark.parametrize("reasoning", ["hidden", "reasoning"])
def test_a_reasoning_model_is_well(tmp_path, reasoning):
    thinking = ("--reasoning", reasoning, "--reasoning-tokens", "100")
    with running(
        "vllm", tmp_path, *QUICK, "--inter-token-latency", "20ms", "--model", "m", *thinking
    ) as engine:
        shown = {
            "reasoning": "streams",
            "hidden": "answers, and shows none of its first 32 tokens (a reasoning model? with a larger probe_max_tokens it would)",
        }[reasoning]
        assert told(topology(engine)) == [f"  gateway: lists m, {shown}", f"  vllm: lists m, {shown}"]


def test_headers_of_its_own_go_out_and_are_not_shown(monkeypatch):
    monkeypatch.setenv("TEST_SSO", "s3cret-of-the-proxy")
    echo = plain({"error": {"message": "bad token s3cret-of-the-proxy"}}, "403 Forbidden")
    with Server([echo], [echo]) as server:
        headers = {"X-Sso": "${TEST_SSO}"}
        data = {
            "gateway": {"url": server.url, "model": "m", "headers": headers},
            "tiers": [{"name": "v", "match": {"group": "m"}}],
        }
        said = told(Topology.model_validate(data))
    assert [b"\r\nX-Sso: s3cret-of-the-proxy\r\n" in request for request in server.requests] == [True, True]
    assert "bad token (key)" in said[-1]
    assert "s3cret" not in "".join(said)


def stream(*at: float) -> Exchange:
    chunk = {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}
    pieces = [(when, b"data: " + json.dumps(chunk).encode() + b"\n\n") for when in at]
    return Exchange(
        sent_at=0.0, status=200, headers={"content-type": "text/event-stream"}, headers_at=at[0],
        pieces=pieces, ended_at=at[-1], end=End.COMPLETE,
    )  # fmt: skip


def test_a_stream_that_comes_all_at_once_is_held_back_on_the_way():
    assert serving.streams(stream(0.1, 0.2, 0.3)) == "streams"
    assert serving.streams(stream(0.7)) == "answers"  # one token tells nothing
    assert serving.streams(stream(0.1, 0.1, 0.1)) == "answers"  # it may have been made as fast
    with pytest.raises(
        serving.NotStreamed, match=r"its 3 chunks came all at once, after 0\.7 s: .* proxy_buffering off"
    ):
        serving.streams(stream(0.7, 0.7, 0.7))
