"""The Lease contains the undo record, only of its own target: any restorer that finds it acts on it."""

import time
from dataclasses import replace

import pytest

from chaos.kube.names import name_of
from chaos.undo import lease
from tests.chaos.records import UNDO


def carrying(undo, namespace: str = "ml", name: str = "brownout-deployment-vllm-server") -> dict:
    annotations = {"brownout.dev/undo": undo.to_json()}
    return {"metadata": {"namespace": namespace, "name": name, "annotations": annotations}}


def test_what_is_taken_is_read_back_and_a_second_one_is_refused(stand):
    undo = replace(UNDO, cluster=stand.cluster.uid)
    uid = lease.take(stand.client, undo, time.time())
    assert uid
    (held,) = stand.leases()
    assert lease.undo_in(held) == undo
    assert lease.take(stand.client, replace(undo, run="another"), time.time()) is None
    lease.release(stand.client, undo, "the uid of another")
    assert stand.leases() == [held]
    lease.release(stand.client, undo, uid)
    assert stand.leases() == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"metadata": {"namespace": "ml", "name": "x"}}, "carries no undo record"),
        (carrying(replace(UNDO, handle="ml/ollama")), "of another target: deployment ml/ollama"),
        (carrying(replace(UNDO, handle="kube-system/vllm-server")), "of another target"),
        (carrying(UNDO, namespace="other"), "of another target"),
        (carrying(replace(UNDO, fault="command", kind="command", handle="vllm")), "of another target"),
        (carrying(replace(UNDO, fault="command")), "names an unknown fault: command"),
        (carrying(replace(UNDO, fault="os")), "names an unknown fault: os"),
    ],
)
def test_a_record_that_is_not_of_the_leases_own_target_is_left_alone(found, words):
    with pytest.raises(ValueError, match=words):
        lease.undo_in(found)
    assert lease.undo_in(carrying(UNDO)) == UNDO


@pytest.mark.parametrize(
    ("kind", "handle", "where"),
    [
        ("deployment", "ml/vllm", ("ml", "brownout-deployment-vllm")),
        ("statefulset", "ml/vllm", ("ml", "brownout-statefulset-vllm")),
        ("node", "gpu-1", ("kube-node-lease", "brownout-node-gpu-1")),
    ],
)
def test_each_target_has_one_lease_in_a_fixed_place(kind, handle, where):
    assert (lease.namespace_of(kind, handle), name_of(kind, handle)) == where
