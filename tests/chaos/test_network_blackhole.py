"""network_blackhole: which traffic is blocked, what would still allow it, and which policy is removed."""

import http.client
import threading

import pytest

from chaos.errors import CannotInject, Foreign
from chaos.fault import NoOptions
from chaos.faults import network_blackhole
from chaos.faults.network_blackhole import NetworkBlackhole
from chaos.kube.cluster import Cluster
from chaos.preflight import refused
from chaos.target import Handle
from embedded.apiserver.rights import Rule
from tests.chaos.small import Small, effective, engine, restored
from tests.chaos.stand import events
from tests.chaos.stand import until as holds
from tests.chaos.targets import on
from tests.embedded.recorded.stand import until

ENGINE = Handle("deployment", "ml/engine")
NAME = "brownout-deployment-engine"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/ml/networkpolicies"
DEPLOYMENT = "/apis/apps/v1/namespaces/ml/deployments/engine"
SELECTS_IT = {"matchLabels": {"app": "engine"}}


@pytest.fixture
def small(tmp_path):
    with Small(tmp_path, *engine()) as made:
        made.up("engine")
        until(lambda: made.admin.endpoints("ml"), "it is served")
        yield made


def blackhole(small: Small, handle: Handle = ENGINE) -> NetworkBlackhole:
    return NetworkBlackhole(small.admin, on(handle), NoOptions())


def policy(name: str, selector: dict, **spec) -> dict:
    meta = {"name": name, "namespace": "ml"}
    spec = {"podSelector": selector, "policyTypes": ["Ingress"], **spec}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


def answers(small: Small) -> bool:
    """Whether the Pod answers a new request."""
    port = small.pods("engine")[0]["spec"]["containers"][0]["ports"][0]["containerPort"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.3)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def policies(small: Small) -> list[str]:
    return [p["metadata"]["name"] for p in small.get(POLICIES)["items"]]


def test_the_pods_are_cut_off_and_let_in_again(small):
    fault = blackhole(small)
    state = fault.snapshot()
    assert state["original"] == {"replicas": 1, "ready": 1, "endpoints": 1}
    assert state["set"] == {"policy": NAME}
    fault.inject(state)
    assert effective(fault, state) == {"policy": NAME}
    until(lambda: not answers(small), "it does not answer")
    (made,) = small.get(POLICIES)["items"]
    assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "brownout"}
    assert made["spec"] == {"podSelector": SELECTS_IT, "policyTypes": ["Ingress"]}
    fault.restore(state)
    assert restored(fault, state) == {"ready": 1, "endpoints": 1}
    until(lambda: answers(small), "it answers")
    assert policies(small) == []


def test_expressions_of_the_selector_are_kept(tmp_path):
    selector = {
        "matchLabels": {"app": "engine"},
        "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["cpu"]}],
    }
    made, service = engine()
    made["spec"]["selector"] = selector
    with Small(tmp_path, made, service) as small:
        small.up("engine")
        fault = blackhole(small)
        state = fault.snapshot()
        fault.inject(state)
        assert small.get(POLICIES)["items"][0]["spec"]["podSelector"] == selector
        until(lambda: not answers(small), "it does not answer")


@pytest.mark.parametrize(
    ("other", "allows"),
    [
        (policy("lets-all-in", SELECTS_IT, ingress=[{}]), True),
        (policy("lets-one-in", SELECTS_IT, ingress=[{"from": [{"podSelector": {}}]}]), True),
        (policy("of-the-namespace", {}, ingress=[{}]), True),
        (
            policy(
                "by-expression", {"matchExpressions": [{"key": "app", "operator": "Exists"}]}, ingress=[{}]
            ),
            True,
        ),
        (policy("denies-too", SELECTS_IT), False),
        (policy("of-others", {"matchLabels": {"app": "other"}}, ingress=[{}]), False),
        (policy("of-what-goes-out", SELECTS_IT, policyTypes=["Egress"], egress=[{}]), False),
    ],
    ids=lambda v: v["metadata"]["name"] if isinstance(v, dict) else "",
)
def test_a_policy_that_allows_traffic_all_the_same_is_named(small, other, allows):
    small.apply(other)
    if not allows:
        assert blackhole(small).snapshot()
        return
    with pytest.raises(CannotInject, match=f"is still allowed by {other['metadata']['name']}"):
        blackhole(small).snapshot()


def test_one_that_lies_there_already_is_refused(small):
    small.apply(policy(NAME, {}))
    with pytest.raises(CannotInject, match=f"NetworkPolicy ml/{NAME} already exists"):
        blackhole(small).snapshot()


def test_a_target_without_pods_is_refused(small):
    small.scale(0)
    until(lambda: not small.pods("engine"), "they are gone")
    with pytest.raises(CannotInject, match="has no live Pods"):
        blackhole(small).snapshot()


def test_one_of_that_name_that_was_made_meanwhile_is_left_alone(small):
    fault = blackhole(small)
    state = fault.snapshot()
    small.apply(policy(NAME, {"matchLabels": {"app": "other"}}))
    with pytest.raises(CannotInject, match="was created by someone else"):
        fault.inject(state)
    assert fault.effective(state) is None
    with pytest.raises(Foreign, match="belongs to someone else and is left alone"):
        fault.restore(state)
    assert policies(small) == [NAME]


def test_an_inject_whose_answer_was_lost_is_known_again(small):
    fault = blackhole(small)
    state = fault.snapshot()
    fault.inject(state)
    fault.inject(state)
    fault.restore(state)
    restored(fault, state)
    assert policies(small) == []


def test_an_inject_that_arrives_after_the_restore_is_restored_by_the_next_one(small):
    fault = blackhole(small)
    state = fault.snapshot()
    fault.restore(state)
    restored(fault, state)
    fault.inject(state)
    fault.restore(state)
    restored(fault, state)
    assert policies(small) == []


def test_a_delete_by_someone_else_is_seen(small, monkeypatch):
    monkeypatch.setattr(network_blackhole, "LOOK_S", 0.02)
    fault = blackhole(small)
    state = fault.snapshot()
    fault.inject(state)
    seen = []
    watch = threading.Thread(target=lambda: seen.append(fault.moved(state, lambda: False)))
    watch.start()
    small.delete(f"{POLICIES}/{NAME}")
    watch.join(10)
    assert seen == [f"NetworkPolicy ml/{NAME} was deleted by someone else"]
    fault.restore(state)
    restored(fault, state)


def test_the_policy_goes_even_where_its_target_is_gone(small):
    fault = blackhole(small)
    state = fault.snapshot()
    fault.inject(state)
    small.delete(DEPLOYMENT)
    with pytest.raises(Foreign, match="was deleted by someone else"):
        fault.restore(state)
    assert policies(small) == []


def test_a_target_that_was_re_created_is_not_cut_off(small):
    fault = blackhole(small)
    state = fault.snapshot()
    small.delete(DEPLOYMENT)
    small.apply(engine()[0])
    with pytest.raises(CannotInject, match="was re-created by someone else"):
        fault.inject(state)
    assert policies(small) == []


def test_missing_rights_are_named(small):
    cluster = small.may("nobody", (Rule(("get",), ("apps",), ("deployments",), (), "ml"),))
    missing = refused(NetworkBlackhole(cluster, on(ENGINE), NoOptions()), ENGINE, cluster)
    assert [m for m in missing if "networkpolicies" in m] == [
        "create networkpolicies.networking.k8s.io in ml",
        "list networkpolicies.networking.k8s.io in ml",
        f"get networkpolicies.networking.k8s.io {NAME} in ml",
        f"delete networkpolicies.networking.k8s.io {NAME} in ml",
    ]


def test_a_run_finds_it_effective_by_a_request_and_restores_it(stand, chaos):
    text = """
hypothesis: it comes back
baseline: 0s
settle: 1s
max: 5m
steps: [{name: cut-off, at: 0s, for: 120s, fault: network_blackhole, target: vllm}]
"""
    process = chaos(stand, text=text)
    (found,) = [e for e in events(process.folder) if e["stage"] == "effective"]
    assert found["detail"]["policy"] == "brownout-deployment-vllm-server"
    assert "vllm does not answer" in found["detail"]["unanswered"]
    process.terminate()
    assert process.wait(30) == 5
    assert events(process.folder)[-1]["stage"] == "effective"
    client = Cluster(str(stand.kubeconfig))
    holds(lambda: client.network_policies("ml") == [], "the policy is gone")
    assert stand.ready() == 1
    assert stand.leases() == []
