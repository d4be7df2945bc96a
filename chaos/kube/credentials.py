"""What we show an API server: loaded from a kubeconfig, or from a Pod's own account; when it ends, and who renews it.

| in the kubeconfig | ends | renewed by |
| --- | --- | --- |
| `token` | by its own `exp`, where it is a JSON Web Token | nobody |
| `tokenFile` | not for us: whoever writes the file renews it (a kubelet does), which is what a file is named for | its writer |
| `exec`, `auth-provider` with a refresh token | not for us | the plugin, when it is called again |
| `client-certificate`, as a file or as data | by its own date | nobody |
| a Pod's own account | not for us | the kubelet |

Of several that are shown at once each may be the one that counts, so the first end is theirs.
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
    """Which server a kubeconfig leads to. Two that are alike and `proven` are one: TLS has shown it."""

    host: str
    name: str | None  # that its certificate must bear, where it is not the host's
    authority: bytes | None  # the certificates that vouch for it; None: those that the system trusts
    verified: bool

    @property
    def proven(self) -> bool:
        return self.verified and self.host.startswith("https://")


@dataclass(frozen=True, slots=True)
class Credentials:
    settings: client.Configuration  # of the connection; the authorization stands beside it
    server: Server
    authorization: str | None  # the header
    certificate: bytes | None  # of the client
    context: str | None  # None: a Pod's own account
    ends_at: float | None  # unix seconds; None: it does not say, or is renewed

    def same_as(self, other: "Credentials") -> bool:
        """Whether the API server is shown the same by both."""
        return (self.authorization, self.certificate) == (other.authorization, other.certificate)


def absolute(kubeconfig: str | None) -> str | None:
    """The files of a kubeconfig so that they are found from any folder and in any environment; None: the Pod's own
    account. Where none is named it is kubectl's: that of $KUBECONFIG, or ~/.kube/config."""
    if not kubeconfig:
        kubeconfig = os.environ.get("KUBECONFIG")
        if not kubeconfig and os.environ.get(IN_CLUSTER):
            return None
    named = [p for p in (kubeconfig or "~/.kube/config").split(_SEPARATOR) if p]
    return _SEPARATOR.join(os.path.abspath(os.path.expanduser(p)) for p in named)


def load(kubeconfig: str | None, context: str | None = None) -> Credentials:
    """Read everything anew, plugins included. `kubeconfig` as `absolute` gives it; `context`: the one to use, where it is
    there; otherwise the current one. Raises Refusal."""
    settings = client.Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=settings, try_refresh_token=False)
            return _credentials(settings, {}, None)
        return _of_files(settings, kubeconfig, context)
    except Refusal:
        raise
    except Exception as e:  # the client reads a file that is wrong with whatever exception comes up
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
    # The client's own renewal reads files within each call, from every thread, and never a tokenFile: ours does it.
    settings.refresh_api_key_hook = None
    source = next((s for s in _SOURCES if s in user), None)
    if source and _authorization(settings) is None and not settings.cert_file:
        # The client would go on as system:anonymous, which is forbidden everything and never told that it is not known.
        raise Refusal(f"kubeconfig {kubeconfig}: the {source} of the context {name} gave no credential")
    return _credentials(settings, user, name)


def _user(merged: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    """The user's own dictionary, within what the client has read."""
    for one in merged["users"]:
        if one["name"] == name:
            found = one["user"]
            return getattr(found, "value", found) or {}
    return {}


def _authorization(settings: client.Configuration) -> str | None:
    """The header, by whichever name this client keeps the token: 36 and 37 have different ones."""
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
    """Whether somebody renews the token that is shown: in the order in which the client looks for one."""
    provider = user.get("auth-provider") or {}
    if provider.get("name") == "gcp":
        return True
    if provider.get("name") == "oidc":
        return bool((provider.get("config") or {}).get("refresh-token"))
    return "tokenFile" in user or ("token" not in user and "exec" in user)


def _content(path: str | None) -> bytes | None:
    return Path(path).read_bytes() if path else None


def token_ends_at(token: str) -> float | None:
    """`exp` of a JSON Web Token; None where it is none, or does not say."""
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
    """The end of a client certificate; None where there is none."""
    if not path:
        return None
    try:
        # What the standard library uses for its own tests; there is no public function that reads a date of a file.
        found = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
    except (OSError, ssl.SSLError):
        return None
    return ssl.cert_time_to_seconds(found["notAfter"])
