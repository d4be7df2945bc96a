"""The fields of each kind and their types: unknown fields and wrong types, with the server's messages. Pure.

Defined down to the containers of a Pod template; everything below passes (`ANY`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

ANY = "any"
INT32 = "int32"
STRING = "string"
BOOL = "bool"
MICRO_TIME = "microtime"
STRINGS = "map[string]string"

MICRO_TIME_FORM = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?(.*)$")


def _any_of(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), ANY)


META = {
    **_any_of(
        "generation creationTimestamp deletionTimestamp deletionGracePeriodSeconds ownerReferences finalizers"
        " managedFields selfLink"
    ),
    **dict.fromkeys(("name", "generateName", "namespace", "uid", "resourceVersion"), STRING),
    **dict.fromkeys(("labels", "annotations"), STRINGS),
}
PORT = {**_any_of("name hostPort hostIP protocol"), "containerPort": INT32}
PROBE = {
    **_any_of("exec tcpSocket grpc terminationGracePeriodSeconds"),
    "httpGet": _any_of("path port host scheme httpHeaders"),
    **dict.fromkeys(
        ("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold", "successThreshold"),
        INT32,
    ),
}
CONTAINER = {
    **_any_of(
        "envFrom resources livenessProbe startupProbe lifecycle volumeMounts volumeDevices imagePullPolicy"
        " securityContext stdin stdinOnce tty resizePolicy restartPolicy restartPolicyRules"
        " terminationMessagePath terminationMessagePolicy"
    ),
    **dict.fromkeys(("name", "image", "workingDir"), STRING),
    "command": [STRING],
    "args": [STRING],
    "env": [{"name": STRING, "value": STRING, "valueFrom": ANY}],
    "ports": [PORT],
    "readinessProbe": PROBE,
}
POD_SPEC = {
    **_any_of(
        "initContainers ephemeralContainers volumes restartPolicy activeDeadlineSeconds"
        " dnsPolicy dnsConfig nodeSelector nodeName serviceAccountName serviceAccount"
        " automountServiceAccountToken hostNetwork hostPID hostIPC hostUsers hostAliases hostname subdomain"
        " setHostnameAsFQDN shareProcessNamespace securityContext imagePullSecrets affinity schedulerName"
        " tolerations priority priorityClassName readinessGates runtimeClassName enableServiceLinks"
        " preemptionPolicy overhead topologySpreadConstraints os schedulingGates resourceClaims resources"
    ),
    "terminationGracePeriodSeconds": INT32,
    "containers": [CONTAINER],
}
EXPRESSION = {"key": STRING, "operator": STRING, "values": [STRING]}
SELECTOR = {"matchLabels": STRINGS, "matchExpressions": [EXPRESSION]}
TAINT = {**dict.fromkeys(("key", "value", "effect"), STRING), "timeAdded": ANY}
TEMPLATE = {"metadata": META, "spec": POD_SPEC}
TYPE = {"kind": STRING, "apiVersion": STRING, "metadata": META}

KNOWN: dict[str, dict[str, Any]] = {
    "Scale": {**TYPE, "spec": {"replicas": INT32}, "status": _any_of("replicas selector")},
    "Deployment": {
        **TYPE,
        "spec": {
            "selector": SELECTOR,
            **_any_of("strategy minReadySeconds revisionHistoryLimit paused progressDeadlineSeconds"),
            "replicas": INT32,
            "template": TEMPLATE,
        },
        "status": ANY,
    },
    "StatefulSet": {
        **TYPE,
        "spec": {
            "selector": SELECTOR,
            **_any_of(
                "serviceName podManagementPolicy updateStrategy revisionHistoryLimit minReadySeconds"
                " persistentVolumeClaimRetentionPolicy volumeClaimTemplates ordinals"
            ),
            "replicas": INT32,
            "template": TEMPLATE,
        },
        "status": ANY,
    },
    "Secret": {**TYPE, "data": STRINGS, "stringData": STRINGS, "type": STRING, "immutable": BOOL},
    "Lease": {
        **TYPE,
        "spec": {
            "holderIdentity": STRING,
            "leaseDurationSeconds": INT32,
            "leaseTransitions": INT32,
            "acquireTime": MICRO_TIME,
            "renewTime": MICRO_TIME,
            "strategy": STRING,
            "preferredHolder": STRING,
        },
    },
    "Service": {
        **TYPE,
        "spec": {
            **_any_of(
                "type clusterIP clusterIPs externalIPs sessionAffinity sessionAffinityConfig ipFamilies ipFamilyPolicy"
                " internalTrafficPolicy externalTrafficPolicy publishNotReadyAddresses externalName loadBalancerIP"
            ),
            "selector": STRINGS,
            "ports": [{**_any_of("name protocol appProtocol targetPort nodePort"), "port": INT32}],
        },
        "status": ANY,
    },
    "Pod": {
        **TYPE,
        "spec": POD_SPEC,
        "status": _any_of(
            "phase conditions message reason hostIP hostIPs podIP podIPs startTime containerStatuses initContainerStatuses"
            " ephemeralContainerStatuses qosClass nominatedNodeName resize observedGeneration resourceClaimStatuses"
        ),
    },
}
KNOWN |= {
    "Node": {
        **TYPE,
        "spec": {
            **_any_of("podCIDR podCIDRs providerID configSource externalID"),
            "unschedulable": BOOL,
            "taints": [TAINT],
        },
        "status": ANY,
    },
    "NetworkPolicy": {
        **TYPE,
        "spec": {"podSelector": SELECTOR, "policyTypes": [STRING], **_any_of("ingress egress")},
    },
    "PodDisruptionBudget": {
        **TYPE,
        "spec": {
            "selector": SELECTOR,
            **_any_of("minAvailable maxUnavailable"),
            "unhealthyPodEvictionPolicy": STRING,
        },
        "status": ANY,
    },
    "HorizontalPodAutoscaler": {
        **TYPE,
        "spec": {
            "scaleTargetRef": dict.fromkeys(("kind", "name", "apiVersion"), STRING),
            "minReplicas": INT32,
            "maxReplicas": INT32,
            **_any_of("metrics behavior"),
        },
        "status": ANY,
    },
    "Eviction": {**TYPE, "deleteOptions": ANY},
}
OTHER = {**TYPE, **_any_of("spec status secrets imagePullSecrets automountServiceAccountToken")}


def unknown(obj: dict[str, Any]) -> list[str]:
    """The paths of fields that the kind does not have, in their order in the object."""
    return list(_unknown(obj, KNOWN.get(obj.get("kind", ""), OTHER), ""))


def _unknown(value: Any, known: Any, path: str) -> Iterator[str]:
    if isinstance(known, dict) and isinstance(value, dict):
        for key, inner in value.items():
            here = f"{path}.{key}" if path else key
            if key not in known:
                yield here
            else:
                yield from _unknown(inner, known[key], here)
    elif isinstance(known, list) and isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unknown(inner, known[0], f"{path}[{index}]")


def misfit(obj: dict[str, Any]) -> tuple[str, str, Any] | None:
    """The first field of a wrong type: (Go's error, the expected type, the value); None if all fit."""
    kind = obj.get("kind", "")
    return next(_misfits(obj, KNOWN.get(kind, OTHER), kind, ""), None)


def _misfits(value: Any, known: Any, kind: str, path: str) -> Iterator[tuple[str, str, Any]]:
    if value is None or known == ANY:
        return
    expected = "object" if isinstance(known, dict) else "array" if isinstance(known, list) else known
    if isinstance(known, dict) and isinstance(value, dict):
        for key in known.keys() & value.keys():
            yield from _misfits(value[key], known[key], kind, f"{path}.{key}".lstrip("."))
    elif isinstance(known, list) and isinstance(value, list):
        for inner in value:
            # A null in a list is not an omitted field.
            yield from _misfits("" if inner is None else inner, known[0], kind, path)
    elif expected == MICRO_TIME and isinstance(value, str):
        if complaint := _bad_time(value):
            yield complaint, expected, value
    elif not _fits(value, expected):
        struct = f"{kind}Spec" if path.startswith("spec.") else kind
        shown = "Time" if expected == MICRO_TIME else expected
        yield (
            f"json: cannot unmarshal {_go_name(value)} into Go struct field {struct}.{path} of type {shown}",
            expected,
            value,
        )


def misfit_in_strategic_merge(found: tuple[str, str, Any]) -> str:
    """A strategic merge patch converts each value by itself, with other messages."""
    _, expected, value = found
    if isinstance(value, float):
        return f"cannot convert float64 to {expected}"
    return f"unrecognized type: {expected}"


def in_utc(obj: dict[str, Any]) -> dict[str, Any]:
    """Lease times are stored in UTC with a Z, whatever offset the client sent."""
    spec = dict(obj.get("spec") or {})
    for key in ("acquireTime", "renewTime"):
        if isinstance(spec.get(key), str) and not spec[key].endswith("Z"):
            instant = datetime.fromisoformat(spec[key]).astimezone(UTC)
            spec[key] = instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {**obj, "spec": spec}


def _fits(value: Any, expected: str) -> bool:
    if expected == INT32:
        return isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31
    if expected == STRINGS:
        return isinstance(value, dict) and all(isinstance(inner, str) for inner in value.values())
    if expected == BOOL:
        return isinstance(value, bool)
    return expected == STRING and isinstance(value, str)


def _bad_time(value: str) -> str | None:
    form = "2006-01-02T15:04:05.000000Z07:00"
    found = MICRO_TIME_FORM.match(value)
    rest, part = value, "2006"
    if found is not None:
        if found[1] and re.fullmatch(r"Z|[+-]\d\d:\d\d", found[2]):
            return None
        rest, part = found[2], "Z07:00" if found[1] else ".000000"
    return f'parsing time "{value}" as "{form}": cannot parse "{rest}" as "{part}"'


def _go_name(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return f"number {value}"
    names = ((str, "string"), (list, "array"), (dict, "object"))
    return next((name for kind, name in names if isinstance(value, kind)), "null")


def known_only(obj: dict[str, Any]) -> dict[str, Any]:
    """The object as stored: unknown fields are dropped."""
    pruned = _pruned(obj, KNOWN.get(obj.get("kind", ""), OTHER))
    assert isinstance(pruned, dict)
    return pruned


def _pruned(value: Any, known: Any) -> Any:
    if isinstance(known, dict) and isinstance(value, dict):
        return {key: _pruned(inner, known[key]) for key, inner in value.items() if key in known}
    if isinstance(known, list) and isinstance(value, list):
        return [_pruned(inner, known[0]) for inner in value]
    return value
