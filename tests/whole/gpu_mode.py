"""A stand-in for `gpu-mode`: scales the engine of the shared stack to zero and back, and returns later than the Pod goes.

It keeps the mode in a file, and refuses a switch while another is under way. A switch that was killed leaves
`switching` behind, and the next switch succeeds. It imports nothing of the project, so that it starts quickly.
Usage: gpu_mode.py FOLDER gaming|ml|status; FOLDER/cluster.json: the API's url, token and certificate.
"""

import fcntl
import json
import ssl
import sys
import time
import urllib.request
from pathlib import Path

DEPLOYMENT = "/apis/apps/v1/namespaces/ml/deployments/vllm-server"
SLOW_S = 1.5  # after the engine has gone, and before it is scaled up: drivers, displays


def main(folder: Path, word: str) -> int:
    mode = folder / "mode"
    if word == "status":
        print(mode.read_text())
        return 0
    with open(folder / "lock", "a") as lock, open(folder / "log", "a") as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("gpu-mode: a switch is under way", file=sys.stderr)
            print(f"{word} refused", file=log)
            return 3
        print(word, file=log, flush=True)
        _write(mode, "switching")
        cluster = json.loads((folder / "cluster.json").read_text())
        if word == "ml":
            time.sleep(SLOW_S)
        _call(cluster, f"{DEPLOYMENT}/scale", {"spec": {"replicas": 1 if word == "ml" else 0}})
        if word == "gaming":
            while _call(cluster, DEPLOYMENT)["status"].get("replicas"):
                time.sleep(0.05)
            time.sleep(SLOW_S)
        _write(mode, word)
    return 0


def _write(mode: Path, word: str) -> None:
    fresh = mode.with_name("mode.fresh")
    fresh.write_text(word)
    fresh.rename(mode)  # atomic: no reader gets half of it


def _call(cluster: dict, path: str, patch: dict | None = None) -> dict:
    headers = {"Authorization": f"Bearer {cluster['token']}", "Content-Type": "application/merge-patch+json"}
    body = None if patch is None else json.dumps(patch).encode()
    request = urllib.request.Request(cluster["url"] + path, body, headers, method="PATCH" if body else "GET")
    trusted = ssl.create_default_context(cadata=cluster["ca"]) if cluster["ca"] else None
    with urllib.request.urlopen(request, timeout=10, context=trusted) as answer:
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
