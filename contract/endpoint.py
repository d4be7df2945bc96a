"""Builds one request to an OpenAI-compatible endpoint, or to Ollama's own API, as the bytes of an HTTP/1.1 request.

Shared by users and probe. Does no I/O.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from contract import trust
from contract.headers import bare, resolved
from contract.request import Request
from contract.topology import Api, CapField, Gateway, Server, Tier, chat_url, secret


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where chat completions are requested, and with which credentials."""

    host: str
    port: int
    tls: bool
    path: str
    model: str
    headers: Mapping[str, str] = field(default_factory=dict)  # the authorization, and the operator's own
    api: Api = "openai"
    ca_file: str | None = None
    cap_field: CapField = "max_tokens"
    dropped: frozenset[str] = frozenset()  # parameters that are never sent

    @classmethod
    def of(
        cls, url: str, model: str, key: str | None = None, api: Api = "openai", ca_file: str | None = None
    ) -> Self:
        """From the url of a gateway or an engine, with or without /v1."""
        parts = urlsplit(chat_url(url, api))
        tls = parts.scheme == "https"
        assert parts.hostname, "a topology's urls have been checked"
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname, port, tls, parts.path, model, _authorization(key), api, ca_file)

    @classmethod
    def of_gateway(cls, gateway: Gateway) -> Self:
        """Raises Refusal if a key or a header is not in the environment, or `ca_file` has no certificate."""
        assert gateway.url, "an embedded stack's urls are filled in before the run"
        trust.check(gateway.ca_file, "gateway")
        return replace(cls.of(gateway.url, gateway.model), **_shared_settings(gateway))

    @classmethod
    def of_tier(cls, tier: Tier) -> Self | None:
        """None: the topology has no direct url or model for it. Raises Refusal, as above."""
        if tier.url is None or tier.model is None:
            return None
        trust.check(tier.ca_file, f"tier {tier.name!r}")
        return replace(cls.of(tier.url, tier.model, api=tier.api), **_shared_settings(tier))

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values in its headers that must not be shown."""
        return tuple(bare(value) for value in self.headers.values())

    def __repr__(self) -> str:  # keys stay out of logs and tracebacks
        return f"Endpoint({self.host}:{self.port}{self.path}, {self.model})"

    def url_of(self, path: str) -> str:
        """The url of another page of the same server; `path` begins with a slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    def request(self, request_id: str, request: Request) -> bytes:
        """The whole request. The prompt begins with its nonce, the request id."""
        messages = [{"role": role, "content": content} for role, content in request.history]
        messages.append({"role": "user", "content": f"{request_id} {request.prompt}"})
        body: dict[str, Any] = {
            "model": request.model or self.model,
            "messages": messages,
            "stream": request.stream,
        }
        temperature = None if "temperature" in self.dropped else request.temperature
        if self.api == "ollama":
            body |= _ollama(request.max_tokens, temperature)
        else:
            cap = {self.cap_field: request.max_tokens}
            body |= _openai(cap, temperature, request.stream, request.ignore_eos)
        payload = json.dumps(body).encode()
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "Content-Type: application/json",
            f"Accept: {self._accepted(request.stream)}",
            "Accept-Encoding: identity",  # a compressor would delay chunks
            f"Content-Length: {len(payload)}",
        ]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + payload

    def _accepted(self, stream: bool) -> str:
        if not stream:
            return "application/json"
        return "application/x-ndjson" if self.api == "ollama" else "text/event-stream"


class Named(Protocol):
    """A server's credentials: a key and headers, as names of environment variables."""

    @property
    def api_key(self) -> str | None: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


def headers_of(server: Named) -> dict[str, str]:
    """The headers of every request to the gateway or a tier: the authorization, and the operator's own.

    Raises Refusal if a value is not in the environment, or is not valid in a header.
    """
    own = {name: resolved(reference) for name, reference in server.headers.items()}
    return dict(_authorization(secret(server.api_key))) | own


def _authorization(key: str | None) -> Mapping[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _shared_settings(server: Server) -> dict[str, Any]:
    """The fields of an endpoint that gateway and tier set in the same way."""
    return {
        "headers": headers_of(server), "ca_file": server.ca_file, "cap_field": server.max_tokens_field,
        "dropped": frozenset(server.drop_params),
    }  # fmt: skip


def _openai(
    cap: Mapping[CapField, int | None], temperature: float | None, stream: bool, ignore_eos: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {name: count for name, count in cap.items() if count is not None}
    if stream:
        found["stream_options"] = {"include_usage": True}  # tokens are counted from usage, never from chunks
    if ignore_eos:
        found["ignore_eos"] = True
    if temperature is not None:
        found["temperature"] = temperature
    return found


def _ollama(max_tokens: int | None, temperature: float | None) -> dict[str, Any]:
    given = {"num_predict": max_tokens, "temperature": temperature}
    options = {name: value for name, value in given.items() if value is not None}
    return {"options": options} if options else {}
