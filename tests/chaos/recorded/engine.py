"""A double of an embedded engine's fault API: GET, PUT and DELETE /faults."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any
from urllib.parse import parse_qs, urlsplit

CATALOGUE = {
    "cut_after": "Ends the connection after some tokens.",
    "no_headers": "Accepts, and answers nothing.",
}


class FaultyEngine:
    """`fault`: the one that is set. `requests`: all requests in order, `keys`: their keys. `answer` overrides the next answers."""

    def __init__(self, tls: SSLContext | None = None) -> None:
        self.fault: dict[str, Any] | None = None
        self.requests: list[tuple[str, str, Any]] = []
        self.keys: list[str | None] = []
        self.answer: tuple[int, bytes] | None = None
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(200, {"fault": engine.fault, "catalogue": CATALOGUE})

            def do_PUT(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if engine.fault is not None and engine.fault["id"] != body["id"]:
                    self._reply(409, {"error": f"set by {engine.fault['id']}"}, body)
                elif set(body) - {"fault", "for_s", "id", "tokens", "share"}:
                    self._reply(400, {"error": "no parameter 'tokns'; did you mean 'tokens'?"}, body)
                else:
                    engine.fault = {**body, "until": 0.0}
                    self._reply(200, {"fault": engine.fault}, body)

            def do_DELETE(self) -> None:
                mine = parse_qs(urlsplit(self.path).query)["id"][0]
                if engine.fault is not None and engine.fault["id"] == mine:
                    engine.fault = None
                self._reply(200 if engine.fault is None else 409, {"fault": engine.fault})

            def _reply(self, status: int, body: Any, got: Any = None) -> None:
                engine.requests.append((self.command, self.path, got))
                engine.keys.append(self.headers["authorization"])
                status, text = engine.answer or (status, json.dumps(body).encode())
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
