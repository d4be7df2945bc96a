"""Once a second: does each tier, and the gateway, answer its health url?"""

import threading
from collections.abc import Callable

from chaos.stop import Stop
from contract import health
from contract.clock import Clock
from contract.health import HealthUrl
from contract.records import Health

EVERY_S = 1.0


class HealthWatch:
    """A thread for each; `keep` gets each row, `up` holds the last answers."""

    def __init__(self, of: list[HealthUrl], clock: Clock, keep: Callable[[Health], None]) -> None:
        """Raises Refusal where a key is not in the environment."""
        self._clock, self._keep = clock, keep
        self._over = Stop()
        self.up: dict[str, bool | None] = {}
        self._threads = [
            threading.Thread(
                target=self._watch, args=(url, url.headers()), name=f"health {url.name}", daemon=True
            )
            for url in of
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set("stopped")
        for thread in self._threads:
            thread.join(2 * health.TIMEOUT_S)

    def _watch(self, of: HealthUrl, headers: dict[str, str]) -> None:
        due = self._clock.now()
        while not self._over.is_set():
            late_s = self._clock.now() - due
            if late_s > EVERY_S:  # we were held up: for those seconds nothing is known
                self._keep(Health(at=due, tier=of.name, up=None))
                due = self._clock.now()
            row = check(of, headers, self._clock)
            self.up[of.name] = row.up
            self._keep(row)
            due += EVERY_S
            self._over.wait(due - self._clock.now())


def check(of: HealthUrl, headers: dict[str, str], clock: Clock) -> Health:
    """One request, as a row of health.arrow."""
    at = clock.now()
    exchange = health.check(of, headers)
    took_ms = None
    if exchange.sent_at is not None and exchange.headers_at is not None:
        took_ms = (exchange.headers_at - exchange.sent_at) * 1000
    return Health(
        at=at, tier=of.name, up=health.up(exchange.status), status=exchange.status, latency_ms=took_ms
    )
