"""What goes out: one ask to an OpenAI-compatible endpoint, or to Ollama's own, as the bytes of an HTTP/1.1 request.

One truth for the users' asks and the probe's. Does no I/O.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from contract import trust
from contract.topology import Api, Gateway, Tier, chat_url, secret


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where chat completions are asked for, and as whom."""

    host: str
    port: int
    tls: bool
    path: str
    model: str
    key: str | None = None
    api: Api = "openai"
    ca_file: str | None = None

    @classmethod
    def of(
        cls, url: str, model: str, key: str | None = None, api: Api = "openai", ca_file: str | None = None
    ) -> Self:
        """From the url of a gateway or an engine, with or without its /v1."""
        parts = urlsplit(chat_url(url, api))
        tls = parts.scheme == "https"
        assert parts.hostname, "a topology's urls have been checked"
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname, port, tls, parts.path, model, key, api, ca_file)

    @classmethod
    def of_gateway(cls, gateway: Gateway) -> Self:
        """Raises Refusal where its key is not in the environment, or its authority's certificate not in its file."""
        assert gateway.url, "an embedded stack's urls are filled in before the run"
        trust.check(gateway.ca_file, "gateway")
        return cls.of(gateway.url, gateway.model, secret(gateway.api_key), ca_file=gateway.ca_file)

    @classmethod
    def of_tier(cls, tier: Tier) -> Self | None:
        """None: the topology does not say where it can be asked directly. Raises Refusal, as above."""
        if tier.url is None or tier.model is None:
            return None
        trust.check(tier.ca_file, f"tier {tier.name!r}")
        return cls.of(tier.url, tier.model, secret(tier.api_key), tier.api, tier.ca_file)

    def __repr__(self) -> str:  # the key stays out of logs and tracebacks
        return f"Endpoint({self.host}:{self.port}{self.path}, {self.model})"

    def request(
        self,
        request_id: str,
        prompt: str,
        max_tokens: int | None,
        stream: bool,
        ignore_eos: bool = False,
        system: str | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The whole request. The prompt is led by its nonce, the request id.

        `ignore_eos` is for engines that honour it and are asked directly: a gateway passes unknown parameters on,
        and a cloud provider answers them with 400. `schema`: a JSON schema that the answer must follow; a parameter
        of the API itself, which gateways translate for engines that spell it otherwise.
        """
        messages = [{"role": "user", "content": f"{request_id} {prompt}"}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        body: dict[str, Any] = {"model": self.model, "messages": messages, "stream": stream}
        if self.api == "ollama":
            body |= _ollama(max_tokens, schema)
        else:
            body |= _openai(max_tokens, schema, stream, ignore_eos)
        payload = json.dumps(body).encode()
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "Content-Type: application/json",
            f"Accept: {self._accepted(stream)}",
            f"x-request-id: {request_id}",
            f"Content-Length: {len(payload)}",
        ]
        if self.key is not None:
            lines.append(f"Authorization: Bearer {self.key}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + payload

    def _accepted(self, stream: bool) -> str:
        if not stream:
            return "application/json"
        return "application/x-ndjson" if self.api == "ollama" else "text/event-stream"


def _openai(
    max_tokens: int | None, schema: Mapping[str, Any] | None, stream: bool, ignore_eos: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if stream:
        found["stream_options"] = {"include_usage": True}  # tokens are counted from usage, never from chunks
    if max_tokens is not None:
        found["max_tokens"] = max_tokens
    if ignore_eos:
        found["ignore_eos"] = True
    if schema is not None:
        named = {"name": "answer", "strict": True, "schema": schema}
        found["response_format"] = {"type": "json_schema", "json_schema": named}
    return found


def _ollama(max_tokens: int | None, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if max_tokens is not None:
        found["options"] = {"num_predict": max_tokens}
    if schema is not None:
        found["format"] = schema
    return found
