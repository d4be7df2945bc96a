"""Three local tiers, the last of them a real llama.cpp: it serves while both above it are gone, and no longer."""

import signal

import pytest

from tests.chaos.stand import until
from tests.whole.client import ClientProcess
from tests.whole.real import Real

pytestmark = pytest.mark.verify  # a gateway of its own: half a minute until it is up


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    found = Real(tmp_path_factory.mktemp("chain"), "topologies/llamacpp_chain.yaml")
    yield found
    found.close()


def records(chain, **more):
    return ClientProcess(
        chain.path, [{"stream": s, "max_tokens": 20, **more} for s in (True, False)]
    ).records()


def served(chain):
    return {(r["outcome"], r["tier"]) for r in records(chain)}


def gone(chain, name):
    chain.scale(name, 0)
    until(lambda: not chain.cluster.pods("ml", {"matchLabels": {"app": name}}), f"{name} has gone", 60)


@pytest.mark.shows(
    "llamacpp",
    "make soak TOPOLOGY=topologies/llamacpp_chain.yaml TIMELINE=chaos/timelines/cpu_tiers.yaml",
    on="real engine + real LiteLLM",
)
@pytest.mark.timeout(400)
def test_llamacpp_carries_all_when_both_tiers_above_it_have_gone_and_each_takes_over_again(chain):
    until(lambda: served(chain) == {("ok", "vllm")}, "vllm serves", 60)
    gone(chain, "vllm-server")
    until(lambda: served(chain) == {("ok", "ollama")}, "ollama serves", 60)
    gone(chain, "ollama")
    for record in records(chain, repeat=5):
        assert (record["outcome"], record["tier"], record["witness"]) == ("ok", "llamacpp", "end")
    chain.scale("ollama", 1)
    until(lambda: served(chain) == {("ok", "ollama")}, "ollama serves again", 90)
    chain.scale("vllm-server", 1)
    until(lambda: served(chain) == {("ok", "vllm")}, "vllm serves again", 120)


@pytest.mark.timeout(400)
def test_terminated_its_answers_end_a_ping_later_and_not_half_a_minute_later(chain):
    """The chain's llama.cpp pings its clients once a second, so it detects within a second that it must end."""
    until(lambda: "ok" in chain.page("/health"), "it is up", 60)
    client = ClientProcess(
        chain.path, [{"via": "llamacpp", "stream": True, "max_tokens": 6000}], deadlines={"silence": 20}
    )
    until(chain.answering, "it answers")
    chain.signal(signal.SIGTERM)
    (record,) = client.records()
    assert (record["outcome"], record["error"]) == ("cut", "connection closed")
