"""A kubeconfig for the embedded cluster, so that kubectl and the client libraries find it."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path


def write(
    path: Path, url: str, token: str, namespace: str = "default", authority: Path | None = None
) -> None:
    """Writes JSON, which is YAML. `authority`: the certificate of an https URL.

    The file has mode 0600 from the start, because it holds a token; an older file is replaced atomically."""
    name = "brownout-embedded"
    cluster = {"server": url}
    if authority is not None:
        cluster["certificate-authority-data"] = base64.b64encode(authority.read_bytes()).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    }
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
    part.replace(path)
