"""A gateway that behaves like LiteLLM 1.106.2: the models it lists, the groups it answers for, and the serving tier in headers."""

import json
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self


@dataclass(frozen=True)
class Group:
    """The answer to a request for a model. LiteLLM reports the requested name as the group, also of an alias."""

    group: str | None = None
    api_base: str | None = None
    status: int = 200
    error: str = "no"
    tokens: int = 32
    finish: str | None = "length"
    then: "Group | None" = None  # the answer to the requests after the first; None: the same


@dataclass
class Gateway:
    """`groups`: model → its answer; any other model is a 400. `listed`: the page /v1/models, or its status."""

    groups: dict[str, Group]
    listed: Any = ()
    status: int = 200
    requested: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                page = {"object": "list", "data": [{"id": name} for name in gateway.listed]}
                self._plain(gateway.status, json.dumps(page).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                gateway.requested.append(body["model"])
                gateway.prompts.append(body["messages"][-1]["content"])
                of = gateway.groups.get(body["model"], Group(status=400, error="no healthy deployments"))
                if of.then is not None:
                    gateway.groups[body["model"]] = of.then
                self._answer(of)

            def _answer(self, of: Group) -> None:
                if of.status != 200:
                    self._plain(of.status, json.dumps({"error": {"message": of.error}}).encode())
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                for name, value in (("group", of.group), ("api-base", of.api_base)):
                    if value is not None:
                        self.send_header(f"x-litellm-model-{name}", value)
                self.end_headers()
                for n in range(of.tokens):
                    self._event(
                        {"choices": [{"index": 0, "delta": {"content": f" {n}"}, "finish_reason": None}]}
                    )
                    time.sleep(0.001)  # so that the chunks are not read together
                if of.finish is not None:
                    self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": of.finish}]})
                usage = {"prompt_tokens": 3, "completion_tokens": of.tokens, "total_tokens": 3 + of.tokens}
                self._event({"choices": [], "usage": usage})
                self._chunk(b"data: [DONE]\n\n")
                self.wfile.write(b"0\r\n\r\n")

            def _event(self, chunk: dict[str, Any]) -> None:
                self._chunk(b"data: " + json.dumps(chunk).encode() + b"\n\n")

            def _chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def _plain(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
