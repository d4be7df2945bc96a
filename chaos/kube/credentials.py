"""The credentials for an API server, from a kubeconfig or a Pod's own account: when they expire and what renews them.

| in the kubeconfig | expires | renewed by |
| --- | --- | --- |
| `token` | at its `exp`, if it is a JSON Web Token | never |
| `tokenFile` | not checked | its writer, for example a kubelet |
| `exec`, `auth-provider` with a refresh token | not checked | the plugin, when it is called again |
| `client-certificate`, as a file or as data | at its own date | never |
| a Pod's own account | not checked | the kubelet |

Where several are sent at once, any of them may be the one in use, so the earliest expiry counts.
"""

import base64
import binascii
import json
import math
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

from contract.refusal import Refusal

IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
_SEPARATOR = ":"  # of several files of one kubeconfig
_SOURCES = ("auth-provider", "tokenFile", "exec")  # of a token that is not written in the kubeconfig itself


@dataclass(frozen=True, slots=True)
class Server:
    """The server of a kubeconfig. Two that are equal and `proven` are the same server: TLS has verified it."""

    host: str
    name: str | None  # expected in its certificate, where it differs from the host
    authority: bytes | None  # CA certificates; None: those that the system trusts
    verified: bool

    @property
    def proven(self) -> bool:
        return self.verified and self.host.startswith("https://")


@dataclass(frozen=True, slots=True)
class Credentials:
    settings: client.Configuration  # of the connection, without the authorization
    server: Server
    authorization: str | None  # the header
    certificate: bytes | None  # of the client
    context: str | None  # None: a Pod's own account
    ends_at: float | None  # unix seconds; None: unknown, or it is renewed

    def same_as(self, other: "Credentials") -> bool:
        """Whether both send the same to the API server."""
        return (self.authorization, self.certificate) == (other.authorization, other.certificate)


def absolute(kubeconfig: str | None) -> str | None:
    """The files of a kubeconfig as absolute paths; None: the Pod's own account. By default those of kubectl: $KUBECONFIG, or
    ~/.kube/config."""
    if not kubeconfig:
        kubeconfig = os.environ.get("KUBECONFIG")
        if not kubeconfig and os.environ.get(IN_CLUSTER):
            return None
    named = [p for p in (kubeconfig or "~/.kube/config").split(_SEPARATOR) if p]
    return _SEPARATOR.join(os.path.abspath(os.path.expanduser(p)) for p in named)


def load(kubeconfig: str | None, context: str | None = None) -> Credentials:
    """Read everything again, including plugins. `kubeconfig`: as `absolute` returns it. `context`: used where the kubeconfig has
    it; otherwise the current one. Raises Refusal."""
    settings = client.Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=settings, try_refresh_token=False)
            return _credentials(settings, {}, None)
        return _of_files(settings, kubeconfig, context)
    except Refusal:
        raise
    except Exception as e:  # the client raises arbitrary exceptions for an invalid file
        words = str(e).splitlines()[0] if str(e) else ""
        where = kubeconfig or "of this Pod's own account"
        raise Refusal(f"kubeconfig {where}: cannot be used: {type(e).__name__}: {words}") from None


def _of_files(settings: client.Configuration, kubeconfig: str, context: str | None) -> Credentials:
    merged = KubeConfigMerger(kubeconfig)
    if merged.config is None:
        raise Refusal(f"kubeconfig {kubeconfig}: cannot be used: there is no such file")
    there = {c["name"] for c in merged.config.value["contexts"]}
    loader = KubeConfigLoader(
        config_dict=merged.config,
        active_context=context if context in there else None,
        config_base_path=None,
        config_persister=merged.save_changes,
    )
    name = loader.current_context["name"]
    user = _user(merged.config.value, loader.current_context["context"].get("user"))
    if "tokenFile" in user and "auth-provider" not in user:
        user.pop(
            "token", None
        )  # the file counts, as for kubectl; the Python client has it the other way round
    loader.load_and_set(settings)
    # The client's own renewal reads files in each call, from every thread, and never a tokenFile: we renew instead.
    settings.refresh_api_key_hook = None
    source = next((s for s in _SOURCES if s in user), None)
    if source and _authorization(settings) is None and not settings.cert_file:
        # The client would continue as system:anonymous, which gets 403 for everything and never a 401.
        raise Refusal(f"kubeconfig {kubeconfig}: the {source} of the context {name} gave no credential")
    return _credentials(settings, user, name)


def _user(merged: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    """The user's entry in the merged kubeconfig."""
    for one in merged["users"]:
        if one["name"] == name:
            found = one["user"]
            return getattr(found, "value", found) or {}
    return {}


def _authorization(settings: client.Configuration) -> str | None:
    """The header; versions 36 and 37 of the client store the token under different names."""
    shown: str | None = settings.auth_settings().get("BearerToken", {}).get("value")
    return shown


def _credentials(settings: client.Configuration, user: Mapping[str, Any], context: str | None) -> Credentials:
    authorization = _authorization(settings)
    settings.api_key = {}
    settings.retries = False
    server = Server(
        settings.host.rstrip("/"),
        settings.tls_server_name,
        _content(settings.ssl_ca_cert),
        settings.verify_ssl,
    )
    ends = []
    if authorization is not None and context is not None and not _renewed(user):
        ends.append(token_ends_at(authorization.partition(" ")[2]))
    if "exec" not in user or "client-certificate" in user or "client-certificate-data" in user:
        ends.append(certificate_ends_at(settings.cert_file))
    return Credentials(
        settings=settings,
        server=server,
        authorization=authorization.strip() if authorization else None,
        certificate=_content(settings.cert_file),
        context=context,
        ends_at=min((e for e in ends if e is not None), default=None),
    )


def _renewed(user: Mapping[str, Any]) -> bool:
    """Whether the token in use is renewed, in the order in which the client looks for a token."""
    provider = user.get("auth-provider") or {}
    if provider.get("name") == "gcp":
        return True
    if provider.get("name") == "oidc":
        return bool((provider.get("config") or {}).get("refresh-token"))
    return "tokenFile" in user or ("token" not in user and "exec" in user)


def _content(path: str | None) -> bytes | None:
    return Path(path).read_bytes() if path else None


def token_ends_at(token: str) -> float | None:
    """`exp` of a JSON Web Token, in unix seconds; None: not such a token, or without `exp`."""
    parts = token.strip().split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    except (binascii.Error, ValueError, RecursionError):
        return None
    ends_at = claims.get("exp") if isinstance(claims, dict) else None
    if isinstance(ends_at, bool) or not isinstance(ends_at, int | float) or not math.isfinite(ends_at):
        return None
    return float(ends_at)


def certificate_ends_at(path: str | None) -> float | None:
    """The expiry of a client certificate, in unix seconds; None: there is none."""
    if not path:
        return None
    try:
        # Used by the standard library's own tests; no public function reads the dates of a certificate file.
        found = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
    except (OSError, ssl.SSLError):
        return None
    return ssl.cert_time_to_seconds(found["notAfter"])
