"""A cloud model behind OpenAI's API: requires a key, and refuses every unknown parameter.

Not simulated: costs, and rate limits by tokens.
"""

from dataclasses import replace

from embedded.engine.completion_request import CompletionRequest, read_chat
from embedded.engine.engine import Behaviour, Engine
from embedded.engine.ledger import Entry
from embedded.engine.openai import JSON, ChatPlain, ChatStream, Dialect, models, to_json
from embedded.engine.options import Defaults
from embedded.engine.personality import Personality
from embedded.engine.refusal import Refusal
from embedded.engine.wire import Reply, Request

CHAT = Dialect(
    headers_at_once=False,
    first_delta='{"role":"assistant","content":"","refusal":null}',
    last_delta="{}",
    extra={"service_tier": "default", "system_fingerprint": "fp_brownout"},
)

# From the API reference. vLLM's `ignore_eos` is not among them.
_PARAMETERS = """
audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages
metadata modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key
prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier
stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity
web_search_options
"""
KNOWN = frozenset(_PARAMETERS.split())


class Cloud(Personality):
    # Measured: ten tokens in about 5.5 s.
    defaults = Defaults(
        model="gpt-4o-mini",
        time_to_first_token="1500ms",
        time_to_first_token_std_dev="60ms",
        inter_token_latency="450ms",
        inter_token_latency_std_dev="15ms",
        time_factor_under_load=1.0,
        prefill_time_per_token="0ms",
        max_num_seqs=64,
        max_waiting_queue_length=256,
        max_model_len=128000,
    )
    behaviour = Behaviour(reports_abort=False)
    health = ("/v1/models",)

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._dialect = replace(CHAT, thoughts=engine.options.reasoning)
        self.requests = {"/v1/chat/completions": (read_chat, self._chat)}
        self.pages = {"/v1/models": lambda: (JSON, to_json(models(engine.options.names, "system")))}

    def problem(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
    ) -> Refusal:
        return Refusal(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})

    def unknown_path(self, request: Request) -> Refusal:
        return self.problem(404, f"Invalid URL ({request.method} {request.path})")

    def overloaded(self) -> Refusal:
        return self.problem(
            429,
            "Rate limit reached for requests. Please try again later.",
            None,
            "rate_limit_exceeded",
            "requests",
        )

    def limited(self) -> Refusal:
        return self.overloaded()

    def failed(self) -> Refusal:
        return self.problem(
            500,
            "The server had an error while processing your request. Sorry about that!",
            kind="server_error",
        )

    def unavailable(self) -> Refusal:
        return self.problem(
            503, "The engine is currently overloaded, please try again later.", kind="server_error"
        )

    def too_long(self, completion: CompletionRequest, longest: int) -> Refusal:
        return self.problem(
            400,
            f"This model's maximum context length is {longest} tokens. However, your messages resulted in"
            f" {completion.prompt_tokens} tokens. Please reduce the length of the messages.",
            "messages",
            "context_length_exceeded",
        )

    def is_authorized(self, request: Request) -> bool:
        return True  # `admit` refuses with the cloud's own error

    def admit(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise self.problem(
                401,
                "You didn't provide an API key. You need to provide your API key in an Authorization header using"
                " Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
            )
        valid = self.engine.options.api_key
        # Without --api-key-env, any key is valid.
        if valid is not None and key != valid:
            raise self.problem(401, "Incorrect API key provided.", None, "invalid_api_key")

    def check(self, request: Request, completion: CompletionRequest) -> None:
        unknown = sorted(completion.given - KNOWN)
        if unknown:
            raise self.problem(400, f"Unknown parameter: '{unknown[0]}'.", unknown[0], "unknown_parameter")
        if completion.model not in self.engine.options.names:
            raise self.problem(
                404,
                f"The model `{completion.model}` does not exist or you do not have access to it.",
                None,
                "model_not_found",
            )
        self._check_supported(completion)
        longest = self.engine.options.max_model_len
        needed = completion.prompt_tokens + (completion.max_tokens or 1)
        if needed > longest:
            raise self.too_long(completion, longest)

    def _check_supported(self, completion: CompletionRequest) -> None:
        """Refuses what newer models refuse, with OpenAI's own messages."""
        options = self.engine.options
        if "max_tokens" in completion.given & options.unsupported:
            raise self.problem(
                400,
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
                "instead.",
                "max_tokens",
                "unsupported_parameter",
            )
        if "temperature" in options.unsupported and completion.temperature not in (None, 1):
            raise self.problem(
                400,
                f"Unsupported value: 'temperature' does not support {completion.temperature:g} with this model. Only the default "
                "(1) value is supported.",
                "temperature",
                "unsupported_value",
            )
        if completion.max_tokens is not None and completion.max_tokens < options.least_output:
            raise self.problem(
                400,
                "Could not finish the message because max_tokens or model output limit was reached. Please try again "
                "with higher max_tokens.",
            )

    def _chat(self, reply: Reply, completion: CompletionRequest, entry: Entry) -> ChatStream | ChatPlain:
        shape = ChatStream if completion.stream else ChatPlain
        return shape(self._dialect, reply, completion, entry, self.engine.options.names[0])


PERSONALITY = Cloud
