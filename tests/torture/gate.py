"""Holds one request before the API server handles it, so that a test can kill or freeze its sender meanwhile."""

import asyncio
import json
import re
import threading
from collections.abc import Callable
from typing import Any

from aiohttp import web

SCALE = r"/deployments/vllm-server/scale$"
MOMENTS: dict[str, Callable[[str, str, dict[str, Any]], bool]] = {
    # In the order of a step: the target is read, its record written, its Lease taken, the inject sent, …
    "before the record": lambda method, path, _: (
        method == "GET" and path.endswith("/deployments/vllm-server")
    ),
    "after the record": lambda method, path, _: method == "POST" and path.endswith("/leases"),
    "mid-inject": lambda method, path, body: method == "PATCH" and replicas(body) == 0,
    "mid-restore": lambda method, path, body: method == "PATCH" and bool(replicas(body)),
    "after": lambda method, path, _: method == "DELETE" and "/leases/" in path,
}


def replicas(body: dict[str, Any]) -> int | None:
    found = body.get("spec", {}).get("replicas")
    return found if isinstance(found, int) else None


class Gate:
    """A middleware: the first request that fits waits until `open`, and is then delivered even if its sender died."""

    def __init__(self, fits: Callable[[str, str, dict[str, Any]], bool], delay_s: float = 0.0) -> None:
        self._fits, self._delay_s = fits, delay_s
        self.reached = threading.Event()
        self._opened = threading.Event()
        self.delivered = threading.Event()

    def open(self) -> None:
        self._opened.set()

    async def __call__(self, request: web.Request, handler: Any) -> Any:
        if self.reached.is_set() or not self._fits(request.method, request.path, await body_of(request)):
            return await handler(request)
        self.reached.set()

        async def later() -> Any:
            try:
                while not self._opened.is_set():
                    await asyncio.sleep(0.005)
                await asyncio.sleep(self._delay_s)
                return await handler(request)
            finally:
                self.delivered.set()

        return await asyncio.shield(asyncio.ensure_future(later()))  # the sender's death does not cancel it


async def body_of(request: web.Request) -> dict[str, Any]:
    """The JSON object that a write carries; aiohttp keeps the bytes for the handler."""
    try:
        found = json.loads(await request.read() or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def api_error(
    kind: str, fits: Callable[[str, str, dict[str, Any]], bool], times: int, touch: Callable[[], None]
) -> Any:
    """A middleware: the first `times` requests that fit get this kind of error. `touch`: writes the target, for a conflict."""
    left = [times]

    async def middleware(request: web.Request, handler: Any) -> Any:
        if not left[0] or not fits(request.method, request.path, await body_of(request)):
            return await handler(request)
        left[0] -= 1
        match kind:
            case "409":
                # Another client wrote first: the version that the write names is old.
                await asyncio.to_thread(touch)
                return await handler(request)
            case "429":
                return _status(429, "TooManyRequests", {"Retry-After": "1"})
            case "500":
                return _status(500, "InternalError", {})
            case "502":
                return web.Response(status=502, text="<html>502 Bad Gateway</html>", content_type="text/html")
            case "dropped after":
                await handler(request)
            case "hangs":
                await asyncio.sleep(10)
                return await handler(request)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return middleware


def gone(request_seen: threading.Event) -> Any:
    """A middleware: no request gets an answer any more."""

    async def middleware(request: web.Request, handler: Any) -> Any:
        request_seen.set()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return middleware


def _status(code: int, reason: str, headers: dict[str, str]) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
    return web.json_response(body, status=code, headers=headers)


SCALE_PATH = re.compile(SCALE)


def patch_of_scale(method: str, path: str, body: dict[str, Any]) -> bool:
    return method == "PATCH" and bool(SCALE_PATH.search(path))


def any_scale(method: str, path: str, body: dict[str, Any]) -> bool:
    return bool(SCALE_PATH.search(path))
