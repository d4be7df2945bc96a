"""The gateway's configuration with the URLs of the embedded engines: which entry belongs to which tier."""

import pytest
import yaml

from contract import topology
from contract.refusal import Refusal
from embedded import gateway
from tests.chaos.stand import ROOT

URLS = {"vllm-a": "http://127.0.0.1:1", "vllm-b": "http://127.0.0.1:2", "vllm-c": "http://127.0.0.1:3", "ollama": "http://127.0.0.1:4"}  # fmt: skip
BALANCED = topology.read(ROOT / "topologies/balanced.yaml")


def configuration(folder, change=lambda entries: None):
    config = yaml.safe_load((ROOT / "topologies/litellm_balanced.yaml").read_text())
    change(config["model_list"])
    path = folder / "litellm.yaml"
    path.write_text(yaml.safe_dump(config))
    return gateway.configuration(path, BALANCED, URLS)["model_list"]


def test_each_deployment_of_a_group_gets_its_own_engine_in_any_order(tmp_path):
    placed = ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1", "http://127.0.0.1:3/v1", "http://127.0.0.1:4"]
    assert [e["litellm_params"]["api_base"] for e in configuration(tmp_path)] == placed
    turned = configuration(tmp_path, lambda entries: entries.reverse())
    assert [e["litellm_params"]["api_base"] for e in turned] == placed[::-1]


def test_an_entry_or_a_deployment_without_the_other_is_refused(tmp_path):
    def elsewhere(entries):
        entries[0]["litellm_params"]["api_base"] = "http://elsewhere/v1"

    with pytest.raises(
        Refusal, match=r"'vllm-qwen' with api_base 'http://elsewhere/v1' is not the group of an embedded tier"
    ):
        configuration(tmp_path, elsewhere)
    with pytest.raises(
        Refusal, match=r"has no entry for tier 'vllm-b' \(group vllm-qwen, api_base http://vllm-b"
    ):
        configuration(tmp_path, lambda entries: entries.pop(1))


def test_the_order_in_the_gateway_and_in_the_topology_must_be_equal(tmp_path):
    def ordered(entries):
        entries[0]["litellm_params"]["order"] = 1

    with pytest.raises(Refusal, match="has order 1, and tier 'vllm-a' has order None; give both the same"):
        configuration(tmp_path, ordered)


def test_an_order_of_the_only_deployment_of_a_group_has_no_effect(tmp_path):
    def ordered(entries):
        entries[-1]["litellm_params"]["order"] = 2

    assert configuration(tmp_path, ordered)[-1]["litellm_params"]["order"] == 2
