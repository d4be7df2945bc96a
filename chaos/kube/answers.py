"""Validates answers of the Kubernetes API: do they come from the API server, and do they match the request? Pure.

Proxies, ingresses and load balancers in front of the API server answer too: with pages, with JSON of their own, with a
partial answer. A refusal comes from the API server if it is a `Status` about the requested object. An object is
accepted if it has the requested kind and name. Everything else is `NotTheApi`: an external error, after which the
request is repeated. It never means "the object is gone".
"""

import json
from dataclasses import dataclass
from typing import Any

import urllib3
from kubernetes.client.exceptions import ApiException

from contract import printable

# A caller that must not give up catches these and tries again. The client raises its own exception for a refusal,
# urllib3's for no answer, and ValueError for an answer that it cannot read.
API_ERRORS = (ApiException, urllib3.exceptions.HTTPError, ValueError)

KINDS = {
    "namespaces": "Namespace",
    "nodes": "Node",
    "pods": "Pod",
    "deployments": "Deployment",
    "statefulsets": "StatefulSet",
    "replicasets": "ReplicaSet",
    "endpointslices": "EndpointSlice",
    "networkpolicies": "NetworkPolicy",
    "leases": "Lease",
    "secrets": "Secret",
    "horizontalpodautoscalers": "HorizontalPodAutoscaler",
    "scaledobjects": "ScaledObject",
    "inferenceservices": "InferenceService",
    "selfsubjectaccessreviews": "SelfSubjectAccessReview",
}
_CUSTOM = ("scaledobjects", "inferenceservices")
_SUBRESOURCES = {"scale": "Scale", "eviction": "Eviction"}
# Members that the API server may omit when empty, and that are read here.
_MAY_BE_ABSENT = {
    "Pod": ("spec", "status"),
    "Node": ("spec", "status"),
    "Scale": ("spec",),
    "Lease": ("spec",),
    "HorizontalPodAutoscaler": ("spec",),
    "ScaledObject": ("spec",),
}
_WATCHED = ("ADDED", "MODIFIED", "DELETED")
_LINE = 300  # characters of a message
_DENIED = "denied the request"


class ApiError(ApiException):
    """A refusal by the API server. Its text is one line: the client's own text contains every header."""

    def __init__(self, status: int, refusal: dict[str, Any], headers: Any, more: str = "") -> None:
        super().__init__(status=status, reason=refusal.get("reason"))
        self.body, self.headers = json.dumps(refusal), headers
        text = refusal.get("message")  # optional in a Status
        self.message = line(f"{text or f'{status} {self.reason}'}{more}")

    def __str__(self) -> str:
        return self.message


def gone(error: ApiException) -> bool:
    """Whether the requested object does not exist. A webhook may deny with any code, also 404 and 409."""
    return error.status == 404 and not denies(error)


def conflict(error: ApiException) -> bool:
    """Whether another client has written first."""
    return error.status == 409 and not denies(error)


def denies(error: ApiException) -> bool:
    """Whether a webhook has denied the request, by the text that the API server adds to the webhook's message."""
    return _DENIED in str(error)


def forbidden(error: Exception) -> bool:
    """Whether the account does not have the right."""
    return isinstance(error, ApiException) and error.status == 403 and not denies(error)


class NotTheApi(urllib3.exceptions.HTTPError):
    """An answer that does not come from the API server, or does not match the request. `no_such_page`: the text with which
    servers written in Go, such as the API server, report an unknown path."""

    def __init__(self, why: str, no_such_page: bool = False) -> None:
        super().__init__(line(why))
        self.no_such_page = no_such_page


class TooLarge(NotTheApi):
    """An answer of more bytes than are read."""


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """The object of a request, from its path; `plural` is empty where the path is not a resource."""

    method: str
    path: str
    plural: str
    name: str
    sub: str
    namespace: str

    @property
    def kind(self) -> str:
        return _SUBRESOURCES.get(self.sub) or KINDS.get(self.plural, "")

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def request_info(method: str, path: str, body: dict[str, Any] | None = None) -> RequestInfo:
    """`path`: from the server's root, without the query. The name of a created object is in the body."""
    steps = [step for step in path.split("/") if step]
    rest = steps[2:] if steps[:1] == ["api"] else steps[3:] if steps[:1] == ["apis"] else []
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    plural, name, sub = (*rest, "", "", "")[:3]
    if method == "POST" and not name:
        name = str(((body or {}).get("metadata") or {}).get("name") or "")
    return RequestInfo(method, path, plural, name, sub, namespace)


def refusal(of: RequestInfo, status: int, headers: Any, data: bytes, more: str = "") -> Exception:
    """The exception for an answer that is not a success."""
    found = _parsed(data)
    if found is None or found.get("kind") != "Status":
        text = " ".join(data[: 4 * _LINE].decode(errors="replace").split())[:80]
        page = status == 404 and text == "404 page not found"
        return NotTheApi(f"{of}: {status}, not a Status of the API server: {text!r}{more}", page)
    wrong = _not_about(of, status, found)
    if wrong:
        return NotTheApi(f"{of}: {status}, {wrong}: {found.get('message')}{more}")
    return ApiError(status, found, headers, more)


def found(of: RequestInfo, data: bytes) -> dict[str, Any]:
    """The requested object or list, or the success. Raises NotTheApi."""
    body = _parsed(data)
    if body is None:
        raise NotTheApi(f"{of}: not a JSON object: {data[:80]!r}")
    if not of.plural:  # /version
        if not isinstance(body.get("gitVersion"), str):
            raise NotTheApi(f"{of}: not the version of an API server")
        return body
    kind = body.get("kind")
    if kind == "Status" and (of.method == "DELETE" or of.sub == "eviction"):
        if body.get("status") != "Success":
            raise NotTheApi(f"{of}: a Status that is not a success: {body.get('message')}")
        return body
    if of.method == "GET" and not of.name:
        _list(of, body)
    elif kind != of.kind:
        raise NotTheApi(f"{of}: {_shown(kind)}, not a {of.kind}")
    elif of.plural == "selfsubjectaccessreviews":
        if not isinstance((body.get("status") or {}).get("allowed"), bool):
            raise NotTheApi(f"{of}: a review without an answer")
    elif of.sub != "eviction":
        _object(of, body)
    return body


def rest_of(listed: dict[str, Any]) -> str:
    """The token of a list's next page; empty: this is the last one."""
    meta = listed.get("metadata")
    return str(meta.get("continue") or "") if isinstance(meta, dict) else ""


def event(of: RequestInfo, name: str, text: bytes) -> dict[str, Any]:
    """One event of a watch of the object of this name. Raises NotTheApi."""
    body = _parsed(text)
    kind = (body or {}).get("type")
    shown = (body or {}).get("object")
    if body is None or not isinstance(kind, str) or not isinstance(shown, dict):
        raise NotTheApi(f"{of}: not a watch event: {text[:80]!r}")
    if kind == "ERROR" and shown.get("kind") != "Status":
        raise NotTheApi(f"{of}: an error that is not a Status")
    if kind in _WATCHED:
        one = RequestInfo(of.method, of.path, of.plural, name, "", of.namespace)
        if shown.get("kind") != one.kind:
            raise NotTheApi(f"{of}: an event of {_shown(shown.get('kind'))}, not of a {one.kind}")
        _object(one, shown)
    return body


def no_such_api(error: Exception) -> bool:
    """Whether the cluster does not have this custom kind, or no object of the name.

    The API server answers "404 page not found" for a group that is not installed; a proxy could send the same. It is
    trusted only here, since only the text of a plan depends on it.
    """
    if isinstance(error, NotTheApi):
        return error.no_such_page
    return isinstance(error, ApiException) and error.status == 404


def api_error_text(error: Exception) -> str:
    """An error as one line: the API server's own message where there is one."""
    if isinstance(error, ApiError):
        return f"API server: {error}"[:_LINE]
    return line(f"{type(error).__name__}: {error}")


def line(text: str) -> str:
    """Foreign text as one short line, without control characters and without our secrets."""
    return printable.clean(text)[:_LINE]


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _not_about(of: RequestInfo, status: int, found: dict[str, Any]) -> str | None:
    """Why a Status is not a refusal of this request, in words; None: it is."""
    if found.get("status") == "Success":
        return "a Status of success"
    if found.get("code") not in (None, status):
        return f"a Status of code {_shown(found['code'])}"
    if status not in (404, 409) or _DENIED in str(found.get("message")):
        return None
    # Only these two are acted upon: the object is gone, and another client was faster.
    reasons = ("NotFound",) if status == 404 else ("AlreadyExists",) if _creates(of) else ("Conflict",)
    if found.get("reason") not in (None, *reasons):
        return f"a Status of reason {_shown(found['reason'])}"
    details = found.get("details")
    details = details if isinstance(details, dict) else {}
    kinds = (of.plural, f"{of.plural}/{of.sub}", KINDS.get(of.plural), of.kind)
    kind, name = details.get("kind"), details.get("name")
    if (
        status == 404
        and kind == "namespaces"
        and name == of.namespace
        and (_creates(of) or of.method == "PUT")
    ):
        return None  # nothing can be created without the namespace
    if kind is not None and kind not in kinds:
        return f"a Status about {_shown(kind)}"
    if name is not None and of.name and name != of.name:
        return f"a Status about {_shown(name)}"
    if of.name and name is None and f'"{of.name}"' not in str(found.get("message")) and not _generic(of):
        return "a Status that does not name it"
    return None


def _generic(of: RequestInfo) -> bool:
    """For an unknown custom kind the server's Status has no name."""
    return of.plural in _CUSTOM


def _creates(of: RequestInfo) -> bool:
    return of.method == "POST" and not of.sub


def _list(of: RequestInfo, body: dict[str, Any]) -> None:
    if body.get("kind") != f"{of.kind}List":
        raise NotTheApi(f"{of}: {_shown(body.get('kind'))}, not a {of.kind}List")
    items = body.get("items")
    if not isinstance(items, list):
        raise NotTheApi(f"{of}: a list without items")
    meta = body.get("metadata")
    if isinstance(meta, dict) and not isinstance(meta.get("continue", ""), str):
        raise NotTheApi(f"{of}: a list whose metadata.continue is not a text")
    every = RequestInfo(of.method, of.path, of.plural, "", "", of.namespace)
    for item in items:
        if not isinstance(item, dict):
            raise NotTheApi(f"{of}: an item that is not an object")
        _object(every, item)


def _object(of: RequestInfo, body: dict[str, Any]) -> None:
    """Checks the members that are read of an object of this kind; its name only where one was requested."""
    meta = body.get("metadata")
    if not isinstance(meta, dict):
        raise NotTheApi(f"{of}: a {of.kind} without metadata")
    for member in ("name", "uid", "resourceVersion"):
        if not isinstance(meta.get(member), str) or not meta[member]:
            raise NotTheApi(f"{of}: a {of.kind} without metadata.{member}")
    if of.name and meta["name"] != of.name:
        raise NotTheApi(f"{of}: the {of.kind} {_shown(meta['name'])}, which was not requested")
    if of.namespace and meta.get("namespace") != of.namespace:
        raise NotTheApi(f"{of}: a {of.kind} of the namespace {_shown(meta.get('namespace'))}")
    for member in _MAY_BE_ABSENT.get(of.kind, ()):
        body.setdefault(member, {})
    for member in ("spec", "status"):
        if member in body and not isinstance(body[member], dict):
            raise NotTheApi(f"{of}: a {of.kind} whose {member} is not an object")
    if of.kind in ("Deployment", "StatefulSet", "Scale"):
        _replicas(of, body)


def _replicas(of: RequestInfo, body: dict[str, Any]) -> None:
    spec = body.get("spec") or {}
    replicas = spec.get("replicas", 0 if of.kind == "Scale" else None)  # a Scale leaves it out at zero
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise NotTheApi(f"{of}: a {of.kind} without a number of replicas")
    if of.kind != "Scale" and not isinstance(spec.get("selector"), dict):
        raise NotTheApi(f"{of}: a {of.kind} without a selector")


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)[:60]
