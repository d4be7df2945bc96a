"""vLLM's OpenAI server, 0.32: sends headers at once, so queueing shows in the time to the first token; an overload is a
503 before any header; the finish reason comes with the last token; SIGTERM: see `shutdown`.
"""

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from embedded.engine.completion_request import CompletionRequest, read_chat, read_completion
from embedded.engine.engine import Behaviour, Engine
from embedded.engine.ledger import Entry
from embedded.engine.openai import (
    JSON,
    ChatPlain,
    ChatStream,
    Dialect,
    TextPlain,
    TextStream,
    models,
    to_json,
)
from embedded.engine.options import Defaults
from embedded.engine.personality import Personality
from embedded.engine.refusal import Refusal
from embedded.engine.sleep import STATES
from embedded.engine.wire import Reply, Request

CHAT = Dialect(
    headers_at_once=True,
    first_delta='{"role":"assistant","content":""}',
    last_delta='{"content":""}',
    reason_with_last_token=True,
    last_choice={"stop_reason": None},
)
TEXT = Dialect(
    headers_at_once=True,
    first_delta=None,
    delta="\0",
    last_delta='""',
    reason_with_last_token=True,
    last_choice={"stop_reason": None},
)

MODES = ("abort", "keep")
"""What happens to running answers when the engine is put to sleep."""

KINDS = {
    400: "BadRequestError",
    404: "NotFoundError",
    429: "TooManyRequestsError",
    500: "InternalServerError",
    503: "ServiceUnavailableError",
}


class Vllm(Personality):
    # Measured behind a real LiteLLM: ten tokens in 275 ms, 54 tokens a second.
    defaults = Defaults(
        model="Qwen/Qwen2.5-7B-Instruct-AWQ",
        time_to_first_token="108ms",
        time_to_first_token_std_dev="4ms",
        inter_token_latency="18.5ms",
        inter_token_latency_std_dev="0.5ms",
        time_factor_under_load=None,
        prefill_time_per_token=None,
        max_num_seqs=256,
        max_waiting_queue_length=None,
        max_model_len=32768,
    )
    behaviour = Behaviour(reports_abort=True, joins_late_tokens=True)
    health = ("/health",)

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._dialect = replace(CHAT, thoughts=engine.options.reasoning)
        self.requests = {
            "/v1/chat/completions": (read_chat, self._chat),
            "/v1/completions": (read_completion, self._text),
        }
        self.pages = {
            "/health": lambda: ("", b""),
            "/v1/models": self._models,
            "/metrics": lambda: ("text/plain; version=0.0.4; charset=utf-8", self._metrics().encode()),
        }
        if engine.options.dev_mode:
            self.actions = {"/sleep": self._sleep, "/wake_up": self._wake_up}
            self.pages["/is_sleeping"] = lambda: (JSON, to_json({"is_sleeping": engine.sleep.asleep}))

    def problem(self, status: int, message: str, param: str | None = None) -> Refusal:
        error = {"message": message, "type": KINDS[status], "param": param, "code": status}
        return Refusal(status, {"error": error})

    def unknown_path(self, request: Request) -> Refusal:
        return Refusal(404, {"detail": "Not Found"})

    def overloaded(self) -> Refusal:
        return self.problem(
            503,
            "The engine is currently busy and cannot accept new requests. Please try again later or on a different"
            " instance.",
        )

    def limited(self) -> Refusal:
        # From a proxy in front of it: vLLM itself has no rate limit.
        return self.problem(429, "Too many requests. Please try again later.")

    def failed(self) -> Refusal:
        return self.problem(
            500, "EngineCore encountered an issue. See stack trace (above) for the root cause."
        )

    def unavailable(self) -> Refusal:
        return self.problem(503, "The server is unavailable. Please try again later.")

    def too_long(self, completion: CompletionRequest, longest: int) -> Refusal:
        return self.problem(
            400,
            f"This model's maximum context length is {longest} tokens. However, your prompt contains {completion.prompt_tokens}"
            " input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the"
            " input prompt.",
            "input_tokens",
        )

    def check(self, request: Request, completion: CompletionRequest) -> None:
        if completion.model not in self.engine.options.names:
            raise self.problem(404, f"The model `{completion.model}` does not exist.", "model")
        longest = self.engine.options.max_model_len
        if completion.prompt_tokens >= longest:
            raise self.too_long(completion, longest)
        # A max_tokens that fits into the context, but not together with the prompt, is not refused: the answer ends at the
        # end of the context, with "length".
        if completion.max_tokens is not None and completion.max_tokens > longest:
            name = "max_completion_tokens" if "max_completion_tokens" in completion.given else "max_tokens"
            raise self.problem(
                400,
                f"{name}={completion.max_tokens} cannot be greater than max_model_len={longest}. Please request fewer output"
                " tokens.",
                name,
            )
        if self.engine.core_dead:
            raise self.failed()
        if self.engine.shutting_down:
            raise self.problem(500, "cannot schedule new futures after shutdown")

    def _chat(self, reply: Reply, completion: CompletionRequest, entry: Entry) -> ChatStream | ChatPlain:
        shape = ChatStream if completion.stream else ChatPlain
        return shape(self._dialect, reply, completion, entry, self.engine.options.names[0])

    def _text(self, reply: Reply, completion: CompletionRequest, entry: Entry) -> ChatStream | ChatPlain:
        shape = TextStream if completion.stream else TextPlain
        return shape(TEXT, reply, completion, entry, self.engine.options.names[0])

    def _sleep(self, request: Request) -> dict[str, Any]:
        query = {"level": "1", "mode": "abort"} | dict(parse_qsl(request.query))
        for name, known in (("level", ("0", "1", "2")), ("mode", (*MODES,))):
            if query[name] not in known:
                raise self.problem(
                    400, f"{name} must be one of {', '.join(known)}; it is {query[name]!r}", name
                )
        self.engine.sleep.start(int(query["level"]))
        if query["mode"] == "abort":
            self.engine.abort()
        return {"status": "sleeping", "level": int(query["level"])}

    def _wake_up(self, request: Request) -> dict[str, Any]:
        self.engine.sleep.wake()
        return {"status": "awake", "tags": None}

    def _models(self) -> tuple[str, bytes]:
        options = self.engine.options
        return JSON, to_json(models(options.names, "vllm", {"max_model_len": options.max_model_len}))

    def _metrics(self) -> str:
        engine, meter = self.engine, self.engine.meter
        labels = f'engine="0",model_name="{engine.options.names[0]}"'
        # A cache for every slot at its maximum length: a real one is smaller and fuller.
        cache_tokens = engine.options.pace.max_num_seqs * engine.options.max_model_len
        lines: list[str] = []
        for kind, name, value in (
            ("gauge", "vllm:num_requests_running", engine.slots.running),
            ("gauge", "vllm:num_requests_waiting", engine.slots.waiting),
            ("gauge", "vllm:kv_cache_usage_perc", meter.tokens_held / cache_tokens),
            ("counter", "vllm:prompt_tokens_total", meter.prompt_tokens),
            ("counter", "vllm:generation_tokens_total", meter.generation_tokens),
        ):
            lines += [f"# TYPE {name} {kind}", f"{name}{{{labels}}} {value}"]
        lines.append("# TYPE vllm:engine_sleep_state gauge")
        for state in STATES:
            now = int(state == engine.sleep.state)
            lines.append(f'vllm:engine_sleep_state{{{labels},sleep_state="{state}"}} {now}')
        lines.append("# TYPE vllm:request_success_total counter")
        for reason, count in meter.ended.items():
            lines.append(f'vllm:request_success_total{{{labels},finished_reason="{reason}"}} {count}')
        lines += meter.ttft.lines("vllm:time_to_first_token_seconds", labels)
        lines += meter.itl.lines("vllm:inter_token_latency_seconds", labels)
        return "\n".join(lines) + "\n"


PERSONALITY = Vllm
