"""The ledger is the ground truth, so it is compared with what a client saw."""

import asyncio
import itertools
import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest

from contract.clock import SHARED, Clock, share
from embedded.engine import ledger, options
from embedded.engine.completion_request import read_chat
from embedded.engine.engine import Behaviour, Engine
from embedded.engine.personalities.vllm import Vllm
from embedded.engine.shape import Shape
from tests.embedded.engine import QUICK, SLOW, chat, next_token, running

PATH = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("personality", "path", "body"),
    [
        ("vllm", PATH, chat("req-3f9c01-00042 continue", stream=True, max_tokens=7)),
        ("ollama", PATH, chat("req-3f9c01-00042 continue", stream=True, max_tokens=7)),
        ("ollama", "/api/chat", chat("req-3f9c01-00042 continue", options={"num_predict": 7})),
        ("cloud", PATH, chat("req-3f9c01-00042 continue", stream=True, max_tokens=7)),
    ],
)
def test_a_streamed_answers_entry_has_an_instant_for_every_token_in_order(
    personality: str, path: str, body: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setenv(SHARED, "")  # reset after the test, whatever `share` sets
    share(clock)
    with running(personality, tmp_path, *QUICK) as engine:
        before = clock.now()
        engine.request(path, body, authorization="Bearer k").read()
        after = clock.now()
        entry = engine.ended(1)[0]
    assert (entry.nonce, entry.path, entry.stream, entry.max_tokens) == ("req-3f9c01-00042", path, True, 7)
    assert (entry.how, entry.status, entry.output_tokens, len(entry.chunks)) == ("length", 200, 7, 7)
    assert entry.started_at is not None
    assert entry.first_byte_at is not None
    assert entry.ended_at is not None
    instants = [before, entry.arrived_at, entry.started_at, *entry.chunks, entry.ended_at]
    assert all(earlier <= later for earlier, later in itertools.pairwise(instants))
    # `ended_at` is taken after the write to the kernel: a client may have read the bytes before.
    assert entry.chunks[-1] <= after
    assert entry.chunks[0] <= entry.first_byte_at <= entry.chunks[1]


def test_a_plain_answers_entry_has_one_write_and_all_its_tokens(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *QUICK) as engine:
        engine.request_json(PATH, chat(max_tokens=7))
        entry = engine.ended(1)[0]
    assert (entry.stream, entry.output_tokens, len(entry.chunks), entry.how) == (False, 7, 1, "length")


def test_the_page_is_the_file_and_spans_restarts_and_a_kill(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *SLOW) as engine:
        # Kept in a variable, so that the client does not disconnect before the engine is killed.
        held = engine.request(PATH, chat("req-9-1", stream=True, max_tokens=900))
        next_token(held)
        engine.process.send_signal(signal.SIGKILL)
    with running("vllm", tmp_path, *QUICK) as engine:
        engine.request_json(PATH, chat("req-9-2", max_tokens=1))
        page = engine.request_json("/ledger")[1]
        assert page == [asdict(entry) for entry in engine.entries()]
    assert [(one["nonce"], one["how"]) for one in page] == [("req-9-1", None), ("req-9-2", "length")]
    assert page[0]["pid"] != page[1]["pid"]


def test_a_refused_request_is_recorded_with_its_status_and_its_nonce(tmp_path: Path) -> None:
    with running("cloud", tmp_path, *QUICK) as engine:
        engine.request_json(PATH, chat("req-1-1"))
        engine.request_json(PATH, chat("req-1-2", top_k=1), authorization="Bearer k")
        engine.request_json(PATH, b'{"messages": "req-1-3"', authorization="Bearer k")
        entries = engine.ended(3)
    assert [(one.nonce, one.how, one.status) for one in entries] == [
        ("req-1-1", "refused", 401),
        ("req-1-2", "refused", 400),
        ("req-1-3", "refused", 400),
    ]
    assert all(one.started_at is None and one.output_tokens is None for one in entries)


# What LiteLLM 1.106.2 sends to an `ollama/` backend for [system, user, assistant, user].
RENDERED = "### System:\nbe long\n\n### User:\nreq-11-01 first\n\n### Assistant:\nsure\n\n### User:\nreq-11-02 second\n\n"


def test_the_nonce_is_found_in_what_litellm_renders_for_ollama(tmp_path: Path) -> None:
    body = {
        "model": "m",
        "prompt": RENDERED,
        "options": {"temperature": 0.2, "num_predict": 3, "ignore_eos": True},
        "stream": True,
        "images": [],
    }
    with running("ollama", tmp_path, *QUICK) as engine:
        assert engine.request("/api/generate", body).status == 200
        assert engine.ended(1)[0].nonce == "req-11-02"


def test_an_incomplete_last_line_is_ignored_and_a_broken_one_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    whole = {"line": "arrived", "id": "a", "pid": 1, "nonce": None, "path": "/", "stream": False}
    whole |= {"max_tokens": None, "arrived_at": 5.0}
    text = json.dumps(whole)
    path.write_text(f"{text}\n{text[:20]}")
    assert [entry.id for entry in ledger.read(path)] == ["a"]
    path.write_text(f"{text[:20]}\n{text}\n")
    with pytest.raises(ValueError, match="line 1: not JSON"):
        ledger.read(path)


class Watching:
    """A shape that reads the ledger before each write."""

    def __init__(self, path: Path, stream: bool) -> None:
        self.path, self.stream = path, stream
        self.seen: list[tuple[str, bool, str | None]] = []

    def _look(self, verb: str) -> float:
        (entry,) = ledger.read(self.path)
        self.seen.append((verb, entry.begun_at is not None, entry.ending))
        return Clock().now()

    def arrived(self) -> None:
        pass

    def started(self) -> None:
        pass

    def token(self, text: str, reason: str | None = None) -> float | None:
        return self._look("token") if self.stream else None

    def finish(self, reason: str, entry: ledger.Entry, done: bool = True) -> float | None:
        return self._look("finish")


@pytest.mark.parametrize(
    ("stream", "seen"),
    [
        (True, [("token", True, None), ("token", True, "length"), ("finish", True, "length")]),
        (False, [("finish", False, "length")]),
    ],
)
def test_a_write_is_recorded_before_it_happens(
    stream: bool, seen: list[tuple[str, bool, str | None]], tmp_path: Path
) -> None:
    path, clock = tmp_path / "ledger.jsonl", Clock()
    line = ["--personality", "vllm", "--port", "1", *QUICK]
    chosen = options.parse(line, {"vllm": Vllm.defaults}, {})
    engine = Engine(chosen, clock, ledger.Ledger(path, clock))
    shape = Watching(path, stream)

    async def answer() -> None:
        request = read_chat(chat(stream=stream, max_tokens=2))
        with engine.ledger.completion("req-1-1", PATH, stream, 2, clock.now()) as entry:
            await engine.answer(request, entry, cast(Shape, shape), Behaviour(reports_abort=True))

    asyncio.run(answer())
    assert shape.seen == seen
