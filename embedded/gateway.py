"""A real LiteLLM proxy in front of the embedded engines: its configuration with their URLs, its settings for offline use."""

import sys
from pathlib import Path
from typing import Any

from contract.refusal import Refusal
from contract.strict import read_yaml
from contract.topology import Tier, Topology

# Offline: fetches no price list and no admin page, sends no telemetry.
ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "DISABLE_ADMIN_UI": "True",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
READY = "/health/readiness"
ALIVE = "/health/liveliness"
TERMINATION_GRACE_S = 5


def configuration(path: Path, topology: Topology, urls: dict[str, str]) -> dict[str, Any]:
    """The configuration with each api_base set to the engine of its tier; `urls`: tier → base URL. Raises Refusal.

    An entry belongs to the tier whose match names its model_name and api_base.
    """
    config = read_yaml(path)
    found = set()
    for entry in config.get("model_list", ()):
        group, params = entry.get("model_name"), entry["litellm_params"]
        tier = topology.tier_of(group, params.get("api_base"))
        if tier is None or tier not in urls:
            several = any(t.match.group == group for t in topology.tiers)
            what = f"with api_base {params.get('api_base')!r} " if several else ""
            raise Refusal(f"{path}: model_name {group!r} {what}is not the group of an embedded tier")
        _same_order(f"{path}: model_name {group!r}", entry, topology.tier(tier))
        found.add(tier)
        params["api_base"] = placed(params.get("api_base"), urls[tier])
    for missing in (t for t in topology.tiers if t.match.api_base and t.name not in found):
        raise Refusal(f"{path}: has no entry for tier {missing.name!r} ({missing.match.describe()})")
    return config


def _same_order(where: str, entry: dict[str, Any], tier: Tier) -> None:
    """LiteLLM reads the order from litellm_params, else from model_info."""
    if not tier.match.of_several:
        return  # an order ranks the deployments of one group; it has no effect on a single deployment
    order = entry["litellm_params"].get("order", (entry.get("model_info") or {}).get("order"))
    if order != tier.match.order:
        raise Refusal(
            f"{where} has order {order}, and tier {tier.name!r} has order {tier.match.order}; give both the same"
        )


def placed(api_base: str | None, url: str) -> str:
    """`url` in the form of the configured api_base: with /v1 where that has it."""
    return url + ("/v1" if (api_base or "").rstrip("/").endswith("/v1") else "")


def command(config: Path, port: int, pidfile: Path) -> list[str]:
    """The proxy's command line. Raises Refusal if its virtual environment is missing."""
    program = Path(__file__).parent.parent / ".venv-gateway" / "bin" / "litellm"
    if not program.exists():
        raise Refusal(f"{program} is missing: run make setup")
    return [
        sys.executable, "-c", _EXEC, str(pidfile), str(program),
        "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1",
    ]  # fmt: skip


# Removes the harness's PYTHONPATH and virtual environment, and writes the pidfile, which LiteLLM does not.
_EXEC = (
    "import os, sys; [os.environ.pop(k, None) for k in ('PYTHONPATH', 'VIRTUAL_ENV')]; "
    "open(sys.argv[1] + '.new', 'w').write(str(os.getpid())); os.chmod(sys.argv[1] + '.new', 0o644); os.rename(sys.argv[1] + '.new', sys.argv[1]); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)
