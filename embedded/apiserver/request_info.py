"""Parses a request's path and headers: the resource, the verb, the format of the answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from embedded.apiserver.errors import not_acceptable
from embedded.apiserver.rights import Attributes
from embedded.apiserver.selectors import name_in

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
TRUE = ("1", "true", "True")


@dataclass(frozen=True)
class RequestInfo:
    """A request for a resource; `name` is empty for a collection."""

    verb: str
    group: str
    version: str
    namespace: str
    resource: str
    name: str
    subresource: str
    query: Mapping[str, str]

    @property
    def attributes(self) -> Attributes:
        """The attributes for authorization: a list that selects one name counts as naming it."""
        name = self.name
        if self.verb in ("list", "watch", "deletecollection"):
            name = name_in(self.query.get("fieldSelector", ""))
        namespace = self.name if self.resource == "namespaces" else self.namespace
        return Attributes(self.verb, self.group, self.resource, self.subresource, namespace, name)


def read(method: str, path: str, query: Mapping[str, str]) -> RequestInfo | None:
    """None if the path is not that of a resource: discovery, health, unknown."""
    steps = [step for step in path.split("/") if step]
    if steps[:1] == ["api"] and len(steps) > 2:
        group, version, rest = "", steps[1], steps[2:]
    elif steps[:1] == ["apis"] and len(steps) > 3:
        group, version, rest = steps[1], steps[2], steps[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    return RequestInfo(
        _verb(method, name, query), group, version, namespace, resource, name, subresource, query
    )


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    if method in ("GET", "HEAD"):
        if query.get("watch") in TRUE:
            return "watch"
        return "get" if name else "list"
    if method == "DELETE" and not name:
        return "deletecollection"
    return VERBS.get(method, method.lower())


def form_of(accept: str, other: str) -> str:
    """The first form in an Accept header that is served: `other` (as Table, as APIGroupDiscoveryList), or "plain"."""
    for choice in (accept or "*/*").split(","):
        kind, *parameters = (part.strip() for part in choice.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        if kind in ("*/*", "application/*") or (kind == "application/json" and "as" not in given):
            return "plain"
        if kind == "application/json" and given["as"] == other and given.get("v") in ("v1", "v2"):
            return other
    raise not_acceptable()
