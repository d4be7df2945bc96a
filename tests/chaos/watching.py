"""Starts `python -m chaos watch`, and the answers of its gateway."""

import os
import sys

from tests.contract.exchanges import DONE, ROLE, chunked, finish, head, token, usage

KEY = "sk-of-a-watch-0123456789"
CAP = 8


def answer(group: str, *words: str, end: str = "length", output: int = CAP, fallbacks: int = 0) -> bytes:
    headers = [f"x-litellm-model-group: {group}", f"x-litellm-attempted-fallbacks: {fallbacks}"]
    events = [ROLE, *map(token, words or ("Hello",)), finish(end), usage(output), DONE]
    return head("200 OK", "transfer-encoding: chunked", *headers) + chunked(*events)


VLLM, OLLAMA = answer("vllm-qwen"), answer("ollama-qwen", "Hallo", fallbacks=1)


def arguments(url: str, *more: str) -> list[str]:
    return ["--url", url, "--model", "vllm-qwen", "--api-key-env", "WATCHED_KEY", "--every", "50ms", *more]


def command(url: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "chaos", "watch", *arguments(url, *more)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "WATCHED_KEY": KEY, "TERM": "xterm", **more}
