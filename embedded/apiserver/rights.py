"""Authentication and authorization: bearer tokens with RBAC rules. Pure: a request's attributes in, a bool out."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from embedded.apiserver.errors import ApiError, qualified


@dataclass(frozen=True)
class Rule:
    """One rule of a Role (with its namespace) or of a ClusterRole (namespace None: all namespaces)."""

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...]
    resources: tuple[str, ...]
    resource_names: tuple[str, ...] = ()
    namespace: str | None = None


@dataclass(frozen=True)
class Identity:
    """A bearer token, its user name, and that user's rules."""

    user: str
    token: str
    rules: tuple[Rule, ...] = ()
    admin: bool = False
    ends_at: float | None = None  # in unix seconds; from then on the token is refused


@dataclass(frozen=True)
class Attributes:
    """A request's attributes for authorization; `name` is empty if the request names no object."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


ANONYMOUS = Identity("system:anonymous", "")


def rules_of(role: dict[str, Any], namespace: str | None = None) -> tuple[Rule, ...]:
    """The rules of a Role or ClusterRole manifest, so that the shipped Roles can be tested here."""
    return tuple(
        Rule(
            tuple(rule["verbs"]),
            tuple(rule.get("apiGroups", ())),
            tuple(rule.get("resources", ())),
            tuple(rule.get("resourceNames", ())),
            namespace,
        )
        for rule in role["rules"]
    )


def web_token(user: str, ends_at: float) -> str:
    """A token as the API server issues it to a service account, with a readable expiry. Every call returns another token."""
    claims = {"sub": user, "exp": int(ends_at), "jti": secrets.token_hex(8)}
    parts = ({"alg": "RS256", "typ": "JWT"}, claims, secrets.token_hex(16))
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)


def authenticate(
    identities: Iterable[Identity], authorization: str | None, now: float = 0.0
) -> Identity | None:
    """The identity of an Authorization header: ANONYMOUS without a header, None for an unknown or expired token (a real API
    server accepts it for one minute more)."""
    if authorization is None:
        return ANONYMOUS
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = token.strip()
    for identity in identities:
        if hmac.compare_digest(identity.token.encode(), token.encode()):
            return None if identity.ends_at is not None and now >= identity.ends_at else identity
    return None


def allowed(identity: Identity, attributes: Attributes) -> bool:
    """A rule with resource names allows only requests with a name: no create, no list without a fieldSelector."""
    if identity.admin:
        return True
    if attributes.resource == "selfsubjectaccessreviews" and attributes.verb == "create":
        return identity is not ANONYMOUS
    return any(_covers(rule, attributes) for rule in identity.rules)


def _covers(rule: Rule, attributes: Attributes) -> bool:
    return (
        (rule.namespace is None or rule.namespace == attributes.namespace)
        and bool({"*", attributes.verb} & set(rule.verbs))
        and bool({"*", attributes.group} & set(rule.api_groups))
        and bool(_words_for(attributes) & set(rule.resources))
        and (not rule.resource_names or attributes.name in rule.resource_names)
    )


def _words_for(attributes: Attributes) -> set[str]:
    anything = {f"*/{attributes.subresource}"} if attributes.subresource else set()
    return {"*", attributes.full_resource} | anything


def forbidden(identity: Identity, attributes: Attributes) -> ApiError:
    subject = qualified(attributes.resource, attributes.group) + (
        f' "{attributes.name}"' if attributes.name else ""
    )
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    message = (
        f'{subject} is forbidden: User "{identity.user}" cannot {attributes.verb} resource '
        f'"{attributes.full_resource}" in API group "{attributes.group}" {where}'
    )
    about = {"name": attributes.name, "group": attributes.group, "kind": attributes.resource}
    return ApiError(403, message, "Forbidden", {key: value for key, value in about.items() if value})


def forbidden_path(identity: Identity, verb: str, path: str) -> ApiError:
    message = f'forbidden: User "{identity.user}" cannot {verb} path "{path}"'
    return ApiError(403, message, "Forbidden", {})


def review(identity: Identity, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a SelfSubjectAccessReview; only resourceAttributes are evaluated."""
    spec = body.get("spec")
    attributes = (spec if isinstance(spec, dict) else {}).get("resourceAttributes") or {}
    attributes = Attributes(
        attributes.get("verb", ""),
        attributes.get("group", ""),
        attributes.get("resource", ""),
        attributes.get("subresource", ""),
        attributes.get("namespace", ""),
        attributes.get("name", ""),
    )
    status: dict[str, Any] = {"allowed": allowed(identity, attributes)}
    if status["allowed"] and not identity.admin:
        status["reason"] = f"allowed by a rule given to {identity.user}"
    return {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": spec or {},
        "status": status,
    }
