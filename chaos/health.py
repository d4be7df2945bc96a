"""Once a second: does each tier, and the gateway, answer its health url?"""

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from chaos.stop import Stop
from contract.clock import Clock
from contract.records import GATEWAY, Health
from contract.topology import Topology
from contract.trust import client_context

EVERY_S = 1.0
TIMEOUT_S = 0.9


@dataclass(frozen=True, slots=True)
class Watched:
    """A health url, and whose it is: a tier's, or the gateway's."""

    name: str
    url: str
    ca_file: str | None = None


def watched(topology: Topology) -> list[Watched]:
    """All that the topology gives a health url."""
    gateway = topology.gateway
    found = [Watched(t.name, t.health, t.ca_file) for t in topology.tiers if t.health]
    return found + ([Watched(GATEWAY, gateway.health, gateway.ca_file)] if gateway.health else [])


class HealthWatch:
    """A thread for each; `keep` gets each row, `up` holds the last answers."""

    def __init__(self, of: list[Watched], clock: Clock, keep: Callable[[Health], None]) -> None:
        self._clock, self._keep = clock, keep
        self._over = Stop()
        self.up: dict[str, bool | None] = {}
        self._threads = [
            threading.Thread(
                target=self._watch, args=(w.name, w.url, w.ca_file), name=f"health {w.name}", daemon=True
            )
            for w in of
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set("stopped")
        for thread in self._threads:
            thread.join(2 * TIMEOUT_S)

    def _watch(self, tier: str, url: str, ca_file: str | None) -> None:
        due = self._clock.now()
        while not self._over.is_set():
            late_s = self._clock.now() - due
            if late_s > EVERY_S:  # we were held up: for those seconds nothing is known
                self._keep(Health(at=due, tier=tier, up=None))
                due = self._clock.now()
            row = check(tier, url, self._clock, ca_file)
            self.up[tier] = row.up
            self._keep(row)
            due += EVERY_S
            self._over.wait(due - self._clock.now())


def check(tier: str, url: str, clock: Clock, ca_file: str | None = None) -> Health:
    """Ask once. Up is status 200."""
    at = clock.now()
    parts = urlsplit(url)
    began = time.monotonic()
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    try:
        if parts.scheme == "https":
            context = client_context(ca_file)
            connection = http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT_S, context=context)
        connection.request("GET", parts.path or "/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return Health(at=at, tier=tier, up=False)
    finally:
        connection.close()
    return Health(
        at=at, tier=tier, up=status == 200, status=status, latency_ms=(time.monotonic() - began) * 1000
    )
