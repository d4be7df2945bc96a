"""A real LiteLLM proxy before the embedded engines: its configuration pointed at them, its settings for no network."""

import sys
from pathlib import Path
from typing import Any

from contract.refusal import Refusal
from contract.strict import read_yaml
from contract.topology import Tier, Topology

# Offline: no price list, no telemetry, no admin page is fetched.
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
    """The configuration with each api_base pointed at the engine of its tier; `urls`: tier → base url. Raises Refusal.

    Which entry is whose: by its model_name, and by its api_base, where the tier's match names them.
    """
    config = read_yaml(path)
    found = set()
    for entry in config.get("model_list", ()):
        group, params = entry.get("model_name"), entry["litellm_params"]
        tier = topology.tier_of(group, params.get("api_base"))
        if tier is None or tier not in urls:
            several = any(t.match.group == group for t in topology.tiers)
            what = f"with api_base {params.get('api_base')!r} " if several else ""
            raise Refusal(f"{path}: model_name {group!r} {what}is no group of an embedded tier")
        _same_order(f"{path}: model_name {group!r}", entry, topology.tier(tier))
        found.add(tier)
        params["api_base"] = placed(params.get("api_base"), urls[tier])
    for missing in (t for t in topology.tiers if t.match.api_base and t.name not in found):
        raise Refusal(f"{path}: has no entry for tier {missing.name!r} ({missing.match.describe()})")
    return config


def _same_order(where: str, entry: dict[str, Any], tier: Tier) -> None:
    """As LiteLLM reads it: the parameters' own, else the one of model_info."""
    if not tier.match.of_several:
        return  # an order ranks the deployments of one group: of one alone it says nothing
    order = entry["litellm_params"].get("order", (entry.get("model_info") or {}).get("order"))
    if order != tier.match.order:
        raise Refusal(
            f"{where} has the order {order}, and tier {tier.name!r} the order {tier.match.order}; give both the same"
        )


def placed(api_base: str | None, url: str) -> str:
    """An api_base as it was written, pointed at this url."""
    return url + ("/v1" if (api_base or "").rstrip("/").endswith("/v1") else "")


def command(config: Path, port: int, pidfile: Path) -> list[str]:
    """The proxy's command line. Raises Refusal where its virtual environment is missing."""
    program = Path(__file__).parent.parent / ".venv-gateway" / "bin" / "litellm"
    if not program.exists():
        raise Refusal(f"{program} is missing: run make setup")
    return [
        sys.executable, "-c", _EXEC, str(pidfile), str(program),
        "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1",
    ]  # fmt: skip


# The harness's PYTHONPATH and virtual environment are not the gateway's. It keeps no pidfile itself.
_EXEC = (
    "import os, sys; [os.environ.pop(k, None) for k in ('PYTHONPATH', 'VIRTUAL_ENV')]; "
    "open(sys.argv[1] + '.new', 'w').write(str(os.getpid())); os.rename(sys.argv[1] + '.new', sys.argv[1]); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)
