"""Kubeconfigs for tests: files that the real client reads, and the accounts in them."""

import json
import sys
from pathlib import Path
from typing import Any

from chaos.kube import credentials

HOUR = 3600.0


def kubeconfig(
    path: Path, user: dict[str, Any], url: str = "https://127.0.0.1:1", name: str = "k", **cluster: Any
) -> Path:
    document = {
        "clusters": [{"name": name, "cluster": {"server": url, **cluster}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }  # fmt: skip
    replace(path, json.dumps(document))
    return path


def replace(path: Path, text: str) -> None:
    """Replaced atomically, as rotation tools do it."""
    (path.parent / "part").write_text(text)
    (path.parent / "part").replace(path)


def plugin(folder: Path, status: str) -> dict[str, Any]:
    """An exec plugin that prints what is in a file, and notes that it was called."""
    (folder / "status").write_text(status)
    script = (
        "import json, sys; print(json.dumps({'kind': 'ExecCredential', 'apiVersion': 'client.authentication.k8s.io/v1',"
        "'status': json.load(open(sys.argv[1]))})); open(sys.argv[1] + '.calls', 'a').write('.')"
    )
    arguments = ["-S", "-c", script, str(folder / "status")]
    return {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": arguments}


def data(path: Path) -> str:
    return credentials.base64.b64encode(path.read_bytes()).decode()
