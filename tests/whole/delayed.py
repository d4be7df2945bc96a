"""A proxy that delays what a client sends by so many milliseconds; answers come back at once.

    python -m tests.whole.delayed 4000 50      prints its port; it forwards to port 4000

A separate process, so that no other work delays it. It ends with its standard input.
"""

import asyncio
import sys

AT_ONCE = 1 << 16


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """The bytes of a request are delayed together: they were sent in one piece."""
    try:
        while data := await reader.read(AT_ONCE):
            if delay_s:
                await asyncio.sleep(delay_s)
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # one end left: so does the other
    finally:
        writer.close()


async def serve(port: int, delay_s: float) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, there[1], delay_s), _pump(there[0], writer, 0.0))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    try:
        asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
    except KeyboardInterrupt:
        pass
