"""Lease renewals: times as client-go and the Python client write them, with and without preconditions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from kubernetes import client

from tests.embedded.recorded.stand import LocalCluster
from tests.embedded.test_apiserver import JSON_PATCH, LEASES, MERGE, lease, refused

STRATEGIC = "application/strategic-merge-patch+json"
PATH = f"{LEASES}/engine"
FIRST, LATER = "2026-11-20T17:20:00.000000Z", "2026-11-20T17:20:05.250000Z"


def renewal(content_type: str, time_: str) -> Any:
    if content_type == JSON_PATCH:
        return [{"op": "replace", "path": "/spec/renewTime", "value": time_}]
    return {"spec": {"renewTime": time_}}


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC, JSON_PATCH])
@pytest.mark.parametrize("time_", [LATER, "2026-11-20T18:20:05.250000+01:00"])
def test_a_renewal_by_patch_changes_the_time_and_the_version(content_type: str, time_: str) -> None:
    with LocalCluster(lease(renewTime=FIRST)) as local:
        before = local.get(PATH)
        after = local.request("PATCH", PATH, renewal(content_type, time_), content_type)
        assert (after.status, after.body["spec"]["renewTime"]) == (200, LATER)
        assert after.body["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
        assert after.body["spec"]["holderIdentity"] == "run-a"


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
def test_a_renewal_by_patch_with_a_stale_version_is_a_conflict(content_type: str) -> None:
    with LocalCluster(lease(renewTime=FIRST)) as local:
        version = local.get(PATH)["metadata"]["resourceVersion"]
        patch = {**renewal(content_type, LATER), "metadata": {"resourceVersion": version}}
        assert [local.request("PATCH", PATH, patch, content_type).status for _ in range(2)] == [200, 409]
        assert local.get(PATH)["spec"]["renewTime"] == LATER


def test_a_renewal_with_a_time_without_microseconds_is_refused() -> None:
    with LocalCluster(lease(renewTime=FIRST)) as local:
        answer = local.request("PATCH", PATH, renewal(MERGE, "2026-11-20T17:20:05Z"), MERGE)
        assert (answer.status, answer.body["reason"]) == (422, "Invalid")
        assert local.get(PATH)["spec"]["renewTime"] == FIRST


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=1))])
def test_the_official_client_takes_and_renews_a_lease(zone: timezone) -> None:
    """It writes a datetime with its own offset; reads return UTC."""
    first, later = (datetime(2026, 11, 20, 17, 20, s, 250000, UTC).astimezone(zone) for s in (0, 5))
    with LocalCluster() as local:
        leases = client.CoordinationV1Api(local.client())
        held = leases.create_namespaced_lease("ml", lease(acquireTime=first, renewTime=first))
        assert held.spec.renew_time == first
        assert local.get(PATH)["spec"]["renewTime"] == "2026-11-20T17:20:00.250000Z"
        held.spec.renew_time = later
        renewed = leases.replace_namespaced_lease("engine", "ml", held)
        assert (renewed.spec.renew_time, renewed.spec.acquire_time) == (later, first)
        stale = refused(leases.replace_namespaced_lease, "engine", "ml", held)
        assert stale.status == 409


def test_a_lease_of_a_node_has_its_namespace() -> None:
    with LocalCluster() as local:
        path = LEASES.replace("/ml/", "/kube-node-lease/")
        made = lease("embedded")
        made["metadata"]["namespace"] = "kube-node-lease"
        assert local.request("POST", path, made).status == 201
        listed = client.CoordinationV1Api(local.client()).list_lease_for_all_namespaces().items
    assert [found.metadata.namespace for found in listed] == ["kube-node-lease"]


@pytest.mark.parametrize(
    ("time_", "code"),
    [
        ("2026-11-20T17:20:00.000000Z", 201),
        ("2026-11-20T18:20:00.000000+01:00", 201),  # as Python's client writes it; kept in UTC
        ("2026-11-20T17:20:00Z", 400),  # as Python's isoformat writes an even second
        ("now", 400),
    ],
)
def test_a_lease_time_has_six_digits_after_the_second(time_: str, code: int) -> None:
    with LocalCluster() as local:
        answer = local.request("POST", LEASES, lease(renewTime=time_))
    assert answer.status == code
    if code == 201:
        assert answer.body["spec"]["renewTime"] == "2026-11-20T17:20:00.000000Z"


def pages(local: LocalCluster, query: str) -> list[Any]:
    found, token = [], ""
    while True:
        answer = local.request("GET", f"{LEASES}?{query}{f'&continue={token}' if token else ''}")
        assert answer.status == 200
        found.append(answer.body)
        token = answer.body["metadata"].get("continue", "")
        if not token:
            return found


@pytest.mark.parametrize("selector", ["", "&labelSelector=app%3Dx"])
def test_pages_hold_each_object_once_and_count_the_rest_only_without_a_selector(selector: str) -> None:
    with LocalCluster() as local:
        for number in range(5):
            made = lease()
            made["metadata"] |= {"name": f"l{number}", "labels": {"app": "x"}}
            assert local.request("POST", LEASES, made).status == 201
        found = pages(local, f"limit=2{selector}")
    assert [[i["metadata"]["name"] for i in page["items"]] for page in found] == [
        ["l0", "l1"],
        ["l2", "l3"],
        ["l4"],
    ]
    counted = [page["metadata"].get("remainingItemCount") for page in found]
    assert counted == ([None] * 3 if selector else [3, 1, None])


def test_a_list_that_is_compacted_meanwhile_cannot_be_continued_but_with_the_token_of_the_refusal() -> None:
    with LocalCluster(event_log=3) as local:
        for number in range(3):
            made = lease()
            made["metadata"]["name"] = f"l{number}"
            local.request("POST", LEASES, made)
        token = local.get(f"{LEASES}?limit=1")["metadata"]["continue"]
        for time_ in (FIRST, LATER, FIRST, LATER, FIRST):
            local.request("PATCH", f"{LEASES}/l0", renewal(MERGE, time_), MERGE)
        answer = local.request("GET", f"{LEASES}?limit=1&continue={token}")
        assert (answer.status, answer.body["reason"]) == (410, "Expired")
        fresh = answer.body["metadata"]["continue"]
        (found,) = local.get(f"{LEASES}?limit=1&continue={fresh}")["items"]
        assert found["metadata"]["name"] == "l1"


def test_the_annotations_of_an_object_have_at_most_256_kib() -> None:
    with LocalCluster() as local:
        made = lease()
        made["metadata"]["annotations"] = {"a": "x" * (256 * 1024 - 1)}
        assert local.request("POST", LEASES, made).status == 201
        made["metadata"] |= {"name": "more", "annotations": {"a": "x" * 256 * 1024}}
        answer = local.request("POST", LEASES, made)
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert "metadata.annotations: Too long: may not be more than 262144 bytes" in answer.body["message"]
