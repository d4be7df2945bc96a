"""node_drain: evictions that a disruption budget delays, or that fail, do not delay other Pods."""

import pytest
import urllib3

from chaos.errors import NotYet
from chaos.faults import node_drain
from chaos.kube.answers import refusal, request_info
from tests.chaos.draining import drain, is_cordoned, two_pods
from tests.chaos.small import Small, effective, restored, sleepers
from tests.embedded.recorded.stand import until

BUDGETS = "/apis/policy/v1/namespaces/ml/poddisruptionbudgets"


@pytest.fixture
def small(tmp_path):
    with two_pods(tmp_path) as made:
        yield made


def budget(small: Small) -> None:
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "engine"}}}
    meta = {"name": "both", "namespace": "ml"}
    small.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec})


def test_a_disruption_budget_delays_it_and_is_named(small):
    budget(small)
    before = small.uids()
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    with pytest.raises(
        NotYet, match=r"ml/engine-.*: Cannot evict pod as it would violate the pod's disruption budget"
    ):
        fault.effective(state)
    assert small.uids() == before
    small.delete(f"{BUDGETS}/both")
    effective(fault, state)


def test_what_a_budget_kept_is_restored_like_any_other(small):
    budget(small)
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    fault.restore(state)
    restored(fault, state)
    assert not is_cordoned(small)


def another_budget(small: Small, name: str, of: str) -> None:
    spec = {"minAvailable": 0, "selector": {"matchLabels": {"app": of}}}
    meta = {"name": name, "namespace": "ml"}
    small.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec})


def test_a_pod_with_two_budgets_keeps_no_other_pod_and_is_named(small):
    small.apply(sleepers("store", replicas=2))
    small.up("store")
    another_budget(small, "one", "engine")
    another_budget(small, "two", "engine")
    kept = small.uids()
    fault = drain(small)
    state = fault.snapshot()
    fault.inject(state)
    until(lambda: all("nodeName" not in p["spec"] for p in small.pods("store")), "the others are evicted")
    with pytest.raises(NotYet) as seen:
        fault.effective(state)
    assert str(seen.value).count("This pod has more than one PodDisruptionBudget") == 2
    assert str(seen.value).count("ml/engine-") == 2
    assert small.uids() == kept
    small.delete(f"{BUDGETS}/two")
    effective(fault, state)


class Refusing:
    """Answers two evictions of the first Pod this way, and passes all others."""

    def __init__(self, small: Small, answer) -> None:
        self.really, self.answer = small.admin._wire.post, answer
        self.first, self.left = "", 2

    def __call__(self, path, body):
        assert path.endswith("/eviction")
        self.first = self.first or path
        if path != self.first or not self.left:
            return self.really(path, body)
        self.left -= 1
        return self.answer()


def raising(error: Exception):
    def raised():
        raise error

    return raised


def answered(status: int, body: str) -> Exception:
    """As the wire raises it."""
    return refusal(
        request_info("POST", "/api/v1/namespaces/ml/pods/engine-1/eviction"), status, {}, body.encode()
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (raising(answered(500, '{"kind": "Status", "message": "more than one"}')), "more than one"),
        (raising(answered(403, '{"kind": "Status", "message": "not yours"}')), "not yours"),
        (raising(answered(404, "404 page not found")), "404, not a Status"),
        (raising(urllib3.exceptions.ReadTimeoutError(None, "/", "too slow")), "ReadTimeoutError"),
    ],
    ids=["500", "403", "a page in between", "no answer in time"],
)
def test_an_eviction_that_fails_is_collected_and_the_others_are_made(small, monkeypatch, answer, words):
    fault = drain(small)
    state = fault.snapshot()
    monkeypatch.setattr(small.admin._wire, "post", Refusing(small, answer))
    fault.inject(state)
    with pytest.raises(NotYet, match=f"^ml/engine-[^;]*{words}[^;]*$"):
        fault.effective(state)
    effective(fault, state)


def test_a_drain_does_not_wait_for_an_eviction_of_each_pod_where_nothing_answers(small, monkeypatch):
    fault = drain(small)
    state = fault.snapshot()
    tried = []

    def away(*_, **__):
        tried.append(1)
        raise urllib3.exceptions.ConnectTimeoutError(None, "away")

    monkeypatch.setattr(small.admin._wire, "post", away)
    with pytest.raises(urllib3.exceptions.HTTPError):
        fault.effective(state)
    assert len(tried) == node_drain.UNANSWERED
