"""The sentence about answers that ended before their cap: counted, without claiming more than they show."""

import pytest

from contract import early_end
from contract.records import RequestRecord
from contract.topology import Topology

TOPOLOGY = Topology.model_validate(
    {
        "gateway": {"url": "http://127.0.0.1:1", "model": "a"},
        "tiers": [
            {"name": "vllm", "match": {"group": "a"}},
            {"name": "llamacpp", "match": {"group": "b"}, "ignore_eos": True},
        ],
    }
)
WORDS = "finish_reason stop at 1 of 2 tokens"


def answer(**given) -> RequestRecord:
    usual = {
        "status": 200,
        "outcome": "ok",
        "finish_reason": "length",
        "output_tokens": 2,
        "max_tokens": 2,
        "tier": "vllm",
    }
    return RequestRecord("r-1", "warmup", "warmup", given.pop("via", "gateway"), True, 0.0, **(usual | given))


def early(**given) -> RequestRecord:
    return answer(**{"outcome": "cut", "finish_reason": "stop", "output_tokens": 1, "error": WORDS} | given)


SENTENCES = [
    # the answers, the sentences without the advice
    ([], []),
    ([answer(), answer()], []),
    ([early(), early()], ["gateway: 2 of 2 answers ended before the cap (finish_reason stop at 1 of 2 tokens): if the model ends early by"]),
    ([early(), answer()], ["gateway: 1 of 2 answers ended before the cap (finish_reason stop at 1 of 2 tokens): the model ends early now and"]),
    ([early()], ["gateway: 1 of 1 answers ended before the cap (finish_reason stop at 1 of 2 tokens): the model ends early now and"]),
    # failed answers, and those cut for another reason, do not count
    ([early(), answer(outcome="rejected", status=429, finish_reason=None), early()], ["gateway: 2 of 2 answers"]),
    ([early(error="upstream error: gone")], []),
    ([early(finish_reason="abort", error="finish_reason abort")], []),
    ([answer(outcome="cut", finish_reason=None, error="no finish_reason")], []),
    # each way to each tier separately
    ([early(), answer(tier="llamacpp")], ["gateway: 1 of 1 answers"]),
    ([early(), early(), early(via="llamacpp", tier="llamacpp"), early(via="llamacpp", tier="llamacpp")],
     ["gateway: 2 of 2 answers", "llamacpp: 2 of 2 answers ended before the cap (finish_reason stop at 1 of 2 tokens), although ignore_eos was"]),
    # an end before the first token counts too, and with witness: none it is still not an answer
    ([early(), answer(outcome="broken", finish_reason="stop", output_tokens=1)],
     ["gateway: 1 of 2 answers ended before the cap (finish_reason stop at 1 of 2 tokens) and 1 before the first token, which is broken with any"]),
    ([answer(outcome="broken", finish_reason="stop", output_tokens=1)], []),
    # a server without usage
    ([early(output_tokens=None, error="finish_reason stop at no usage of 2 tokens")], ["gateway: 1 of 1 answers ended before the cap (finish_"]),
]  # fmt: skip


@pytest.mark.parametrize(("requests", "sentences"), SENTENCES)
def test_early_ends_are_counted_for_each_way_to_each_tier(requests, sentences):
    found_sentences = early_end.by_tier(requests, TOPOLOGY)
    assert len(found_sentences) == len(sentences)
    for found, begins in zip(found_sentences, sentences, strict=True):
        assert found.startswith(begins)
        assert "write witness: none in tier " in found


def test_an_answer_that_no_tier_matches_is_the_gateways():
    (found_sentences,) = early_end.by_tier([early(tier=None)], TOPOLOGY)
    assert "write witness: none in the `gateway:` section" in found_sentences
