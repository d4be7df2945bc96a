"""Signs the records in Leases, so that a right to create Leases is not a right to scale what they name.

HMAC-SHA256 over the whole record and its namespace, with a key from the Secret `brownout-undo-key` of the Lease's namespace, which
only the accounts of controller and reaper may read (deploy/undo-key.yaml). Without the Secret, records are not authenticated.
"""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass

from chaos.kube.answers import forbidden
from chaos.kube.cluster import API_ERRORS, Cluster, api_error_text
from chaos.kube.right import Right
from chaos.undo.journal import Undo

SECRET = "brownout-undo-key"
LEAST_BYTES = 32  # of a key
# A copy of a signed record is accepted for this long after its deadline, on the target of the same uid alone.
PAST_MOST_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one namespace."""

    accepted: tuple[bytes, ...]  # the first one signs
    missing: str = ""  # why there is none

    def sign(self, undo: Undo, namespace: str) -> str | None:
        """The signature of a record, in hexadecimal digits; None: there is no key."""
        return _signature(self.accepted[0], undo, namespace) if self.accepted else None

    def refused(self, undo: Undo, namespace: str, signature: str | None, now: float) -> str | None:
        """Why a record is not acted on; None: it is, or there is no key."""
        if not self.accepted:
            return None
        if signature is None:
            return "its record is not signed"
        own = [_signature(key, undo, namespace).encode() for key in self.accepted]
        if not any(hmac.compare_digest(each, signature.encode("utf-8", "replace")) for each in own):
            return "its record has a wrong signature"
        if now > undo.deadline + PAST_MOST_S:
            return f"its record is more than {PAST_MOST_S / 3600:.0f} h past its deadline: it may be a copy of an old one"
        return None

    def weak(self) -> str | None:
        """Why the signing key must not be used; None: it may, or there is none."""
        if self.accepted and len(self.accepted[0]) < LEAST_BYTES:
            return f"the key in the Secret {SECRET} has {len(self.accepted[0])} bytes; make one of {LEAST_BYTES} random bytes"
        return None


def read(cluster: Cluster, namespace: str) -> Keys:
    """Raises API_ERRORS. Where the account may not read the Secret, there is no key."""
    try:
        found = cluster.secret(namespace, SECRET)
    except API_ERRORS as e:
        if not forbidden(e):
            raise
        return Keys((), api_error_text(e))
    data = (found or {}).get("data") or {}
    accepted = [base64.b64decode(data.get(name) or "") for name in ("key", "previous")]
    if not accepted[0]:
        return Keys((), f"the namespace {namespace} has no Secret {SECRET} with a key")
    return Keys(tuple(key for key in accepted if key))


def right(namespace: str) -> Right:
    """To read the key."""
    return Right("get", "", "secrets", namespace, SECRET)


def _signature(key: bytes, undo: Undo, namespace: str) -> str:
    # As a reader of the JSON gets it: what an older version leaves out, a newer one does not sign.
    signed = {"record": json.loads(undo.in_lease.to_json()), "namespace": namespace}
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, b"brownout undo record\n" + text.encode(), hashlib.sha256).hexdigest()
