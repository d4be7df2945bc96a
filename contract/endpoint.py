"""What goes out: one ask to an OpenAI-compatible endpoint as the bytes of an HTTP/1.1 request.

One truth for the users' asks and the probe's. Does no I/O.
"""

import json
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from contract.topology import chat_url


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where chat completions are asked for, and as whom."""

    host: str
    port: int
    tls: bool
    path: str
    model: str
    key: str | None = None

    @classmethod
    def of(cls, url: str, model: str, key: str | None = None) -> Self:
        """From the url of a gateway or an engine, with or without its /v1."""
        parts = urlsplit(chat_url(url))
        tls = parts.scheme == "https"
        assert parts.hostname, "a topology's urls have been checked"
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls, parts.path, model, key)

    def __repr__(self) -> str:  # the key stays out of logs and tracebacks
        return f"Endpoint({self.host}:{self.port}{self.path}, {self.model})"

    def request(
        self, request_id: str, prompt: str, max_tokens: int | None, stream: bool, ignore_eos: bool = False
    ) -> bytes:
        """The whole request. The prompt is led by its nonce, the request id.

        `ignore_eos` is for engines that honour it and are asked directly: a gateway passes unknown parameters on,
        and a cloud provider answers them with 400.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": f"{request_id} {prompt}"}],
            "stream": stream,
        }
        if stream:
            body["stream_options"] = {
                "include_usage": True
            }  # tokens are counted from usage, never from chunks
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        if ignore_eos:
            body["ignore_eos"] = True
        payload = json.dumps(body).encode()
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "Content-Type: application/json",
            "Accept: text/event-stream" if stream else "Accept: application/json",
            f"x-request-id: {request_id}",
            f"Content-Length: {len(payload)}",
        ]
        if self.key is not None:
            lines.append(f"Authorization: Bearer {self.key}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + payload
