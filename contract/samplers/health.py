"""Once a second, whether each tier, and the gateway, answers its health url."""

from dataclasses import dataclass
from functools import partial

from contract import health
from contract.clock import Clock
from contract.health import HealthUrl
from contract.records import Int16
from contract.sampler import Given, Process, Sampler, Source


@dataclass(slots=True)
class Health:
    """One row: whether this tier's health url answered."""

    at: float
    tier: str
    up: bool | None  # None: unknown, the watch itself was late
    status: Int16 | None = None
    latency_ms: float | None = None


def check(of: HealthUrl, headers: dict[str, str], clock: Clock) -> list[Health]:
    """One request, as a row."""
    at = clock.now()
    exchange = health.check(of, headers)
    took_ms = None
    if exchange.sent_at is not None and exchange.headers_at is not None:
        took_ms = (exchange.headers_at - exchange.sent_at) * 1000
    return [Health(at, of.name, health.up(exchange.status), exchange.status, took_ms)]


def _unknown(tier: str, due: float) -> list[Health]:
    return [Health(due, tier, up=None)]


def _sources(given: Given) -> list[Source]:
    """Raises Refusal if a key is not in the environment."""
    return [
        Source(of.name, partial(check, of, of.headers(), given.clock), partial(_unknown, of.name))
        for of in health.urls_of(given.topology)
    ]


SAMPLER = Sampler(Health, every_s=1.0, process=Process.CHAOS, sources=_sources)
