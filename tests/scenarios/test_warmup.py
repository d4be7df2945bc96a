"""Every way through the stack is woken, and a topology that the answers belie is refused in words."""

import json

import pytest

from contract.records import RequestRecord
from contract.refusal import Refusal
from contract.topology import Topology
from scenarios.gateway.warmup import ended_early, preflight, unhealthy, warm_up, ways
from tests.contract.exchanges import ROLE, chunked, finish, head, plain, token, usage
from tests.ports import held_port
from tests.scenarios.server import Server
from tests.scenarios.stages import kept, stage, topology

URL = "http://127.0.0.1:1"
ANSWER = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: a") + chunked(
    token(), finish("length")
)


def test_every_group_and_every_engine_is_asked_both_ways_and_the_cloud_never():
    with Server([ANSWER]) as gateway, Server([ANSWER]) as engine:
        s = stage(gateway.url, vllm=engine.url)
        requests = warm_up(s)
        bodies = [json.loads(r.partition(b"\r\n\r\n")[2]) for r in gateway.requests]
    assert [(b["model"], b["stream"]) for b in bodies] == [
        ("a", True),
        ("a", False),
        ("b", True),
        ("b", False),
    ]
    assert [(a.via, a.stream) for a in requests[4:]] == [("vllm", True), ("vllm", False)]
    assert {a.lane for a in requests} == {"warmup"}
    assert {a.request_id for a in kept(s)} == {a.request_id for a in requests}
    assert len(gateway.connections) == 2, "one for each group: the groups are woken side by side"
    preflight(requests, s.topology)


VERSIONS = [
    # of two answers of the gateway each: what the header says, what is known then
    (["x-litellm-version: 1.108.7"], {"1.108.7": 4}), ([], {}), (["x-litellm-version: <script>"], {}),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "versions"), VERSIONS)
def test_the_warm_up_knows_the_gateways_version_from_its_answers_and_no_engines(headers, versions):
    named = ANSWER.replace(b"\r\n\r\n", "".join(f"\r\n{h}" for h in headers).encode() + b"\r\n\r\n", 1)
    with Server([named]) as gateway, Server([named]) as engine:
        s = stage(gateway.url, vllm=engine.url)
        warm_up(s)
    assert s.recorder.tally.snapshot().by_version == versions


def test_a_tier_without_a_url_or_a_group_is_not_woken():
    assert ways(stage(URL)) == [("gateway", None), ("gateway", "b")]


def test_a_reasoning_model_that_shows_no_token_of_its_two_is_awake():
    unseen = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: a") + chunked(
        ROLE, finish("length"), usage(2)
    )
    with Server([unseen]) as gateway:
        s = stage(gateway.url)
        requests = warm_up(s)
        assert {(a.outcome, a.ttft_ms, a.max_tokens) for a in requests} == {("ok", None, 2)}
        preflight(requests, s.topology)


def test_a_gateway_that_refuses_the_cap_is_refused_with_the_word_that_helps():
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    with Server([plain({"error": {"message": said}}, "400 Bad Request")]) as gateway:
        s = stage(gateway.url)
        with pytest.raises(
            Refusal,
            match=r"instead\.; set max_tokens_field: max_completion_tokens \(in the section gateway\)",
        ):
            preflight(warm_up(s), s.topology)


def test_a_gateway_that_does_not_answer_is_refused_without_asking_on():
    s = stage(f"http://127.0.0.1:{held_port()}", vllm=URL)
    requests = warm_up(s)
    assert len(requests) == 2
    with pytest.raises(
        Refusal, match=r"gateway: http://127.0.0.1:\d+ gives no answer; refused: ConnectionRefused"
    ):
        preflight(requests, s.topology)


def _answer(**given) -> RequestRecord:
    return RequestRecord(
        "req-1", "warmup", "warmup", "gateway", True, 0.0, **({"status": 200, "ttft_ms": 1.0} | given)
    )


TIERS = "tiers: vllm (group a), ollama (group b), openai (group c)"
REFUSED = [
    # what was recorded, what is said
    ([], f"gateway: {URL} gives no answer; it was not asked"),
    ([_answer(status=401, ttft_ms=None, outcome="rejected", error="401: no key")],
     f"gateway: {URL} gives no answer; rejected: 401: no key"),
    ([_answer()], f"gateway: {URL} answers, but without x-litellm-model-group or x-litellm-model-api-base: the serving "
     "tier is unknown; is it a LiteLLM proxy, and does everything in front of it pass headers on?"),
    ([_answer(route_group="z", route_api_base="http://x")], f"gateway: {URL} answers, but no tier matches its group "
     f"'z', api_base 'http://x': no group 'z'; there is a, b, c; {TIERS}"),
    ([_answer(tier="vllm", route_group="a"), _answer(route_group="aa")], f"gateway: {URL} answers, but no tier "
     f"matches its group 'aa', api_base None: no group 'aa'; did you mean 'a'?; {TIERS}"),
]  # fmt: skip


@pytest.mark.parametrize(("requests", "words"), REFUSED)
def test_preflight_says_what_came_and_what_would_be_right(requests, words):
    with pytest.raises(Refusal) as refusal:
        preflight(requests, topology(URL))
    assert str(refusal.value) == words


def test_a_topology_that_matches_by_api_base_is_told_of_api_bases():
    found = Topology.model_validate(
        {
            "gateway": {"url": URL, "model": "a"},
            "tiers": [{"name": "vllm", "match": {"api_base": "http://10.0.0.1:8000/v1"}}],
        }
    )
    with pytest.raises(
        Refusal, match=r"no api_base 'http://10.0.0.1:8001/v1'; did you mean 'http://10.0.0.1:8000/v1'"
    ):
        preflight([_answer(route_group="a", route_api_base="http://10.0.0.1:8001/v1")], found)


def test_an_answer_that_was_cut_is_an_answer():
    preflight([_answer(outcome="cut", tier="vllm")], topology(URL))


def test_each_health_url_is_asked_once_and_what_is_wrong_is_said():
    with (
        Server([head("401 Unauthorized", "content-length: 0")]) as closed,
        Server([head("200 OK", "content-length: 0")]) as well,
    ):
        found = topology(URL)
        tiers = [
            found.tiers[0].model_copy(update={"health": f"{closed.url}/health?model=a"}),
            found.tiers[1].model_copy(update={"health": f"{well.url}/health"}),
        ]
        (said,) = unhealthy(found.model_copy(update={"tiers": tiers}))
    assert said.startswith(
        f"{found.tiers[0].name}: its health url {closed.url}/health answers 401: set api_key: ${{NAME}}"
    )
    assert [len(server.requests) for server in (closed, well)] == [1, 1]
    assert closed.requests[0].startswith(b"GET /health?model=a HTTP/1.1")


EARLY = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: a") + chunked(
    token(), finish("stop"), usage(1)
)
WARM = [
    # what the gateway and the engine answer, which ways are named
    (ANSWER, ANSWER, []), (EARLY, ANSWER, ["gateway"]), (EARLY, EARLY, ["gateway", "vllm"]),
]  # fmt: skip


@pytest.mark.parametrize(("through", "direct", "named"), WARM)
def test_a_warm_up_reports_answers_that_ended_early_as_a_plan_does(through, direct, named):
    with Server([through]) as gateway, Server([direct]) as engine:
        s = stage(gateway.url, vllm=engine.url)
        said = ended_early(warm_up(s), s.topology)
    assert [line.partition(":")[0] for line in said] == named
    assert all("answers ended before the cap (finish_reason stop at 1 of 2 tokens)" in line for line in said)
    assert all(line.endswith("a cut of its answers is no longer detected") for line in said)


def test_where_the_topology_says_witness_none_a_warm_up_reports_no_early_end():
    with Server([EARLY]) as gateway:
        s = stage(gateway.url)
        tiers = [tier.model_copy(update={"witness": "none"}) for tier in s.topology.tiers]
        s.topology = s.topology.model_copy(update={"tiers": tiers})
        assert ended_early(warm_up(s), s.topology) == []
