"""OpenAI's answers, as bytes: the constant parts are serialised once, before the first token is due.

Engines with this API differ in details; each personality's file defines them as a Dialect.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedded.engine.completion_request import CompletionRequest
from embedded.engine.ledger import Entry
from embedded.engine.thoughts import HIDDEN, spelt
from embedded.engine.wire import Reply

EVENTS = "text/event-stream; charset=utf-8"
JSON = "application/json"
DONE = b"data: [DONE]\n\n"
NO_REASON = b'"finish_reason":null'


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The format details of an engine's chat completions."""

    headers_at_once: bool
    """Streamed: the headers are sent before the request gets a slot."""
    first_delta: str | None
    """A delta without content, sent just before the first token."""
    delta: str = '{"content":\0}'
    """A token's delta; the token replaces the NUL, which JSON cannot contain."""
    last_delta: str
    """A delta without content, sent with the finish reason."""
    reason_with_last_token: bool = False
    """A token that is known to be the last is sent in one delta with the finish reason."""
    last_choice: Mapping[str, Any] = field(default_factory=dict)
    """Additional fields of a plain choice."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Additional fields of the object, streamed or plain."""
    thoughts: str | None = None
    """The field of a reasoning model's thoughts, one of `thoughts.SPELLINGS`."""


def to_json(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def usage_of(entry: Entry, thoughts: int | None = None) -> dict[str, Any]:
    """`thoughts`: how many of the tokens were reasoning; None: not a reasoning model."""
    prompt, output = entry.prompt_tokens or 0, entry.output_tokens or 0
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
    }
    if thoughts is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": thoughts}
    return usage


class ChatStream:
    """/v1/chat/completions with `stream`."""

    kind = "chat.completion.chunk"
    part = "delta"

    def __init__(
        self, dialect: Dialect, reply: Reply, completion: CompletionRequest, entry: Entry, model: str
    ) -> None:
        self._dialect = dialect
        self._reply = reply
        self._completion = completion
        self._opening = b""
        head = {
            "id": f"chatcmpl-{entry.id}",
            "object": self.kind,
            "created": int(time.time()),
            "model": model,
        }
        self._head = to_json(head | dict(dialect.extra))[:-1]
        if dialect.first_delta is not None:
            self._opening = self._event(dialect.first_delta, "null")
        before, after = self._event(dialect.delta, "null").split(b"\0")
        self._before, self._after = before + b'"', b'"' + after
        self._thoughts: int | None = None if dialect.thoughts is None else 0
        self._reason_sent = False

    def _event(self, delta: str, reason: str) -> bytes:
        choice = f'{{"index":0,"{self.part}":{delta},"logprobs":null,"finish_reason":{reason}}}'
        return b'data: %b,"choices":[%b]}\n\n' % (self._head, choice.encode())

    def arrived(self) -> None:
        if self._dialect.headers_at_once:
            self._reply.open(EVENTS)

    def started(self) -> None:
        if not self._reply.opened:
            self._reply.open(EVENTS)

    def token(self, text: str, reason: str | None = None) -> float:
        # Words need no escaping; pieces of JSON do.
        spelt = json.dumps(text)[1:-1] if '"' in text else text
        return self._send(self._before + spelt.encode() + self._after, reason)

    def _send(self, data: bytes, reason: str | None) -> float:
        if reason is not None and self._dialect.reason_with_last_token:
            self._reason_sent = True
            before, after = data.rsplit(NO_REASON, 1)
            data = b'%b"finish_reason":"%b","stop_reason":null%b' % (before, reason.encode(), after)
        if self._opening:
            data, self._opening = self._opening + data, b""
        return self._reply.send(data)

    def thought(self, text: str, reason: str | None = None) -> float | None:
        assert self._dialect.thoughts is not None, "only a reasoning model has thoughts"
        self._thoughts = (self._thoughts or 0) + 1
        part = spelt(self._dialect.thoughts, text)
        if not part:
            return None
        delta = {"content": None} | part if self._dialect.thoughts == "reasoning_content" else part
        return self._send(self._event(to_json(delta).decode(), "null"), reason)

    def finish(self, reason: str, entry: Entry, done: bool = True) -> None:
        self.started()
        last = (
            b"" if self._reason_sent else self._opening + self._event(self._dialect.last_delta, f'"{reason}"')
        )
        if self._completion.include_usage:
            last += b'data: %b,"choices":[],"usage":%b}\n\n' % (
                self._head,
                to_json(usage_of(entry, self._thoughts)),
            )
        self._reply.end(last + DONE if done else last)

    def refuse(self, body: bytes, done: bool = True) -> None:
        self._reply.end(b"data: %b\n\n%b" % (body, DONE if done else b""))

    def end_without_reason(self, entry: Entry) -> None:
        self._reply.end(b"")

    def leave_unfinished(self, entry: Entry) -> None:
        pass

    def garble(self) -> None:
        self._reply.send(b"data: %b,\n\n" % self._head)


class TextStream(ChatStream):
    """The older /v1/completions with `stream`: tokens and thoughts are plain text."""

    kind = "text_completion"
    part = "text"

    def thought(self, text: str, reason: str | None = None) -> float | None:
        return self.token(text, reason)


class ChatPlain:
    """/v1/chat/completions in one piece."""

    kind = "chat.completion"

    def __init__(
        self, dialect: Dialect, reply: Reply, completion: CompletionRequest, entry: Entry, model: str
    ) -> None:
        self._dialect = dialect
        self._reply = reply
        self._model = model
        self._words: list[str] = []
        self._thoughts: list[str] = []
        self._garbled = False

    def arrived(self) -> None:
        pass

    def started(self) -> None:
        pass

    def token(self, text: str, reason: str | None = None) -> None:
        self._words.append(text)

    def thought(self, text: str, reason: str | None = None) -> None:
        self._thoughts.append(text)

    def finish(self, reason: str, entry: Entry, done: bool = True) -> float:
        body = self._body(reason, entry)
        return self._reply.whole(200, JSON, body[:-1] if self._garbled else body)

    def refuse(self, body: bytes, done: bool = True) -> None:
        raise AssertionError("a plain answer has sent no headers before it is whole")

    def end_without_reason(self, entry: Entry) -> float:
        return self.finish("stop", entry)

    def leave_unfinished(self, entry: Entry) -> float:
        return self._reply.truncated(JSON, self._body("stop", entry))

    def garble(self) -> None:
        self._garbled = True

    def _body(self, reason: str, entry: Entry) -> bytes:
        choice = {
            "index": 0,
            **self._content("".join(self._words)),
            "logprobs": None,
            "finish_reason": reason,
        }
        body = {
            "id": f"chatcmpl-{entry.id}",
            "object": self.kind,
            "created": int(time.time()),
            "model": self._model,
            "choices": [choice | dict(self._dialect.last_choice)],
            "usage": usage_of(entry, None if self._dialect.thoughts is None else len(self._thoughts)),
        }
        return to_json(body | dict(self._dialect.extra))

    def _content(self, text: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if self._thoughts:
            assert self._dialect.thoughts is not None, "only a reasoning model has thoughts"
            message |= spelt(self._dialect.thoughts, "".join(self._thoughts))
            if not text and self._dialect.thoughts != HIDDEN:
                message["content"] = None
        return {"message": message}


class TextPlain(ChatPlain):
    """The older /v1/completions in one piece."""

    kind = "text_completion"

    def thought(self, text: str, reason: str | None = None) -> None:
        self.token(text)

    def _content(self, text: str) -> dict[str, Any]:
        return {"text": text}


def models(names: tuple[str, ...], owner: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The page /v1/models."""
    created = int(time.time())
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": created, "owned_by": owner} | dict(more or {})
            for name in names
        ],
    }
