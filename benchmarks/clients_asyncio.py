"""Clients on asyncio: the floor, and aiohttp."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import aiohttp

from benchmarks.client import END, WARM_S, Measure, Run, is_token, main


def floor(run: Run) -> None:
    """A bare asyncio.Protocol, no JSON, no HTTP."""

    class Floor(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.WriteTransport)
            self._transport = transport
            self._send()

        def _send(self) -> None:
            self._name, request = run.request()
            self._pieces: list[tuple[float, bytes]] = []
            self._transport.write(request)

        def data_received(self, data: bytes) -> None:
            self._pieces.append((time.monotonic(), data))
            if data.endswith(END):
                run.found.append((self._name, self._pieces[0][0]))
                self._send()

    async def stream() -> None:
        await asyncio.sleep(run.begin_s())
        await asyncio.get_running_loop().create_connection(Floor, run.endpoint.host, run.endpoint.port)

    asyncio.run(_measured(run, stream))


def aiohttp_json(run: Run) -> None:
    """aiohttp, JSON for each event."""

    async def stream() -> None:
        await asyncio.sleep(run.begin_s())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            while True:
                name, headers, body = run.parts()
                first = None
                async with session.post(
                    run.url + "/v1/chat/completions", data=body, headers=headers
                ) as answer:
                    async for line in answer.content:
                        if is_token(line) and first is None:
                            first = time.monotonic()
                assert first is not None
                run.found.append((name, first))

    asyncio.run(_measured(run, stream))


async def _measured(run: Run, stream: Callable[[], Awaitable[None]]) -> None:
    tasks = [asyncio.ensure_future(stream()) for _ in range(run.streams)]
    await asyncio.sleep(WARM_S + run.over_s)
    measure = Measure(run)
    await asyncio.sleep(run.seconds)
    measure.stop()
    measure.print_json()
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    main({"floor": floor, "aiohttp": aiohttp_json})
