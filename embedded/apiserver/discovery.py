"""The API's discovery documents: groups, resources, verbs, version. Pure; derived from the supported resources."""

from __future__ import annotations

from typing import Any

from embedded.apiserver.resources import Resource, Supported

Object = dict[str, Any]

# Subresources of another kind than their resource, as (group, version, kind).
OTHER_KINDS = {"scale": ("autoscaling", "v1", "Scale"), "eviction": ("policy", "v1", "Eviction")}

# The version whose answers were recorded; the part after the + marks this as not the real server.
VERSION: Object = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2+brownout.embedded",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


def versions(address: str) -> Object:
    by_client = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": by_client}


def group(name: str, version: str) -> Object:
    named = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [named], "preferredVersion": named}


def groups(supported: Supported) -> Object:
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [group(*found) for found in _groups(supported)],
    }


def one_group(supported: Supported, name: str) -> Object | None:
    found = next((g for g in _groups(supported) if g[0] == name), None)
    return {"kind": "APIGroup", "apiVersion": "v1", **group(*found)} if found else None


def resources(supported: Supported, group_name: str, version: str) -> Object:
    listed: list[Object] = []
    for r in _of(supported, group_name, version):
        entry: Object = {
            "name": r.plural,
            "singularName": r.singular,
            "namespaced": r.namespaced,
            "kind": r.kind,
            "verbs": sorted(r.verbs),
        }
        entry |= {"shortNames": list(r.short)} if r.short else {}
        entry |= {"categories": list(r.categories)} if r.categories else {}
        listed.append(entry)
        for name, verbs in r.subresources.items():
            other = OTHER_KINDS.get(name)
            listed.append(
                {
                    "name": f"{r.plural}/{name}",
                    "singularName": "",
                    "namespaced": r.namespaced,
                    **({"group": other[0], "version": other[1]} if other else {}),
                    "kind": other[2] if other else r.kind,
                    "verbs": list(verbs),
                }
            )
    group_version = f"{group_name}/{version}" if group_name else version
    # Only the core group's list has no apiVersion.
    own = {"apiVersion": "v1"} if group_name else {}
    return {"kind": "APIResourceList", **own, "groupVersion": group_version, "resources": listed}


def aggregated(supported: Supported, core: bool) -> Object:
    """All resources in one document, which kubectl requests first."""
    items = []
    for name, version in [("", "v1")] if core else _groups(supported):
        entries = [_aggregated(r) for r in _of(supported, name, version)]
        meta = {"name": name} if name else {}
        versions_ = [{"version": version, "resources": entries, "freshness": "Current"}]
        items.append({"metadata": meta, "versions": versions_})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated(r: Resource) -> Object:
    entry: Object = {
        "resource": r.plural,
        "responseKind": {"group": "", "version": "", "kind": r.kind},
        "scope": "Namespaced" if r.namespaced else "Cluster",
        "singularResource": r.singular,
        "verbs": sorted(r.verbs),
    }
    entry |= {"shortNames": list(r.short)} if r.short else {}
    entry |= {"categories": list(r.categories)} if r.categories else {}
    subresources = [
        {
            "subresource": name,
            "responseKind": dict(
                zip(("group", "version", "kind"), OTHER_KINDS.get(name, ("", "", r.kind)), strict=True)
            ),
            "verbs": list(verbs),
        }
        for name, verbs in r.subresources.items()
    ]
    return {**entry, "subresources": subresources} if subresources else entry


def _groups(supported: Supported) -> list[tuple[str, str]]:
    return list(dict.fromkeys((r.group, r.version) for r in supported.resources if r.group))


def _of(supported: Supported, group_name: str, version: str) -> list[Resource]:
    return [r for r in supported.resources if (r.group, r.version) == (group_name, version)]
