"""A proxy in front of an API server: it forwards requests, or answers with a page of its own."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Page:
    """`length`: Content-Length, where it is more than the body. `delay_s`: before the answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    length: int | None = None
    delay_s: float = 0.0


def as_json(status: int, body: Any) -> Page:
    return Page(status, json.dumps(body).encode())


def status(code: int, reason: str, http: int | None = None, **more: Any) -> Page:
    """A Status object of the API server, or a similar one."""
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "it is not so",
            "reason": reason, "code": code}  # fmt: skip
    return as_json(http or code, body | more)


HTML = b"<html><head><title>Sign in</title></head><body>Sign in</body></html>"
DEPLOYMENT = {
    "kind": "Deployment",
    "apiVersion": "apps/v1",
    "metadata": {"name": "another", "namespace": "ml", "uid": "1", "resourceVersion": "1"},
    "spec": {"replicas": 1, "selector": {}},
}
# None of these is an answer of the API server to a request of chaos.
PAGES = {
    "a plain 404": Page(404, b"404 page not found\n", "text/plain; charset=utf-8"),
    "a 404 of HTML": Page(404, b"<html>Not Found</html>", "text/html"),
    "a 404 of other JSON": as_json(404, {"error": "route not found", "code": 404}),
    "a plain 409": Page(409, b"conflict", "text/plain"),
    "a 409 of other JSON": as_json(409, {"kind": "Error", "code": 409}),
    "a 404 about a namespace": status(
        404, "NotFound", message='namespaces "ml" not found', details={"name": "ml", "kind": "namespaces"}
    ),
    "a 404 about another object": status(404, "NotFound", details={"name": "nobody's"}),
    "a 404 without a name": status(404, "NotFound", message="the server could not find the requested resource", details={}),
    "a 404 whose Status has another code": status(500, "InternalError", http=404),
    "a 404 whose Status has another reason": status(404, "Gone"),
    "a 404 whose Status is a success": status(404, "NotFound", status="Success"),
    "a 409 about a quota": status(409, "Conflict", details={"name": "q", "kind": "resourcequotas"}),
    "a 401 of HTML": Page(401, HTML, "text/html"),
    "a 403 of HTML": Page(403, HTML, "text/html"),
    "a 502 of HTML": Page(502, b"<html>502 Bad Gateway</html>", "text/html"),
    "a redirect": Page(302, b"", "text/html"),
    "a 200 of HTML": Page(200, HTML, "text/html"),
    "a 200 of nothing": Page(200, b"", "text/plain"),
    "a 200 of a list": as_json(200, []),
    "a 200 of null": as_json(200, None),
    "a 200 of deep JSON": Page(200, b"[" * 100_000),
    "a 200 of another kind": as_json(200, {"kind": "Dashboard", "metadata": {"name": "ml"}, "spec": {}, "items": []}),
    "a 200 of a Status": status(200, "NotFound"),
    "an object of another name": as_json(200, DEPLOYMENT),
    "an object of nothing": as_json(200, {"kind": "Deployment", "metadata": {}}),
    "a body that is cut": Page(200, json.dumps(DEPLOYMENT).encode()[:60], length=400),
    "a body that is cut without a sign": Page(200, json.dumps(DEPLOYMENT).encode()[:60]),
}  # fmt: skip


class Between:
    """Use as a context manager. `page` returns the page for a request; None: forward it."""

    def __init__(self, upstream: str = "") -> None:
        self.upstream = urlsplit(upstream)
        self.page: Callable[[str, str], Page | None] = lambda method, path: None
        self.met = threading.Event()  # a request got a page

    def __enter__(self) -> Self:
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # the client has gone
                    self.close_connection = True

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                page = between.page(self.command, self.path)
                if page is None:
                    self._forward(body)
                    return
                between.met.set()
                time.sleep(page.delay_s)
                self.send_response(page.status)
                self.send_header("Content-Type", page.content_type)
                self.send_header("Content-Length", str(page.length or len(page.body)))
                if page.status == 302:
                    self.send_header("Location", "/login")
                self.end_headers()
                self.wfile.write(page.body)
                self.close_connection = True

            def _forward(self, body: bytes) -> None:
                upstream = http.client.HTTPConnection(between.upstream.netloc, timeout=60)
                try:
                    upstream.request(self.command, self.path, body or None, dict(self.headers))
                    answer = upstream.getresponse()
                except OSError:
                    self.send_error(502)
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in (
                        "transfer-encoding",
                        "content-length",
                        "connection",
                        "server",
                        "date",
                    ):
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                while piece := answer.read1(8192):
                    self.wfile.write(piece)
                upstream.close()
                self.close_connection = True

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
