"""What a run gives to its users."""

import pytest

from contract.refusal import Refusal
from contract.topology import Topology
from scenarios.gateway.user_context import endpoints
from tests.scenarios.user_contexts import user_context

URL = "http://127.0.0.1:1"


def test_request_ids_are_unique_and_led_by_the_run():
    s = user_context(URL)
    assert [s.next_request_id() for _ in range(3)] == [
        "req-3f9c01-000001",
        "req-3f9c01-000002",
        "req-3f9c01-000003",
    ]
    assert s.next_pair_id() == "pair-3f9c01-000001"


def test_every_user_draws_its_own_and_the_same_run_draws_the_same_again():
    def drawn():
        s = user_context(URL)
        return [s.random_of_next(scenario).random() for scenario in ("chat", "chat", "direct")]

    assert drawn() == drawn()
    assert len(set(drawn())) == 3


def test_only_tiers_with_a_url_get_direct_requests_and_never_a_cloud_tier():
    s = user_context(URL, ollama=URL)
    assert [t.name for t in s.direct_tiers()] == ["ollama"]
    assert s.tiers["vllm"] is None
    assert s.tiers["openai"] is None


def test_keys_come_from_the_environment(monkeypatch):
    topology = Topology.model_validate(
        {
            "gateway": {"url": URL, "model": "a", "api_key": "${TEST_GATEWAY_KEY}"},
            "tiers": [{"name": "vllm", "match": {"group": "a"}}],
        }
    )
    with pytest.raises(Refusal, match="TEST_GATEWAY_KEY is not set"):
        endpoints(topology)
    monkeypatch.setenv("TEST_GATEWAY_KEY", "sk-x")
    assert endpoints(topology)[0].headers == {"Authorization": "Bearer sk-x"}
