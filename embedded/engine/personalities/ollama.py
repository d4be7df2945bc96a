"""Ollama: its own API with JSON lines, and OpenAI's; sends no headers before a slot is free; SIGTERM closes connections."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from embedded.engine.completion_request import (
    CompletionRequest,
    read_chat,
    read_ollama_chat,
    read_ollama_generate,
)
from embedded.engine.engine import Behaviour, Engine
from embedded.engine.ledger import Entry
from embedded.engine.openai import JSON, ChatPlain, ChatStream, Dialect, models, to_json
from embedded.engine.options import Defaults
from embedded.engine.personality import Personality
from embedded.engine.refusal import Refusal
from embedded.engine.thoughts import HIDDEN
from embedded.engine.wire import Reply, Request

CHAT = Dialect(
    headers_at_once=False,
    first_delta=None,
    delta='{"role":"assistant","content":\0}',
    last_delta='{"role":"assistant","content":""}',
    extra={"system_fingerprint": "fp_ollama"},
)

OPENAI_KINDS = {400: "invalid_request_error", 404: "not_found_error"}

FOR_EVER_S = 100 * 365 * 86400.0

LINES = "application/x-ndjson"
WHOLE = "application/json; charset=utf-8"


class Native:
    """/api/generate and /api/chat, streamed or in one piece."""

    def __init__(
        self, reply: Reply, completion: CompletionRequest, entry: Entry, chat: bool, hidden: bool
    ) -> None:
        self._reply = reply
        self._completion = completion
        self._entry = entry
        self._chat = chat
        self._hidden = hidden  # thoughts are dropped, as with a template unknown to Ollama
        self._words: list[str] = []
        self._thoughts: list[str] = []
        self._garbled = False

    def arrived(self) -> None:
        pass

    def started(self) -> None:
        if self._completion.stream:
            self._reply.open(LINES)

    def token(self, text: str, reason: str | None = None) -> float | None:
        if not self._completion.stream:
            self._words.append(text)
            return None
        return self._reply.send(to_json(self._line(text) | {"done": False}) + b"\n")

    def thought(self, text: str, reason: str | None = None) -> float | None:
        if self._hidden:
            return None
        if not self._completion.stream:
            self._thoughts.append(text)
            return None
        return self._reply.send(to_json(self._line("", text) | {"done": False}) + b"\n")

    def finish(self, reason: str, entry: Entry, done: bool = True) -> float | None:
        last = self._last(reason)
        if not self._completion.stream:
            return self._reply.whole(200, WHOLE, last[:-1] if self._garbled else last)
        self._reply.end(last + b"\n" if done else b"")
        return None

    def refuse(self, body: bytes, done: bool = True) -> None:
        self._reply.end(body + b"\n")

    def end_without_reason(self, entry: Entry) -> float | None:
        return self.finish("stop", entry, done=not self._completion.stream)

    def leave_unfinished(self, entry: Entry) -> float | None:
        return None if self._completion.stream else self._reply.truncated(WHOLE, self._last("stop"))

    def garble(self) -> None:
        if self._completion.stream:
            self._reply.send(to_json(self._line(""))[:-1] + b"\n")
        self._garbled = True

    def _last(self, reason: str) -> bytes:
        line = (
            self._line("".join(self._words), "".join(self._thoughts))
            | {"done": True, "done_reason": reason}
            | self._account()
        )
        return to_json(line)

    def _line(self, text: str, thought: str = "") -> dict[str, object]:
        thinking = {"thinking": thought} if thought else {}
        head: dict[str, object] = {"model": self._completion.model, "created_at": _rfc3339_now()}
        if self._chat:
            return head | {"message": {"role": "assistant", "content": text} | thinking}
        return head | {"response": text} | thinking

    def _account(self) -> dict[str, int]:
        """The counts and durations of the last line; durations in nanoseconds."""
        entry = self._entry
        assert entry.started_at is not None, "an answer that ends had a slot"
        ended_at = time.time()
        first_at = entry.first_byte_at or ended_at
        return {
            "total_duration": _ns(ended_at - entry.arrived_at),
            # The wait for a slot: the load time of a loaded model is close to 0.
            "load_duration": _ns(entry.started_at - entry.arrived_at),
            "prompt_eval_count": entry.prompt_tokens or 0,
            "prompt_eval_duration": _ns(first_at - entry.started_at),
            "eval_count": entry.output_tokens or 0,
            "eval_duration": _ns(ended_at - first_at),
        }


def _read_openai(body: Mapping[str, Any]) -> CompletionRequest:
    """Ollama ignores ignore_eos without a warning (ollama/ollama#12065)."""
    return replace(read_chat(body), ignore_eos=False)


class Ollama(Personality):
    # Measured behind a real LiteLLM: ten tokens in 3.5 s, 3 tokens a second.
    defaults = Defaults(
        model="qwen2.5:3b",
        time_to_first_token="500ms",
        time_to_first_token_std_dev="20ms",
        inter_token_latency="333ms",
        inter_token_latency_std_dev="10ms",
        time_factor_under_load=1.5,
        prefill_time_per_token="0ms",
        max_num_seqs=4,
        max_waiting_queue_length=512,
        max_model_len=32768,
    )
    behaviour = Behaviour(reports_abort=False)
    health = ("/", "/api/version", "/api/tags")

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._dialect = replace(CHAT, thoughts=engine.options.reasoning)
        hidden = engine.options.reasoning == HIDDEN
        self.requests = {
            "/api/generate": (
                read_ollama_generate,
                lambda reply, completion, entry: Native(reply, completion, entry, False, hidden),
            ),
            "/api/chat": (
                read_ollama_chat,
                lambda reply, completion, entry: Native(reply, completion, entry, True, hidden),
            ),
            "/v1/chat/completions": (_read_openai, self._openai_chat),
        }
        self.pages = {
            "/": lambda: ("text/plain; charset=utf-8", b"Ollama is running"),
            "/api/version": lambda: (JSON, to_json({"version": "0.13.0"})),
            "/api/tags": lambda: (JSON, to_json(self._tags())),
            "/api/ps": lambda: (JSON, to_json(self._loaded())),
            "/v1/models": lambda: (JSON, to_json(models(engine.options.names, "library"))),
        }

    def problem(self, status: int, message: str, param: str | None = None) -> Refusal:
        return Refusal(status, {"error": message})

    def overloaded(self) -> Refusal:
        return self.problem(503, "server busy, please try again.  maximum pending requests exceeded")

    def limited(self) -> Refusal:
        return self.problem(429, "too many requests")

    def failed(self) -> Refusal:
        return self.problem(500, "llama runner process has terminated: exit status 2")

    def unavailable(self) -> Refusal:
        return self.overloaded()

    def too_long(self, completion: CompletionRequest, longest: int) -> Refusal:
        # A real Ollama truncates the prompt by default; this is its error when truncation is off.
        return self.problem(400, "the input length exceeds the context length")

    def check(self, request: Request, completion: CompletionRequest) -> None:
        names = self.engine.options.names
        # A name without a tag means the tag `latest`.
        if completion.model in names or f"{completion.model}:latest" in names:
            return
        raise self.problem(404, f"model '{completion.model}' not found")

    def in_api_format(self, request: Request, refusal: Refusal) -> Refusal:
        if not request.path.startswith("/v1/"):
            return refusal
        kind = OPENAI_KINDS.get(refusal.status, "api_error")
        error = {"message": refusal.body["error"], "type": kind, "param": None, "code": None}
        return Refusal(refusal.status, {"error": error})

    def _openai_chat(
        self, reply: Reply, completion: CompletionRequest, entry: Entry
    ) -> ChatStream | ChatPlain:
        shape = ChatStream if completion.stream else ChatPlain
        return shape(self._dialect, reply, completion, entry, completion.model)

    def _tags(self) -> dict[str, object]:
        return {
            "models": [
                {
                    "name": name,
                    "model": name,
                    "modified_at": _rfc3339_now(),
                    "size": 0,
                    "digest": "",
                    "details": {},
                }
                for name in self.engine.options.names
            ]
        }

    def _loaded(self) -> dict[str, object]:
        """/api/ps: the models in memory, including one that is being loaded."""
        model = self.engine.model
        if not model.is_listed:
            return {"models": []}
        stays_s = (
            FOR_EVER_S if model.unloads_at is None else model.unloads_at - asyncio.get_running_loop().time()
        )
        name = self.engine.options.names[0]
        row = {"name": name, "model": name, "size": 0, "digest": "", "details": {}, "size_vram": 0}
        return {"models": [row | {"expires_at": _rfc3339(time.time() + stays_s)}]}


def _rfc3339_now() -> str:
    return _rfc3339(time.time())


def _rfc3339(now: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"


def _ns(length_s: float) -> int:
    return max(int(length_s * 1e9), 0)


PERSONALITY = Ollama
