"""The health url of a tier, or of the gateway: up, down or unknown.

Shared by the watch during a run, the plan, the warm-up and the analysis.
"""

from dataclasses import dataclass

from contract import gateways, page
from contract.endpoint import headers_of
from contract.framing import Exchange
from contract.outcome import redirected
from contract.records import GATEWAY
from contract.topology import Server, Topology

TIMEOUT_S = 0.9
"""Limit of one check: a slower page does not show whether the tier serves now."""


@dataclass(frozen=True, slots=True)
class HealthUrl:
    """A health url, its owner (a tier's name, or the gateway), and the server whose key, headers and authority it uses."""

    name: str
    url: str
    server: Server

    def headers(self) -> dict[str, str]:
        """The headers to send. Raises Refusal if a value is not in the environment."""
        return headers_of(self.server)


def urls_of(topology: Topology) -> list[HealthUrl]:
    """All health urls of the topology; the tiers first, in their order."""
    parts: list[tuple[str, str | None, Server]] = [(t.name, t.health, t) for t in topology.tiers]
    parts.append((GATEWAY, topology.gateway.health, topology.gateway))
    return [HealthUrl(name, url, server) for name, url, server in parts if url]


def check(of: HealthUrl, headers: dict[str, str], within_s: float = TIMEOUT_S) -> Exchange:
    """Send one request. Redirects are not followed."""
    return page.get(of.url, within_s, headers, of.server.ca_file)


def up(status: int | None) -> bool | None:
    """True for a status 2xx; False for a status 5xx, or if no response came; None, unknown, for every other status.

    A 401, a 404 or a redirect is about this url and not about the engine: it does not show whether the engine serves.
    """
    if status is None:
        return False
    if 200 <= status < 300:
        return True
    return False if status >= 500 else None


def wrong(of: HealthUrl, exchange: Exchange) -> str | None:
    """What is wrong with a health url, and the correction, as a sentence; None: it reports up."""
    status, where = exchange.status, page.shown(of.url)
    if up(status):
        return None
    if status is None:
        return f"its health url {where} does not answer: {exchange.error or 'no response'}"
    answer = f"its health url {where} answers {status}"
    if status >= 500:
        return f"{answer}: it reports that it is not healthy"
    if status in (401, 403):
        key = (
            "set api_key: ${NAME}"
            if of.server.api_key is None
            else f"the key in {of.server.api_key} is not accepted there"
        )
        return f"{answer}: {key}; until then its health is unknown"
    to = redirected(status, exchange.headers.get("location"))
    if 300 <= status < 400:
        return f"{answer}{to}: set the url that answers; until then its health is unknown"
    return f"{answer}: set a page that answers 200 while it serves ({_pages()}); until then its health is unknown"


def _pages() -> str:
    of_gateways = (f"{kind.title}: {kind.health}" for kind in gateways.every() if kind.health)
    return ", ".join(["vLLM, llama.cpp: /health", "Ollama: /api/tags", *of_gateways])
