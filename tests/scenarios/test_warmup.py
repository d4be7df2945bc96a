"""Every route through the stack is warmed up, and a topology that contradicts the answers is refused."""

import json

import pytest

from contract.records import RequestRecord
from contract.refusal import Refusal
from contract.topology import Topology
from scenarios.gateway.warmup import ended_early, preflight, routes, unhealthy, warm_up
from tests.contract.exchanges import ROLE, chunked, finish, head, plain, token, usage
from tests.ports import held_port
from tests.scenarios.server import Server
from tests.scenarios.user_contexts import kept, topology, user_context

URL = "http://127.0.0.1:1"
ANSWER = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: a") + chunked(
    token(), finish("length")
)


def test_every_group_and_every_engine_gets_both_kinds_of_request_and_the_cloud_none():
    with Server([ANSWER]) as gateway, Server([ANSWER]) as engine:
        s = user_context(gateway.url, vllm=engine.url)
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
    assert len(gateway.connections) == 2, "one per group: the groups are warmed up in parallel"
    preflight(requests, s.topology)


VERSIONS = [
    # header of the gateway's answers; known versions
    (["x-litellm-version: 1.108.7"], {"1.108.7": 4}), ([], {}), (["x-litellm-version: <script>"], {}),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "versions"), VERSIONS)
def test_the_warm_up_knows_the_gateways_version_from_its_answers_and_no_engines(headers, versions):
    named = ANSWER.replace(b"\r\n\r\n", "".join(f"\r\n{h}" for h in headers).encode() + b"\r\n\r\n", 1)
    with Server([named]) as gateway, Server([named]) as engine:
        s = user_context(gateway.url, vllm=engine.url)
        warm_up(s)
    assert s.recorder.tally.snapshot().by_version == versions


def test_a_tier_without_a_url_or_a_group_is_not_warmed_up():
    assert routes(user_context(URL)) == [("gateway", None), ("gateway", "b")]


def test_a_reasoning_model_that_shows_no_token_of_its_two_is_awake():
    unseen = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: a") + chunked(
        ROLE, finish("length"), usage(2)
    )
    with Server([unseen]) as gateway:
        s = user_context(gateway.url)
        requests = warm_up(s)
        assert {(a.outcome, a.ttft_ms, a.max_tokens) for a in requests} == {("ok", None, 2)}
        preflight(requests, s.topology)


def test_a_gateway_that_refuses_the_cap_is_refused_with_the_setting_to_change():
    message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    with Server([plain({"error": {"message": message}}, "400 Bad Request")]) as gateway:
        s = user_context(gateway.url)
        with pytest.raises(
            Refusal,
            match=r"instead\.; set max_tokens_field: max_completion_tokens \(in the `gateway:` section\)",
        ):
            preflight(warm_up(s), s.topology)


def test_a_gateway_that_does_not_answer_is_refused_without_further_requests():
    s = user_context(f"http://127.0.0.1:{held_port()}", vllm=URL)
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
    # records, refusal
    ([], f"gateway: {URL} gives no answer; no request was sent"),
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
def test_preflight_reports_the_answer_and_the_correction(requests, words):
    with pytest.raises(Refusal) as refusal:
        preflight(requests, topology(URL))
    assert str(refusal.value) == words


def test_the_refusal_of_a_topology_that_matches_by_api_base_names_api_bases():
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


def test_each_health_url_gets_one_request_and_its_errors_are_reported():
    with (
        Server([head("401 Unauthorized", "content-length: 0")]) as closed,
        Server([head("200 OK", "content-length: 0")]) as well,
    ):
        found = topology(URL)
        tiers = [
            found.tiers[0].model_copy(update={"health": f"{closed.url}/health?model=a"}),
            found.tiers[1].model_copy(update={"health": f"{well.url}/health"}),
        ]
        (message,) = unhealthy(found.model_copy(update={"tiers": tiers}))
    assert message.startswith(
        f"{found.tiers[0].name}: its health url {closed.url}/health answers 401: set api_key: ${{NAME}}"
    )
    assert [len(server.requests) for server in (closed, well)] == [1, 1]
    assert closed.requests[0].startswith(b"GET /health?model=a HTTP/1.1")


EARLY = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: a") + chunked(
    token(), finish("stop"), usage(1)
)
WARM = [
    # answers of the gateway and of the engine; named routes
    (ANSWER, ANSWER, []), (EARLY, ANSWER, ["gateway"]), (EARLY, EARLY, ["gateway", "vllm"]),
]  # fmt: skip


@pytest.mark.parametrize(("through", "direct", "named"), WARM)
def test_a_warm_up_reports_answers_that_ended_early_as_a_plan_does(through, direct, named):
    with Server([through]) as gateway, Server([direct]) as engine:
        s = user_context(gateway.url, vllm=engine.url)
        message = ended_early(warm_up(s), s.topology)
    assert [line.partition(":")[0] for line in message] == named
    assert all(
        "answers ended before the cap (finish_reason stop at 1 of 2 tokens)" in line for line in message
    )
    assert all(line.endswith("a cut of its answers is no longer detected") for line in message)


def test_with_witness_none_in_the_topology_a_warm_up_reports_no_early_end():
    with Server([EARLY]) as gateway:
        s = user_context(gateway.url)
        tiers = [tier.model_copy(update={"witness": "none"}) for tier in s.topology.tiers]
        s.topology = s.topology.model_copy(update={"tiers": tiers})
        assert ended_early(warm_up(s), s.topology) == []
