"""What an answer of the Kubernetes API is worth: whose word it is, and whether it is what was asked for. Pure.

Between us and the API server stand proxies, ingresses and load balancers, and they answer, too: with pages, with JSON of
their own, with a part of an answer. A refusal is the API server's own where it is a `Status` about what was asked for;
an object is one where its kind and its name are those that were asked for. All else is `NotTheApi`: an error of the
world, after which the same is asked again. "It is gone" is never read out of it.
"""

import json
from dataclasses import dataclass
from typing import Any

import urllib3
from kubernetes.client.exceptions import ApiException

# What a caller that must not give up catches, and then tries again. The client raises its own exception for a refusal,
# urllib3's for no answer, and ValueError for what it cannot read.
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
    "horizontalpodautoscalers": "HorizontalPodAutoscaler",
    "scaledobjects": "ScaledObject",
    "inferenceservices": "InferenceService",
    "selfsubjectaccessreviews": "SelfSubjectAccessReview",
}
_CUSTOM = ("scaledobjects", "inferenceservices")
_SUBRESOURCES = {"scale": "Scale", "eviction": "Eviction"}
# A member that the API server may leave out where there is nothing in it, and that is read here.
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
    """The API server's own refusal. Its text is one line: the client's own has every header in it."""

    def __init__(self, status: int, refusal: dict[str, Any], headers: Any, more: str = "") -> None:
        super().__init__(status=status, reason=refusal.get("reason"))
        self.body, self.headers = json.dumps(refusal), headers
        said = refusal.get("message")  # a Status need not have one
        self.message = line(f"{said or f'{status} {self.reason}'}{more}")

    def __str__(self) -> str:
        return self.message


def gone(error: ApiException) -> bool:
    """Whether it says that what the request is about is not there. A webhook denies with any code, 404 and 409 too."""
    return error.status == 404 and not denies(error)


def conflict(error: ApiException) -> bool:
    """Whether it says that somebody was faster."""
    return error.status == 409 and not denies(error)


def denies(error: ApiException) -> bool:
    """Whether a webhook has denied the request, by the words that the API server puts around the webhook's own."""
    return _DENIED in str(error)


class NotTheApi(urllib3.exceptions.HTTPError):
    """An answer that is not the API server's, or not to what was asked. `no_such_page`: as servers written in Go, the
    API server among them, say that they do not know a path."""

    def __init__(self, why: str, no_such_page: bool = False) -> None:
        super().__init__(line(why))
        self.no_such_page = no_such_page


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """What a request is about, as its path has it; `plural` is empty where it is about no resource."""

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
    """`path` from the server's root on, without the query. What is created is named in the body."""
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
    """What an answer that is no success is raised as."""
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
    """The object, the list or the success that was asked for. Raises NotTheApi."""
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


def event(of: RequestInfo, name: str, text: bytes) -> dict[str, Any]:
    """One line of a watch of the object of this name. Raises NotTheApi."""
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
    """Whether it says that the cluster does not have this custom kind, or no object of the name.

    The API server itself answers "404 page not found" for a group that is not installed: so could a proxy. It is
    believed here alone, where nothing but words of a plan rests on it.
    """
    if isinstance(error, NotTheApi):
        return error.no_such_page
    return isinstance(error, ApiException) and error.status == 404


def error_text(error: Exception) -> str:
    """What went wrong, in a line: the API server's own words where it has said some."""
    if isinstance(error, ApiError):
        return f"API server: {error}"[:_LINE]
    return line(f"{type(error).__name__}: {error}")


def line(text: str) -> str:
    """Foreign text as one short line, without what a terminal would act on."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))[:_LINE]


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _not_about(of: RequestInfo, status: int, found: dict[str, Any]) -> str | None:
    """Why a Status is no refusal of this very request, in words."""
    if found.get("status") == "Success":
        return "a Status of success"
    if found.get("code") not in (None, status):
        return f"a Status of code {_shown(found['code'])}"
    if status not in (404, 409) or _DENIED in str(found.get("message")):
        return None
    # These two alone are acted upon, as "it is gone" and "somebody was faster".
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
        return None  # nothing can be created where there is no namespace
    if kind is not None and kind not in kinds:
        return f"a Status about {_shown(kind)}"
    if name is not None and of.name and name != of.name:
        return f"a Status about {_shown(name)}"
    if of.name and name is None and f'"{of.name}"' not in str(found.get("message")) and not _generic(of):
        return "a Status that does not name it"
    return None


def _generic(of: RequestInfo) -> bool:
    """Of a custom kind the server says without a name that it does not know it."""
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
    if isinstance(meta, dict) and meta.get("continue"):
        raise NotTheApi(f"{of}: only a part of the list")
    every = RequestInfo(of.method, of.path, of.plural, "", "", of.namespace)
    for item in items:
        if not isinstance(item, dict):
            raise NotTheApi(f"{of}: an item that is not an object")
        _object(every, item)


def _object(of: RequestInfo, body: dict[str, Any]) -> None:
    """What is read of every object, and of those of some kinds. The name is not looked at where none was asked for."""
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
