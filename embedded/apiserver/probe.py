"""The readiness probe of a container: an HTTP GET on 127.0.0.1 that succeeds with a status of 200 to 399 in time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from embedded.apiserver.pod import ADDRESS

# A kubelet's default is 10 s; experiments on an embedded stack measure tenths of a second. It is not a field of the
# probe, because those are whole seconds: the client libraries reject anything else.
PERIOD_S = 0.1


@dataclass(frozen=True)
class Probe:
    """A readinessProbe.httpGet; other kinds of probe are not supported."""

    port: int
    path: str
    initial_delay_s: float
    period_s: float
    timeout_s: float
    failures: int
    successes: int

    @classmethod
    def of(cls, container: dict[str, Any], period_s: float = PERIOD_S) -> Probe | None:
        """`period_s` applies if the probe has no periodSeconds."""
        probe = container.get("readinessProbe") or {}
        get = probe.get("httpGet")
        if get is None:
            return None
        port = get["port"]
        if isinstance(port, str):
            port = next(p["containerPort"] for p in container.get("ports") or [] if p.get("name") == port)
        return cls(
            port,
            get.get("path", "/"),
            probe.get("initialDelaySeconds", 0),
            probe.get("periodSeconds", period_s),
            probe.get("timeoutSeconds", 1),
            probe.get("failureThreshold", 3),
            probe.get("successThreshold", 1),
        )

    async def answers(self) -> bool:
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._get()
        except (OSError, TimeoutError, ValueError, IndexError):
            return False

    async def _get(self) -> bool:
        reader, writer = await asyncio.open_connection(ADDRESS, self.port)
        try:
            head = f"GET {self.path} HTTP/1.1\r\nHost: {ADDRESS}:{self.port}\r\n"
            writer.write(f"{head}User-Agent: kube-probe/1.36\r\nConnection: close\r\n\r\n".encode())
            line = await reader.readline()
            return 200 <= int(line.split()[1]) < 400
        finally:
            writer.close()
