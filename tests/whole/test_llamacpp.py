"""A real engine behind a real gateway: how LiteLLM changes the answers of a llama.cpp."""

import signal

import pytest

from tests.chaos.stand import until
from tests.whole.client import ClientProcess
from tests.whole.real import Real

pytestmark = pytest.mark.verify  # a gateway of its own: half a minute until it is up

GROUP = "llamacpp-random"
LONG = 12_000  # tokens: seconds of answer
IMPATIENT = {"silence": 2}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    found = Real(tmp_path_factory.mktemp("real"), "topologies/llamacpp.yaml")
    yield found
    found.close()


@pytest.fixture
def real(shared):
    until(shared.up, "llama.cpp is up", 60)
    # The first answer of a gateway takes seconds, and a gateway that has cooled its tier refuses it for a while.
    until(
        lambda: (
            ClientProcess(shared.path, [{"stream": True, "model": GROUP}]).records()[0]["tier"] == "llamacpp"
        ),
        "it gets requests",
        60,
    )
    return shared


def long_answer(real, **more):
    record = {"stream": True, "max_tokens": LONG // 2, "model": GROUP}
    client = ClientProcess(real.path, [record], **more)
    until(real.answering, "it answers")
    return client


@pytest.mark.parametrize("stream", [True, False])
def test_its_answers_are_ok_and_known_as_its_own(real, stream):
    (record,) = ClientProcess(real.path, [{"stream": stream, "model": GROUP, "max_tokens": 50}]).records()
    assert (record["outcome"], record["tier"], record["witness"]) == ("ok", "llamacpp", "end")
    assert (record["route_group"], record["output_tokens"], record["route_fallbacks"]) == (GROUP, 50, 0)


@pytest.mark.shows(
    "llamacpp",
    "make soak TOPOLOGY=topologies/llamacpp.yaml TIMELINE=chaos/timelines/llamacpp.yaml",
    on="real engine + real LiteLLM",
)
def test_it_serves_when_the_tier_above_it_has_gone(real):
    real.scale("vllm-server", 0)
    try:
        until(lambda: not real.cluster.pods("ml", {"matchLabels": {"app": "vllm-server"}}), "vllm has gone")
        for record in ClientProcess(real.path, [{"stream": s, "repeat": 2} for s in (True, False)]).records():
            assert (record["outcome"], record["tier"], record["witness"]) == ("ok", "llamacpp", "end")
    finally:
        real.scale("vllm-server", 1)


def test_killed_in_mid_stream_it_is_cut(real):
    client = long_answer(real)
    real.signal(signal.SIGKILL)
    (record,) = client.records()
    assert (record["outcome"], record["status"], record["tier"]) == ("cut", 200, "llamacpp")
    until(real.up, "its Pod has started it again")


def test_terminated_in_mid_stream_its_answer_is_not_reported_as_whole(real):
    client = long_answer(real, deadlines=IMPATIENT)
    real.signal(signal.SIGTERM)
    (record,) = client.records()
    assert (record["outcome"], record["status"], record["tier"]) in (
        ("stalled", 200, "llamacpp"),
        ("cut", 200, "llamacpp"),
    )


def test_a_prompt_too_long_for_it_goes_on_to_the_next_tier_and_costs_money_there(real):
    record = {"stream": True, "model": GROUP, "prompt": "through " * 12_000}
    (record,) = ClientProcess(real.path, [record]).records()
    assert (record["outcome"], record["tier"], record["route_fallbacks"]) == ("ok", "openai", 1)
