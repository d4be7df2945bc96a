"""Refuses an environment that names a proxy for a host of the topology.

The harness connects directly. The operator's other clients, and a gateway started in the same environment, would use the
proxy, which hides outages and buffers streams. So the environment is refused, not ignored.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from contract.refusal import Refusal
from contract.topology import Topology

# Of an embedded stack, to which a proxy applies as to any other host.
_LOOPBACK = "http://127.0.0.1"


def refuse(topology: Topology, environment: Mapping[str, str]) -> None:
    """Raises Refusal, one line for each place. The proxy's value is not shown: it may have a password."""
    lines = []
    for where, url in _urls(topology):
        name = applying(url, environment)
        if name is not None:
            host = urlsplit(url).hostname
            lines.append(
                f"{where}: {name} is set, and names a proxy for {host}; unset it, or put {host} into NO_PROXY: "
                "a proxy would hide outages and hold streams back"
            )
    if lines:
        raise Refusal("\n".join(dict.fromkeys(lines)))


def applying(url: str, environment: Mapping[str, str]) -> str | None:
    """The variable that names a proxy for this url, by the rules of curl and Python: the first one that is set."""
    parts = urlsplit(url)
    for variable in (f"{parts.scheme}_proxy", "all_proxy"):
        for name in (variable, variable.upper()):
            if environment.get(name):
                exempt = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
                return None if _exempt(parts.hostname or "", parts.port, exempt) else name
    return None


def _urls(topology: Topology) -> Iterator[tuple[str, str]]:
    if topology.embedded is not None:
        yield "the embedded stack", _LOOPBACK
    for url in (topology.gateway.url, topology.gateway.health):
        if url is not None:
            yield "gateway", url
    for tier in topology.tiers:
        for url in (tier.url, tier.health):
            if url is not None:
                yield f"tier {tier.name!r}", url


def _exempt(host: str, port: int | None, no_proxy: str) -> bool:
    """`no_proxy`: names, each with its subdomains, with or without a port; addresses and networks; * for all."""
    for entry in (e.strip().lower() for e in no_proxy.split(",")):
        name, _, named_port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        if not entry or (named_port and named_port != str(port)):
            continue
        name = name.removeprefix("*").removeprefix(".")
        if entry == "*" or (name and (host == name or host.endswith(f".{name}"))) or _within(host, name):
            return True
    return False


def _within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False  # one of them is a host name
