"""A document classifier's asks through a real LiteLLM: an object is its own witness, also where the gateway calls half
of one whole.
"""

import json
import urllib.request
from contextlib import contextmanager

import pytest

from tests.whole.asking import Asking

ASKS = 20
DOCUMENT = "Invoice of the water works. The house on the hill, the year before."


def _asks(via="gateway", **more):
    return [{"classify": True, "prompt": DOCUMENT, "via": via, "repeat": ASKS} | more]


@contextmanager
def cut(stack, tier):
    fault = {"fault": "cut", "how": "clean_end", "after_tokens": 6, "for_s": 60, "id": "classify"}
    url = f"{stack.url(tier)}/faults"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(fault).encode(), method="PUT")).close()
    try:
        yield
    finally:
        urllib.request.urlopen(urllib.request.Request(f"{url}?id=classify", method="DELETE")).close()


@pytest.mark.verify
@pytest.mark.parametrize(
    ("model", "tier"), [(None, "vllm"), ("ollama-qwen", "ollama"), ("openai-gpt4o", "openai")]
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_object_through_the_gateway_is_whole_by_its_content(stack, model, tier, stream):
    records = Asking(stack.path, _asks(model=model, stream=stream), at_once=4).records()
    seen = {(r["outcome"], r["error"], r["witness"], r["tier"], r["finish_reason"]) for r in records}
    assert seen == {("ok", None, "content", tier, "stop")}


@pytest.mark.verify
@pytest.mark.parametrize(("model", "tier"), [(None, "vllm"), ("ollama-qwen", "ollama")])
def test_half_an_object_is_a_cut_though_the_gateway_calls_it_whole(stack, model, tier):
    with cut(stack, tier):
        records = Asking(stack.path, _asks(model=model), at_once=4).records()
    assert {(r["outcome"], r["status"], r["finish_reason"], r["tier"]) for r in records} == {
        ("cut", 200, "stop", tier)
    }
    assert all("the content is not a JSON object with " in r["error"] for r in records)
