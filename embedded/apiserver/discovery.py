"""What a client learns of the API before it uses it: groups, resources, verbs, version. Pure; read from the resource table."""

from __future__ import annotations

from typing import Any

from embedded.apiserver.resources import RESOURCES, Resource

Object = dict[str, Any]

GROUPS = list(dict.fromkeys((r.group, r.version) for r in RESOURCES if r.group))

# The version whose answers were recorded; what follows the + tells a reader that this is not it.
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


def groups() -> Object:
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(*found) for found in GROUPS]}


def one_group(name: str) -> Object | None:
    found = next((g for g in GROUPS if g[0] == name), None)
    return {"kind": "APIGroup", "apiVersion": "v1", **group(*found)} if found else None


def resources(group_name: str, version: str) -> Object:
    listed: list[Object] = []
    for r in _of(group_name, version):
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
            listed.append(
                {
                    "name": f"{r.plural}/{name}",
                    "singularName": "",
                    "namespaced": r.namespaced,
                    **({"group": "autoscaling", "version": "v1"} if name == "scale" else {}),
                    "kind": "Scale" if name == "scale" else r.kind,
                    "verbs": list(verbs),
                }
            )
    group_version = f"{group_name}/{version}" if group_name else version
    # The core group's list alone has no apiVersion of its own.
    own = {"apiVersion": "v1"} if group_name else {}
    return {"kind": "APIResourceList", **own, "groupVersion": group_version, "resources": listed}


def aggregated(core: bool) -> Object:
    """All resources in one document, which kubectl asks for first."""
    items = []
    for name, version in [("", "v1")] if core else GROUPS:
        entries = [_aggregated(r) for r in _of(name, version)]
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
    scale = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    subresources = [
        {
            "subresource": name,
            "responseKind": scale if name == "scale" else {"group": "", "version": "", "kind": r.kind},
            "verbs": list(verbs),
        }
        for name, verbs in r.subresources.items()
    ]
    return {**entry, "subresources": subresources} if subresources else entry


def _of(group_name: str, version: str) -> list[Resource]:
    return [r for r in RESOURCES if (r.group, r.version) == (group_name, version)]
