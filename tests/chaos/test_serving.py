"""The checks of a plan: models, and whether answers stream."""

import json

import pytest

from chaos import inspection
from chaos.probe import serving
from contract.framing import End, Exchange
from contract.topology import Topology
from tests.chaos.answering import CLOUD, LOCAL, NONE, SLOWLY, report
from tests.chaos.gateways import Gateway, Group
from tests.contract.exchanges import WHOLE, chunked, head, plain
from tests.embedded.engine import QUICK, running
from tests.ports import held_port
from tests.scenarios.server import Server


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with running("vllm", tmp_path_factory.mktemp("v"), *SLOWLY, "--model", "m") as found:
        yield found


@pytest.fixture(scope="module")
def ollama(tmp_path_factory):
    with running("ollama", tmp_path_factory.mktemp("o"), *SLOWLY, "--model", "qwen:3b") as found:
        yield found


def test_what_is_well_is_reported_of_the_gateway_and_each_tier_and_no_cloud_gets_a_request(
    engine, topology, gateway
):
    before = len(engine.entries())
    lines = [_settled(line) for line in report(topology(engine))]
    assert lines == ["gateway: lists m, streams, answered by vllm", "vllm: lists m, streams"]
    assert len(engine.ended(before + 1)) == before + 1
    assert gateway.requested == ["m"]


def test_a_plan_reports_the_version_of_the_gateway(engine, topology):
    listed = b'{"data": [{"id": "m"}]}'
    models = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(listed), listed)
    answer = head("200 OK", "transfer-encoding: chunked", "x-litellm-version: 1.108.7") + chunked(*WHOLE)
    with Server([models], [answer]) as gateway:
        found = topology(engine)
        there = found.gateway.model_copy(update={"url": gateway.url})
        lines = report(found.model_copy(update={"gateway": there}))
    assert lines[0].startswith("  gateway: lists m, answers as litellm 1.108.7, ")


def test_a_tier_gets_a_request_of_its_own_api(engine, ollama, topology):
    found = topology(
        engine, url=f"http://127.0.0.1:{ollama.port}", api="ollama", model="qwen:3b", name="ollama"
    )
    assert report(found)[1] == "  ollama: lists qwen:3b, streams"


def test_a_model_that_is_not_listed_is_named_with_the_correction(engine, topology):
    lines = report(topology(engine, model="other"))
    assert lines[1] == (
        "  vllm: NOT WELL: it lists m, but not 'other': serve it under that name (vLLM: --served-model-name, llama.cpp: --alias), "
        "or set one of the listed names"
    )
    assert "a streamed request was not answered" in lines[2]
    found = topology(engine)
    other = found.model_copy(update={"gateway": found.gateway.model_copy(update={"model": "other"})})
    assert (
        "add it to the gateway's model_list, or set one of the listed names as the gateway's model"
        in report(other)[0]
    )


def test_a_port_without_a_server_is_named(engine, topology):
    port = held_port()
    (line,) = [line for line in report(topology(engine, url=f"http://127.0.0.1:{port}")) if "  vllm:" in line]
    assert f"NOT WELL: no answer at 127.0.0.1:{port} (" in line
    assert line.endswith("): start the server, or correct its url")


def test_a_key_that_is_not_in_the_environment_is_named(engine, topology, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    assert "NO_SUCH_KEY is not set" in report(topology(engine, api_key="${NO_SUCH_KEY}"))[1]


def test_a_redirect_is_named_with_where_to_and_not_followed(engine, topology):
    moved = head(
        "308 Permanent", "content-length: 0", f"location: http://127.0.0.1:{engine.port}/v1/x?key=secret"
    )
    before = len(engine.entries())
    with Server([moved]) as server:
        lines = [line for line in report(topology(engine, url=server.url)) if "  vllm" in line]
    place = f"308, a redirect to http://127.0.0.1:{engine.port}/v1/x, which is not followed"
    assert lines == [
        f"  vllm: NOT WELL: 127.0.0.1:{server.port} does not list its models: /v1/models returned {place}",
        f"  vllm: NOT WELL: a streamed request was not answered: status {place}",
    ]
    assert len(engine.entries()) == before


def test_the_parameters_that_a_newer_model_requires_are_named(tmp_path, topology, monkeypatch):
    monkeypatch.setenv("TEST_TIER_KEY", "k")
    newer = ("--unsupported-parameters", "max_tokens", "--least-output-tokens", "64")
    with running(
        "cloud", tmp_path, *QUICK, *newer, "--model", "m", "--reasoning", "hidden", "--reasoning-tokens", "48"
    ) as cloud:
        tier = {"api_key": "${TEST_TIER_KEY}"}
        assert report(topology(cloud, **tier))[-1].endswith(
            " instead.: set max_tokens_field: max_completion_tokens"
        )
        tier |= {"max_tokens_field": "max_completion_tokens"}
        assert report(topology(cloud, **tier))[-1].endswith(
            ": the model needs a larger cap: set probe_max_tokens, and max_tokens for users"
        )
        assert report(topology(cloud, **tier, probe_max_tokens=64))[-1].startswith("  vllm: lists m, ")


@pytest.mark.parametrize("reasoning", ["hidden", "reasoning"])
def test_a_reasoning_model_is_well(tmp_path, topology, reasoning):
    thinking = ("--reasoning", reasoning, "--reasoning-tokens", "100")
    with running(
        "vllm", tmp_path, *QUICK, "--inter-token-latency", "20ms", "--model", "m", *thinking
    ) as engine:
        shown = {
            "reasoning": "streams",
            "hidden": "answers, but its first 32 tokens are hidden (a reasoning model? a larger probe_max_tokens would show more)",
        }[reasoning]
        assert report(topology(engine))[-1] == f"  vllm: lists m, {shown}"


def test_extra_headers_are_sent_and_not_shown(monkeypatch):
    monkeypatch.setenv("TEST_SSO", "s3cret-of-the-proxy")
    echo = plain({"error": {"message": "bad token s3cret-of-the-proxy"}}, "403 Forbidden")
    with Server([echo], [echo]) as server:
        headers = {"X-Sso": "${TEST_SSO}"}
        data = {
            "gateway": {"url": server.url, "model": "m", "headers": headers},
            "tiers": [{"name": "v", "match": {"group": "m"}}],
        }
        lines = report(Topology.model_validate(data))
    assert [b"\r\nX-Sso: s3cret-of-the-proxy\r\n" in request for request in server.requests] == [True, True]
    assert "bad token (key)" in lines[-1]
    assert "s3cret" not in "".join(lines)


def stream(*at: float) -> Exchange:
    chunk = {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}
    pieces = [(when, b"data: " + json.dumps(chunk).encode() + b"\n\n") for when in at]
    return Exchange(
        sent_at=0.0, status=200, headers={"content-type": "text/event-stream"}, headers_at=at[0],
        pieces=pieces, ended_at=at[-1], end=End.COMPLETE,
    )  # fmt: skip


def test_a_stream_that_arrives_all_at_once_was_buffered():
    assert serving.streams(stream(0.1, 0.2, 0.3)) == "streams"
    assert serving.streams(stream(0.7)) == "answers"  # one token shows nothing
    assert serving.streams(stream(0.1, 0.1, 0.1)) == "answers"  # it may have been generated as fast
    with pytest.raises(
        serving.NotStreamed, match=r"its 3 chunks arrived all at once, after 0\.7 s: .* proxy_buffering off"
    ):
        serving.streams(stream(0.7, 0.7, 0.7))


def test_a_plan_requests_each_health_url_once_a_clouds_too_and_reports_what_is_wrong(
    engine, topology, monkeypatch
):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    found = topology(engine, health=f"http://127.0.0.1:{engine.port}/health?model=m")
    cloud = found.tiers[1].model_copy(update={"health": f"http://127.0.0.1:{engine.port}/nowhere"})
    lines = inspection.serving_now(found.model_copy(update={"tiers": [found.tiers[0], cloud]})).splitlines()
    assert "  vllm: health url answers" in lines
    (wrong,) = [line for line in lines if line.startswith("  openai")]
    assert wrong.startswith(
        f"  openai: NOT WELL: its health url http://127.0.0.1:{engine.port}/nowhere answers 404: set a page"
    )
    keyed = cloud.model_copy(update={"api_key": "NO_SUCH_KEY"})
    assert "NO_SUCH_KEY is not set" in inspection.serving_now(found.model_copy(update={"tiers": [keyed]}))


def _settled(line: str) -> str:
    """A busy machine reads all chunks of a quick stand-in at once."""
    return line.strip().replace(": answers", ": streams").replace(", answers", ", streams")


def stack(gateway, model="m", **tiers) -> Topology:
    """tier → its match, and whether it is a cloud; none has a url."""
    made = [{"name": name, "match": match, "cloud": name == "openai"} for name, match in tiers.items()]
    return Topology.model_validate({"gateway": {"url": gateway.url, "model": model}, "tiers": made})


WELL = Group("m", LOCAL)
EITHER = "the model ends early now and then, or an answer was cut; only if it is the model"
SEEN = [
    # the gateway's groups, what it lists (or the status of its list), its model, the tiers' matches, the lines
    pytest.param(
        {"openai/gpt-4o": Group("openai/gpt-4o", CLOUD)}, ["a", "b"], "openai/gpt-4o", {"openai": {"group": "openai/gpt-4o"}},
        ["gateway: streams for openai/gpt-4o, which it does not list, answered by openai"],
        id="a wildcard group"),
    pytest.param(
        {"secret": Group("secret", LOCAL)}, ["m"], "secret", {"vllm": {"group": "secret"}},
        ["gateway: streams for secret, which it does not list, answered by vllm"],
        id="a hidden alias"),
    pytest.param(
        {"secret": Group("secret", LOCAL)}, ["m"], "secret", {"vllm": {"group": "m"}},
        ["gateway: streams for secret, which it does not list",
         "gateway: NOT WELL: it answers, but no tier matches its group 'secret', api_base 'http://vllm:8000/v1': no group 'secret'; "
         'there is m; tiers: vllm (group m); add match: {group: "secret"} to the tier that answered'],
        id="an alias reports itself, not its target"),
    pytest.param(
        {"m": Group("m", "http://other:8000/v1")}, ["m"], "m", {"a": {"group": "m", "api_base": LOCAL}, "b": {"group": "m", "api_base": CLOUD}},
        ["gateway: lists m, streams",
         "gateway: NOT WELL: it answers, but no tier matches its group 'm', api_base 'http://other:8000/v1': no api_base 'http://other:8000/v1'; "
         f"did you mean {LOCAL!r}?; tiers: a (group m, api_base {LOCAL}), b (group m, api_base {CLOUD}); "
         'add match: {group: "m", api_base: "http://other:8000/v1"} to the tier that answered'],
        id="a deployment that no tier is"),
    pytest.param(
        {"m": Group()}, ["m"], "m", {"vllm": {"group": "m"}},
        ["gateway: lists m, streams",
         "gateway: NOT WELL: it answers, but without x-litellm-model-group or x-litellm-model-api-base: the serving tier is unknown; "
         "is it a LiteLLM proxy, and does everything in front of it pass headers on?"],
        id="no headers"),
    pytest.param(
        {"m": Group("o", "http://o")}, ["m", "o"], "m", {"vllm": {"group": "m"}, "ollama": {"group": "o"}},
        ["gateway: lists m, streams", "gateway: NOT WELL: answered by ollama instead of the higher-ranked vllm: is that in cooldown, or unreachable?"],
        id="a lower tier answers"),
    pytest.param(
        {"m": WELL, "o": Group("o", "http://o")}, ["m", "o"], "m", {"vllm": {"group": "m"}, "ollama": {"group": "o"}},
        ["gateway: lists m, streams, answered by vllm, group o answered by ollama"],
        id="the group that it falls back to"),
    pytest.param(
        {"m": WELL}, ["m", "ollama-qwen"], "m", {"vllm": {"group": "m"}, "ollama": {"group": "olama-qwen"}},
        ["gateway: lists m, streams, answered by vllm",
         "gateway: NOT WELL: no answer for group olama-qwen of ollama: a streamed request was not answered: 400: no healthy deployments; "
         "match must name a model_name of the gateway (m, ollama-qwen)"],
        id="a match that nothing answers to"),
    pytest.param(
        {"m": WELL, "o": Group(status=401, error="key not allowed to access model")}, ["m"], "m", {"vllm": {"group": "m"}, "ollama": {"group": "o"}},
        ["gateway: lists m, streams, answered by vllm, this key may not request group o of ollama: its match is not checked"],
        id="a key for some models alone"),
    pytest.param(
        {"m": WELL}, ["m"], "m", {"vllm": {"group": "m"}, "openai": {"group": "c"}},
        ["gateway: lists m, streams, answered by vllm, group c of openai is not listed, and a cloud tier gets no request: its match is not checked"],
        id="a cloud gets no request"),
    pytest.param(
        {"m": WELL}, 404, "m", {"vllm": {"group": "m"}}, ["gateway: streams for m, which it does not list, answered by vllm"], id="no list of models"),
    pytest.param(
        {"m": Group(status=401, error="Authentication Error, no key. Received API Key = sk-..abcd")}, 401, "m", {"vllm": {"group": "m"}},
        ["gateway: NOT WELL: 127.0.0.1:PORT does not list its models: /v1/models returned 401",
         "gateway: NOT WELL: a streamed request was not answered: 401: Authentication Error, no key: check its api_key, and whether that key may request this model"],
        id="a wrong key"),
    pytest.param(
        {"m": Group(status=400, error="No connected db.")}, 400, "m", {"vllm": {"group": "m"}},
        ["gateway: NOT WELL: 127.0.0.1:PORT does not list its models: /v1/models returned 400",
         "gateway: NOT WELL: a streamed request was not answered: 400: No connected db.: check its api_key, and whether that key may request this model"],
        id="a wrong key, and no database"),
    pytest.param(
        {"m": Group("m", LOCAL, tokens=5, finish="stop")}, ["m"], "m", {"vllm": {"group": "m"}},
        ["gateway: lists m, answered by vllm",
         "gateway: NOT WELL: 2 of 2 answers ended before the cap (finish_reason stop at 5 of 32 tokens): if the model ends early by "
         f"itself, {NONE}"],
        id="two answers that ended early"),
    pytest.param(
        {"m": Group("m", LOCAL, tokens=5, finish="stop", then=WELL)}, ["m"], "m", {"vllm": {"group": "m"}},
        ["gateway: lists m, answered by vllm",
         f"gateway: NOT WELL: 1 of 2 answers ended before the cap (finish_reason stop at 5 of 32 tokens): {EITHER}, {NONE}"],
        id="one of two answers ended early"),
    pytest.param(
        {"m": Group("m", LOCAL, tokens=5, finish="stop", then=Group("o", "http://o"))}, ["m"], "m", {"vllm": {"group": "m"}, "ollama": {"group": "o"}},
        ["gateway: lists m, answered by vllm",
         f"gateway: NOT WELL: 1 of 1 answers ended before the cap (finish_reason stop at 5 of 32 tokens): {EITHER}, {NONE}",
         "gateway: NOT WELL: no answer for group o of ollama: a streamed request was not answered: 400: no healthy deployments; "
         "match must name a model_name of the gateway (m)"],
        id="one ended early, and another tier answered the next"),
    pytest.param(
        {"m": WELL, "o": Group("o", "http://o", tokens=7, finish="stop")}, ["m", "o"], "m", {"vllm": {"group": "m"}, "ollama": {"group": "o"}},
        ["gateway: lists m, streams, answered by vllm, group o answered by ollama",
         "gateway: NOT WELL: group o: 2 of 2 answers ended before the cap (finish_reason stop at 7 of 32 tokens): if the model ends early by "
         f"itself, {NONE.replace('vllm', 'ollama')}"],
        id="the group that it falls back to ends early"),
    pytest.param(
        {"m": Group("m", LOCAL, tokens=5, finish="eos_token")}, ["m"], "m", {"vllm": {"group": "m"}},
        ["gateway: lists m, answered by vllm",
         "gateway: NOT WELL: 2 of 2 answers ended before the cap (finish_reason eos_token at 5 of 32 tokens): if the model ends early by "
         f"itself, {NONE}"],
        id="an early end by another word"),
    pytest.param(
        {"m": Group("m", LOCAL, tokens=5, finish="abort")}, ["m"], "m", {"vllm": {"group": "m"}},
        ["gateway: lists m, answered by vllm", "gateway: NOT WELL: the answer to a streamed request was cut: finish_reason abort"],
        id="an aborted answer"),
    pytest.param(
        {"m": Group("m", LOCAL, tokens=0, finish="stop")}, ["m"], "m", {"vllm": {"group": "m"}},
        ["gateway: lists m, answered by vllm",
         "gateway: NOT WELL: a streamed request got no token: no content: finish_reason stop at 0 tokens"],
        id="an end before the first token, which witness none would not make whole"),
    pytest.param(
        {"m": Group("m", LOCAL, tokens=5, finish=None)}, ["m"], "m", {"vllm": {"group": "m"}},
        ["gateway: lists m, answered by vllm", "gateway: NOT WELL: the answer to a streamed request was cut: no finish_reason"],
        id="an answer without its end"),
    pytest.param(
        {"m": Group("m", LOCAL, tokens=0, finish="content_filter")}, ["m"], "m", {"vllm": {"group": "m"}},
        ["gateway: lists m, answered by vllm", "gateway: NOT WELL: the answer to a streamed request was filtered: finish_reason content_filter"],
        id="a filtered answer"),
]  # fmt: skip


@pytest.mark.parametrize(("groups", "listed", "model", "tiers", "expected"), SEEN)
def test_the_report_of_a_gateway_names_the_tier_and_nothing_is_both_well_and_not(
    groups, listed, model, tiers, expected
):
    page, status = ((), listed) if isinstance(listed, int) else (listed, 200)
    with Gateway(groups, page, status) as gateway:
        lines = [
            _settled(line).replace(gateway.url.rpartition(":")[2], "PORT")
            for line in report(stack(gateway, model, **tiers))
        ]
    assert lines == expected


def test_the_second_deployment_of_a_group_with_an_order_gets_no_request(gateway):
    matches = {
        "vllm": {"group": "m", "api_base": LOCAL, "order": 1},
        "openai": {"group": "m", "api_base": CLOUD, "order": 2},
    }
    (line,) = report(stack(gateway, **matches))
    assert _settled(line) == "gateway: lists m, streams, answered by vllm"
    assert gateway.requested == ["m"]


def test_no_two_plans_send_the_same_prompt_which_a_cache_would_answer(gateway):
    sent = []
    for _ in range(2):
        serving.look(stack(gateway, vllm={"group": "m"}))
        sent.append(gateway.prompts[-1])
    assert sent[0] != sent[1]
