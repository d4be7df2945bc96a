"""The embedded API server answers as a real 1.36 API server did: replays its recorded exchanges in order."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from tests.embedded.recorded import stand as stands
from tests.embedded.recorded.replay import Comparison, load
from tests.embedded.recorded.stand import Answer, LocalCluster, until
from tests.ports import held_port

ML = "/apis/apps/v1/namespaces/ml"
TOKENS = {
    None: stands.ADMIN,
    "scaler": stands.SCALER,
    "operator": stands.OPERATOR,
    "bad token": "nobody",
    "no token": None,
}

# The controllers' delay during a replay, so that reads right after a write come before they act.
LAG_S = 60.0
# … and where the replay waits for them: long enough for each state to be seen.
PATIENT_LAG_S = 0.5

# How long a Pod terminates: about forty requests of a replay read it meanwhile, on a possibly slow machine.
STOP_S = 6.0

# Files in which a GET is repeated until it matches: they show the order of states, not times.
PATIENT = ("03-scale-to-zero", "05-scale-up", "14-failed-pod", "16-statefulset-scale", "17-hpa")

# (file, exchange): the answer here, and why it differs.
DIFFERENT: dict[tuple[str, int], tuple[int, str]] = {
    ("10b-rbac-scaler", 0): (404, "Roles are not supported: rights are given to Cluster(tokens=...)"),
    ("10c-rbac-operator", 0): (404, "as above"),
    ("17-hpa", 8): (404, "autoscaling/v1 is not supported"),
}

# (file, exchange): fields removed on both sides, and why they differ.
APART: dict[tuple[str, int], tuple[list[str], str]] = {
    ("10-refusals", 11): (["gitVersion", "compiler"], "it does not pretend to be a real 1.36.2"),
    ("19-discovery", 0): (["gitVersion", "compiler"], "as above"),
    ("10b-rbac-scaler", 10): (["status.reason"], "there is no RoleBinding to name"),
    ("19-discovery", 12): (["message"], "neither YAML nor protobuf is served"),
    ("06b-watch-too-old", 4): (["message"], "names the current version"),
}
LEFT_OUT_OF_VERSION = ("gitCommit", "buildDate", "goVersion")

# (file, exchange): the real controller had already seen some earlier writes; ours is slowed down.
RACING = {("12-patch-types", n) for n in (6, 10, 11)} | {("09-invalid-replicas", 17)}

SIMPLE = (
    "01-get-deployment",
    "02-get-scale-at-one",
    "03-scale-to-zero",
    "04-get-scale-at-zero",
    "05-scale-up",
    "06b-watch-too-old",
    "07-stale-resource-version",
    "08-misspelt-field",
    "09-invalid-replicas",
    "09b-malformed-bodies",
    "10-refusals",
    "10b-rbac-scaler",
    "10c-rbac-operator",
    "11-dry-run",
    "12-patch-types",
    "13-lease",
    "14-failed-pod",
    "15-network-policy",
    "16-statefulset-scale",
    "17-hpa",
    "18-kube-system",
)


def as_recorded(name: str, kind: str = "Deployment", replicas: int = 1) -> list[dict[str, Any]]:
    """A workload as it was during the recordings, and its Service."""
    image, port = {
        "vllm-server": ("vllm/vllm-openai:v0.11.0", 8000),
        "ollama": ("ollama/ollama:0.12.3", 11434),
        "tgi": ("ghcr.io/huggingface/text-generation-inference:3.3.5", 8080),
    }[name]
    made = stands.workload(
        name,
        kind=kind,
        ready_s=1.0,
        stop_s=STOP_S,
        port=held_port(),
        container_port=port,
        image=image,
        replicas=replicas,
    )
    template = made["spec"]["template"]
    template["metadata"]["annotations"] = {"fake/ready-seconds": "3", "fake/stop-seconds": "4"}
    template["spec"]["automountServiceAccountToken"] = False
    return [made, stands.service(name, port)]


def set_up(local: LocalCluster, case: str) -> None:
    """Brings a cluster to the state at the start of a recording."""
    if case == "16-statefulset-scale":
        local.up("tgi", "statefulsets")
    elif case.startswith("18"):
        return
    else:
        local.up("vllm-server")
        local.up("ollama")
    if case == "07-stale-resource-version":
        local.request(
            "PATCH", f"{ML}/deployments/vllm-server", {"metadata": {"annotations": {"note": "one"}}}, MERGE
        )
        local.up("vllm-server")
    # All controllers must have reacted to the writes above before versions are compared.
    until(lambda: settled(local), "the controllers are quiet")
    local.lag(PATIENT_LAG_S if case in PATIENT else LAG_S)


MERGE = "application/merge-patch+json"


def settled(local: LocalCluster) -> bool:
    version = local.cluster.store.version
    time.sleep(0.05)
    return version == local.cluster.store.version


def send(local: LocalCluster, exchange: dict[str, Any], comparison: Comparison) -> Answer:
    request = exchange["request"]
    # A third of a second here shows as much as a second of the real watch.
    path = re.sub(r"timeoutSeconds=\d+", "timeoutSeconds=0.3", request["path"])
    body = request["body"]
    if body is not None and not isinstance(body, str):
        body = comparison.translate(json.dumps(body))
    return local.request(
        request["method"],
        comparison.translate(path, unknown_version="2"),
        body,
        request["content_type"],
        TOKENS[request.get("as")],
        request.get("accept", "application/json"),
    )


def differences(
    case: str, number: int, exchange: dict[str, Any], answer: Answer, comparison: Comparison
) -> list[str]:
    theirs = exchange["response"]
    if (case, number) in DIFFERENT:
        expected, _ = DIFFERENT[case, number]
        return [] if answer.status == expected else [f"status {answer.status}, expected {expected}"]
    found = []
    for what, recorded, ours in (
        ("status", theirs["status"], answer.status),
        ("content type", theirs["content_type"], answer.content_type),
        *(
            (header, theirs.get("headers", {}).get(header), answer.headers.get(header))
            for header in ("Warning", "Retry-After")
        ),
    ):
        if recorded != ours:
            found.append(f"{what}: recorded {recorded!r}, ours {ours!r}")
    comparison.racing = (case, number) in RACING
    if "events" in theirs:
        our_events = [json.loads(line) for line in answer.body.splitlines()]
        recorded_events = [{k: v for k, v in event.items() if k != "at_ms"} for event in theirs["events"]]
        for event in (*our_events, *recorded_events):
            if event["type"] == "ERROR":
                event["object"]["message"] = re.sub(r"\d+", "N", event["object"]["message"])
        return found + comparison.matches(recorded_events, our_events)
    recorded, ours = without(theirs["body"], case, number), without(answer.body, case, number)
    return found + comparison.matches(recorded, ours)


def without(body: Any, case: str, number: int) -> Any:
    body = json.loads(json.dumps(body))
    for path in APART.get((case, number), ([], ""))[0]:
        *steps, last = path.split(".")
        holder = body
        for step in steps:
            holder = holder[step]
        holder[last] = None
    if isinstance(body, dict) and "gitVersion" in body:
        body |= dict.fromkeys(LEFT_OUT_OF_VERSION)
    return body


# Pods start and end as slowly as the real server's did.
SLOW = {"03-scale-to-zero", "14-failed-pod", "16-statefulset-scale"}


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.verify if c in SLOW else ()) for c in SIMPLE]
)
def test_it_answers_as_the_real_server_did(case: str) -> None:
    manifests = [*as_recorded("vllm-server"), *as_recorded("ollama")]
    if case == "16-statefulset-scale":
        manifests = as_recorded("tgi", "StatefulSet")
    elif case in ("04-get-scale-at-zero", "05-scale-up"):
        manifests = [*as_recorded("vllm-server", replicas=0), *as_recorded("ollama", replicas=0)]
    elif case.startswith("18"):
        manifests = []
    else:
        for manifest in manifests:
            quick(manifest, case)
    comparison = Comparison()
    with LocalCluster(*manifests, event_log=3 if case == "06b-watch-too-old" else 2000) as local:
        set_up(local, case)
        for number, exchange in enumerate(load(case)):
            if (case, number) == ("14-failed-pod", 1):
                evict(local)
            deadline = time.monotonic() + (
                30 if case in PATIENT and exchange["request"]["method"] == "GET" else 0
            )
            while True:
                found = differences(case, number, exchange, send(local, exchange, comparison), comparison)
                if not found or time.monotonic() >= deadline:
                    break
                time.sleep(0.01)
            assert not found, f"{case} #{number}: {exchange['request']}\n" + "\n".join(found)


def quick(manifest: dict[str, Any], case: str) -> None:
    """Pods start at once, except where the recording shows how they start."""
    if manifest["kind"] != "Service" and case not in PATIENT:
        manifest["spec"]["template"]["spec"]["containers"][0]["command"][-2:] = ["0", "0"]


def evict(local: LocalCluster) -> None:
    """Evicts the Pod as the recorder did, as the node's kubelet would."""
    name = local.pods("vllm-server")[0]["metadata"]["name"]
    theirs = load("14-failed-pod")[2]["response"]["body"]["items"][0]["status"]
    ours = {key: theirs[key] for key in ("phase", "reason", "message", "conditions", "containerStatuses")}
    patched = local.request("PATCH", f"/api/v1/namespaces/ml/pods/{name}/status", {"status": ours}, MERGE)
    assert patched.status == 200


@pytest.mark.verify
def test_a_watch_sends_the_same_events_as_the_real_one() -> None:
    """Recording 06, whose watches run during the PATCHes: the same events, in the same order, with the same statuses."""
    exchanges = load("06-watch-deployment")
    recorded = [event["object"] for event in exchanges[2]["response"]["events"]]
    with LocalCluster(*as_recorded("vllm-server"), *as_recorded("ollama")) as local:
        set_up(local, "06")
        before = local.get(f"{ML}/deployments?fieldSelector=metadata.name%3Dvllm-server")
        comparison = Comparison()
        assert not comparison.matches(exchanges[0]["response"]["body"], before)
        patch = f"{ML}/deployments/vllm-server/scale"
        local.lag(0.05)
        for number, replicas in ((4, 0), (5, 1)):
            answer = local.request("PATCH", patch, {"spec": {"replicas": replicas}}, MERGE)
            assert not comparison.matches(exchanges[number]["response"]["body"], answer.body)
            up_or_down(local, replicas)
        version = before["metadata"]["resourceVersion"]
        watch = f"{ML}/deployments?watch=1&fieldSelector=metadata.name%3Dvllm-server&timeoutSeconds=0.3"
        events = [
            json.loads(line)
            for line in local.request("GET", f"{watch}&resourceVersion={version}").body.splitlines()
        ]
        assert [event["type"] for event in events] == ["MODIFIED"] * len(recorded)
        for theirs, ours in zip(recorded, (event["object"] for event in events), strict=True):
            assert not comparison.matches(theirs, ours)
        first = json.loads(local.request("GET", watch).body.splitlines()[0])
        assert (first["type"], first["object"]["kind"]) == ("ADDED", "Deployment")
        # The bookmark comes in the second half of the watch.
        watch = watch.replace("vllm-server", "ollama").replace("timeoutSeconds=0.3", "timeoutSeconds=3")
        quiet = f"{watch}&allowWatchBookmarks=true"
        latest = local.get(f"{ML}/deployments")["metadata"]["resourceVersion"]
        marks = [
            json.loads(line)
            for line in local.request("GET", f"{quiet}&resourceVersion={latest}").body.splitlines()
        ]
        # The real server adds empty fields to a bookmark's object; ours has only the version.
        assert {(mark["type"], mark["object"]["kind"]) for mark in marks} == {("BOOKMARK", "Deployment")}
        assert marks[0]["object"]["metadata"] == {"resourceVersion": latest}


def up_or_down(local: LocalCluster, replicas: int) -> None:
    if replicas:
        local.up("vllm-server")
    else:
        until(lambda: not local.pods("vllm-server"), "the Pod is gone")
        at_zero = {"observedGeneration", "terminatingReplicas", "conditions"}
        path = f"{ML}/deployments/vllm-server"
        until(
            lambda: set(s := local.get(path)["status"]) == at_zero and not s["terminatingReplicas"], "counted"
        )


# Only in the real server; 404 here, as for an API that is not installed.
NOT_SPOKEN = {"autoscaling/v1"}
# Only in ours; the recorded lists were trimmed.
TRIMMED = {
    "replicasets",
    "secrets",
    "serviceaccounts",
    "statefulsets/status",
    "pods/status",
    "pods/eviction",
    "nodes",
    "nodes/status",
    "policy",
}


def test_discovery_matches_the_recording_for_the_supported_resources() -> None:
    """Recording 19: groups, resources, kinds, short names as recorded; verbs and subresources are some of the recorded ones."""
    exchanges = load("19-discovery")
    with LocalCluster(*as_recorded("vllm-server"), *as_recorded("ollama")) as local:
        set_up(local, "19")
        comparison = Comparison()
        for number in (0, 1, 5, 9, 10, 11, 12):
            answer = send(local, exchanges[number], comparison)
            recorded = exchanges[number]
            if number == 11:  # an opaque token, which begins with the same key
                for body in (recorded["response"]["body"], answer.body):
                    body["metadata"]["continue"] = "token"
            if number in (9, 10):
                for body in (recorded["response"]["body"], answer.body):
                    without_types(body)
            assert not differences("19-discovery", number, recorded, answer, comparison), number
        for number in (2, 3, 4, 6, 7, 8):
            ours, theirs = send(local, exchanges[number], comparison), exchanges[number]["response"]
            assert (ours.status, ours.content_type) == (theirs["status"], theirs["content_type"])
            assert not within(theirs["body"], ours.body, f"#{number}")


def without_types(table: dict[str, Any]) -> None:
    """All columns are declared as strings here; kubectl prints them alike."""
    for column in table["columnDefinitions"]:
        column["type"] = "string"


def within(theirs: Any, ours: Any, path: str) -> list[str]:
    """The differences of ours from theirs; their lists may be longer."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        # No storage version here; and a resource without supported subresources lists none.
        spared = {"storageVersionHash", "subresources"}
        missing = [f"{path}.{key}: absent" for key in theirs.keys() - ours.keys() - spared]
        return missing + [d for key in ours for d in within(theirs.get(key), ours[key], f"{path}.{key}")]
    if isinstance(theirs, list) and isinstance(ours, list):
        if not ours or not isinstance(ours[0], dict):
            return [] if set(ours) <= set(theirs) else [f"{path}: {ours} and not of {theirs}"]
        by_key = {key_of(their): their for their in theirs}
        known = [our for our in ours if key_of(our) not in TRIMMED - by_key.keys()]
        unknown = {key_of(our) for our in known} - by_key.keys()
        lost = by_key.keys() - {key_of(our) for our in known}
        # Of its two versions; in the aggregated document they are called by their version alone.
        lost -= {"v1"} if path.endswith(".autoscaling.versions") else set()
        odd = {key for key in lost if not not_supported(key)}
        return [f"{path}: only ours {unknown}, not ours {odd}"] * bool(unknown or odd) + [
            d for our in known for d in within(by_key.get(key_of(our)), our, f"{path}.{key_of(our)}")
        ]
    return [] if theirs == ours else [f"{path}: recorded {theirs!r}, ours {ours!r}"]


def key_of(entry: dict[str, Any]) -> str:
    meta = entry.get("metadata") or {}
    for key in ("name", "resource", "subresource", "groupVersion", "version"):
        if key in entry:
            return str(entry[key])
    return str(meta.get("name", ""))


def not_supported(key: str) -> bool:
    subresources = "attach binding ephemeralcontainers exec log portforward proxy resize finalize status"
    last = key.rpartition("/")[2]
    return key in NOT_SPOKEN or last in subresources.split()
