"""A document classifier's requests through a real LiteLLM: every document is recognised behind it, an object is its own
witness, even where the gateway reports half of one as whole, and the engines' stated accuracy is measured.
"""

import json
import urllib.request
from contextlib import contextmanager

import pytest
import yaml

from contract.document import read, wrong_fields
from contract.run import read_arrow
from contract.schemas import REQUESTS
from embedded.engine.classifier import Classifier
from tests.chaos.stand import ROOT
from tests.whole.client import ClientProcess
from tests.whole.stack import SHORT, latest, locust

CORPUS = read(ROOT / "scenarios/documents")
ENGINES = yaml.safe_load((ROOT / "topologies/embedded.yaml").read_text())["embedded"]["engines"]
TIERS = [(None, "vllm"), ("ollama-qwen", "ollama"), ("openai-gpt4o", "openai")]


def _requests(documents, **more):
    return [{"document": document.id, "via": "gateway"} | more for document in documents]


@contextmanager
def cut(stack, tier):
    fault = {"fault": "cut", "how": "clean_end", "after_tokens": 6, "for_s": 60, "id": "classify"}
    url = f"{stack.topology.tier(tier).handles.get('engine')}/faults"  # a cloud tier has no other url
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(fault).encode(), method="PUT")).close()
    try:
        yield
    finally:
        urllib.request.urlopen(urllib.request.Request(f"{url}?id=classify", method="DELETE")).close()


@pytest.mark.verify
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("model", "tier"), TIERS)
def test_each_tier_answers_with_exactly_the_accuracy_that_it_was_started_with(stack, model, tier):
    """Including the longest document, which the client truncates. On a busy machine the gateway may time out and use the
    next tier: these documents are sent again."""
    found, left = {}, CORPUS
    for _ in range(4):
        records = ClientProcess(stack.path, _requests(left, model=model), at_once=3).records(within_s=300)
        assert {
            (r["outcome"], r["error"], r["witness"], r["finish_reason"], r["valid"]) for r in records
        } == {("ok", None, "content", "stop", True)}
        found |= {r["document"]: r["wrong"] for r in records if r["tier"] == tier}
        left = [document for document in CORPUS if document.id not in found]
        if not left:
            break
        stack.calm()
    assert not left
    right = sum(wrong == [] for wrong in found.values())
    assert right == round(ENGINES[tier]["accuracy"] * len(CORPUS))


@pytest.mark.verify
@pytest.mark.parametrize(("model", "tier"), TIERS)
def test_a_streamed_object_through_the_gateway_is_whole_by_its_content(stack, model, tier):
    records = ClientProcess(stack.path, _requests(CORPUS[:6], model=model, stream=True), at_once=3).records()
    seen = {(r["outcome"], r["error"], r["witness"], r["tier"], r["valid"]) for r in records}
    assert seen == {("ok", None, "content", tier, True)}


@pytest.mark.verify
@pytest.mark.parametrize(("model", "tier"), TIERS)
def test_half_an_object_is_a_cut_though_the_gateway_calls_it_whole(stack, model, tier):
    with cut(stack, tier):
        records = ClientProcess(stack.path, _requests(CORPUS[:6], model=model), at_once=3).records()
    assert {(r["outcome"], r["status"], r["finish_reason"], r["tier"]) for r in records} == {
        ("cut", 200, "stop", tier)
    }
    assert {r["error"] for r in records} == {
        "finish_reason stop, and the content is not a JSON object that closes"
    }
    assert all(r["valid"] is None and r["wrong"] is None for r in records)


@pytest.mark.verify
def test_documents_are_known_again_behind_the_gateways_rendering_for_ollama(stack):
    longest = max(CORPUS, key=lambda document: len(document.text))
    documents = [longest, *CORPUS[:3]]
    records = ClientProcess(stack.path, _requests(documents, model="ollama-qwen"), at_once=2).records()
    assert {(r["outcome"], r["witness"], r["tier"], r["valid"]) for r in records} == {
        ("ok", "content", "ollama", True)
    }


CLASSIFIED = SHORT.replace("settle: 14s", "settle: 14s\nscenarios: [chat, classify]").replace(
    "expect:\n", "expect:\n  degraded: {id: NFR67, step: gaming-mode, to: ollama, max_drop: 0.9}\n"
)


@pytest.mark.shows("degraded", "make soak", on="embedded + real LiteLLM")
@pytest.mark.verify
@pytest.mark.timeout(600)
def test_a_run_whose_timeline_expects_it_reports_how_correctly_each_tier_classified(stack, tmp_path):
    (tmp_path / "short.yaml").write_text(CLASSIFIED)
    process = locust(stack.path, tmp_path / "short.yaml", tmp_path / "results", "--instances", "4", users=6)
    try:
        out, _ = process.communicate(timeout=500)
    finally:
        process.kill()
    run = latest(tmp_path / "results")
    records = [
        r for r in read_arrow(run / "requests.arrow", REQUESTS)[0].to_pylist() if r["document"] is not None
    ]
    classifiers = {
        tier.name: Classifier(CORPUS, 0, tier.model, ENGINES[tier.name]["accuracy"], 0.0)
        for tier in stack.topology.tiers
    }
    by_id = {document.id: document for document in CORPUS}
    answered = [r for r in records if r["outcome"] == "ok"]
    for r in answered:
        document = by_id[r["document"]]
        answer = json.loads("".join(classifiers[r["tier"]].tokens(document.text, None)))
        assert (r["valid"], r["wrong"]) == (True, wrong_fields(document, answer)), r
    both = [{r["document"] for r in answered if r["tier"] == tier} for tier in ("vllm", "ollama")]
    assert len(both[0] & both[1]) > 5
    found = json.loads((run / "report" / "verdict.json").read_text())
    (degraded,) = [f for f in found["findings"] if f["name"] == "degraded"]
    assert (degraded["id"], degraded["status"]) == ("NFR67", "pass"), out
    assert degraded["n"] > 5
