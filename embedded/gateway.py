"""A real LiteLLM proxy before the embedded engines: its configuration pointed at them, its settings for no network."""

import sys
from pathlib import Path
from typing import Any

from contract.refusal import Refusal
from contract.strict import read_yaml
from contract.topology import Topology

# Offline: no price list, no telemetry, no admin page is fetched.
ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "DISABLE_ADMIN_UI": "True",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
READY = "/health/readiness"
TERMINATION_GRACE_S = 5


def configuration(path: Path, topology: Topology, urls: dict[str, str]) -> dict[str, Any]:
    """The configuration with each api_base pointed at the engine of its group; `urls`: tier → base url."""
    config = read_yaml(path)
    groups = {t.match.group: t.name for t in topology.tiers}
    for entry in config.get("model_list", ()):
        tier = groups.get(entry.get("model_name"))
        if tier is None or tier not in urls:
            raise Refusal(f"{path}: model_name {entry.get('model_name')!r} is no group of an embedded tier")
        params = entry["litellm_params"]
        params["api_base"] = urls[tier] + ("/v1" if str(params.get("api_base", "")).endswith("/v1") else "")
    return config


def command(config: Path, port: int) -> list[str]:
    """The proxy's command line. Raises Refusal where its virtual environment is missing."""
    program = Path(__file__).parent.parent / ".venv-gateway" / "bin" / "litellm"
    if not program.exists():
        raise Refusal(f"{program} is missing: run make setup")
    return [
        sys.executable, "-c", _EXEC, str(program),
        "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1",
    ]  # fmt: skip


# The harness's PYTHONPATH and virtual environment are not the gateway's.
_EXEC = (
    "import os, sys; [os.environ.pop(k, None) for k in ('PYTHONPATH', 'VIRTUAL_ENV')]; "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
