"""`python -m chaos watch` against a gateway that goes away, hangs, cuts and answers as another tier."""

import io
import json
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaos.__main__ import main
from chaos.stop import SIGNALS
from tests.chaos.stand import ROOT, until
from tests.chaos.watching import KEY, OLLAMA, VLLM, answer, arguments, command, environment
from tests.contract.exchanges import ROLE, chunked, finish, head, plain, token, usage
from tests.ports import held_port
from tests.scenarios.server import HANG, RST, Server

CUT = answer("vllm-qwen", "Hel", end="stop", output=2)
DOWN = plain({"error": {"message": "boom"}}, "500 Internal Server Error")
COOLING = plain(
    {"error": {"message": "No deployments available for selected model", "code": "429"}}, "429 Too Many Requests"
)  # fmt: skip


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def watched(monkeypatch, capsys):
    """`python -m chaos watch` in this process, to its end."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def run(*words: str, **env: str) -> Done:
        for name, value in {"WATCHED_KEY": KEY, **env}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["chaos", "watch", *words])
        try:
            code = main()
        except SystemExit as e:
            code = e.code
        return Done(code, *capsys.readouterr())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def objects(done: Done) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.shows(
    "watch",
    "python -m chaos watch --url http://127.0.0.1:4000 --model vllm-qwen --api-key-env LITELLM_MASTER_KEY",
    on="a stand-in",
)
def test_it_shows_the_serving_tier_and_ends_after_its_count(watched):
    # Between two of them is more time than an answer takes, so that they end in order.
    with Server([VLLM], [VLLM], [CUT], [DOWN], [COOLING], [OLLAMA], [OLLAMA], [VLLM]) as server:
        done = watched(*arguments(server.url, "--count", "8", "--every", "400ms"))
    assert (done.returncode, done.stderr) == (0, "")
    lines = [re.sub(r"[\d.]+ (m?s\b|and)", r"T \1", line) for line in done.stdout.splitlines()]
    lines = [re.sub(r"[0-9:]{8}", "AT", line).replace(" ms", " s") for line in lines]
    assert lines[:11] == [
        '[AT] #1 PRIMARY  vllm-qwen T s, TTFT T s "Hello"',
        '[AT] #2 PRIMARY  vllm-qwen T s, TTFT T s "Hello"',
        '[AT] #3 CUT      vllm-qwen T s, TTFT T s finish_reason stop at 2 of 8 tokens "Hel"',
        "── OUTAGE: no answer since AT (#4: 500: boom) ──",
        "[AT] #4 FAILED   after T s, 500: boom",
        "[AT] #5 FAILED   after T s, 429: all in cooldown (not a rate limit)",
        "── FAILOVER vllm-qwen → ollama-qwen after T s without a whole answer (between T and T s) ──",
        '[AT] #6 FALLBACK ollama-qwen T s, TTFT T s "Hallo"',
        '[AT] #7 FALLBACK ollama-qwen T s, TTFT T s "Hallo"',
        "── RECOVERED: vllm-qwen again, after T s on ollama-qwen ──",
        '[AT] #8 PRIMARY  vllm-qwen T s, TTFT T s "Hello"',
    ]
    assert "8 sent, 5 good, 1 cut, 2 failed (1 × 500, 1 × 429 (all in cooldown))" in done.stdout


def test_a_hanging_gateway_does_not_stop_it(watched):
    """Two requests hang; the ones after them are sent on schedule, and answered by the next tier."""
    with Server([VLLM], [HANG], [HANG], [OLLAMA]) as server:
        done = watched(
            *arguments(server.url, "--count", "6", "--every", "200ms", "--timeout", "3s", "--json")
        )
    rows = objects(done)
    requests = {row["n"]: row for row in rows if row["kind"] == "request"}
    assert [requests[n]["outcome"] for n in range(1, 7)] == ["ok", "timeout", "timeout", "ok", "ok", "ok"]
    (failover,) = [row for row in rows if row["kind"] == "failover"]
    assert (failover["before"], failover["to"]) == ("vllm-qwen", "ollama-qwen")
    order = [row.get("n") for row in rows if row["kind"] in ("request", "failover")]
    assert order.index(4) < order.index(2), "the failover was shown while the two were still waiting"
    assert rows[-1]["changes"][0]["waited_s"] == pytest.approx(failover["at"] - requests[2]["sent_at"]), (
        "by the summary it is known that the first of the two was lost"
    )


def test_no_more_than_four_requests_wait_at_once(watched):
    with Server([HANG]) as server:
        done = watched(*arguments(server.url, "--count", "5", "--timeout", "1s", "--json"))
        assert len(server.requests) == 5
    rows = objects(done)
    covered = [row for row in rows if row["kind"] == "covered"]
    assert covered[0]["waiting"] == [1, 2, 3, 4]
    assert rows[-1]["covered"] == len(covered)
    assert done.returncode == 5, "there was no answer"


def test_a_gateway_that_goes_away_and_comes_back_on_its_port():
    port = held_port()
    process = subprocess.Popen(
        command(f"http://127.0.0.1:{port}", "--json"), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert process.stdout is not None
        wait_for(process.stdout, "refused")
        with Server([VLLM], port=port):
            wait_for(process.stdout, '"ok"')
        wait_for(process.stdout, "refused")
        with Server([VLLM], port=port):
            recovery = json.loads(wait_for(process.stdout, '"recovery"'))
            # It is ended while it is answered: a request that came between the two would be one outage more.
            process.send_signal(signal.SIGTERM)
            *_, summary = map(json.loads, process.stdout.read().splitlines())
            assert process.wait() == 0
    finally:
        process.kill()
    assert recovery["lower_s"] <= recovery["waited_s"] <= recovery["upper_s"]
    kinds = [change["kind"] for change in summary["changes"]]
    assert kinds == ["outage", "recovery", "outage", "recovery"]


def wait_for(lines, words: str) -> str:
    return next(line for line in lines if words in line)


@pytest.mark.parametrize(
    ("more", "script", "shown"),
    [
        ([], [VLLM], "good"),
        ([], [CUT], "cut"),
        (["--witness", "none"], [CUT], "unverified"),
        (["--prompt", "Say hello."], [CUT], "unverified"),  # of a prompt of one's own the length is unknown
        (["--prompt", "Say hello.", "--witness", "length"], [CUT], "cut"),
        (["--max-tokens", "300"], [VLLM], "unverified"),  # a hundred languages may end before that
        (["--plain"], [plain({"choices": [{"message": {"content": "Hello"}, "finish_reason": "length"}]})], "good"),
        ([], [head("200 OK", "transfer-encoding: chunked") + chunked(ROLE, token(), last=False), RST], "cut"),
    ],
)  # fmt: skip
def test_what_verifies_an_answer(watched, more, script, shown):
    with Server(script) as server:
        (record, *_, summary) = objects(watched(*arguments(server.url, "--count", "1", "--json", *more)))
    found = "cut" if record["outcome"] == "cut" else "unverified" if record["witness"] == "none" else "good"
    assert found == shown
    assert (summary["cut"], summary["unverified"]) == (int(shown == "cut"), int(shown == "unverified"))


def test_a_servers_escape_sequences_do_not_reach_the_terminal(watched):
    evil = "\x1b[2J\x1b]0;owned\x07\x9b31m\nnew line\u202e"
    with Server([answer("vllm\x9bqwen", evil)], [plain({"error": {"message": evil}}, "500 Oh")]) as server:
        done = watched(*arguments(server.url, "--count", "2"))
    assert not set(done.stdout) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert '"[2J]0;owned31m new line"' in done.stdout


def test_the_key_is_in_no_output_and_in_no_process_list():
    echo = answer("vllm-qwen", f"You said Bearer {KEY}.")
    with Server(
        [echo], [plain({"error": {"message": f"no such key {KEY}"}}, "401 Unauthorized")], [HANG]
    ) as server:
        process = subprocess.Popen(
            command(server.url), cwd=ROOT, env=environment(), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            until(lambda: len(server.requests) > 2, "it sends requests")
            assert f"Bearer {KEY}".encode() in server.requests[0], "the gateway gets it"
            lists = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert KEY.encode() not in lists
    assert KEY not in out
    assert "(key)" in out


def test_headers_and_caps_of_ones_own_reach_the_gateway_and_no_output(watched):
    echo = plain({"error": {"message": "bad token s3cret-of-the-proxy"}}, "403 Forbidden")
    with Server([echo]) as server:
        more = [
            "--header",
            "X-Sso: ${WATCHED_SSO}",
            "--max-tokens",
            "5",
            "--max-tokens-field",
            "max_completion_tokens",
        ]
        done = watched(*arguments(server.url, "--count", "1", *more), WATCHED_SSO="s3cret-of-the-proxy")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert b"\r\nX-Sso: s3cret-of-the-proxy" in head
    assert json.loads(body)["max_completion_tokens"] == 5
    assert "bad token (key)" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr


UNSEEN = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: vllm-qwen") + chunked(
    ROLE, finish("length"), usage(8)
)


def test_an_answer_of_a_reasoning_model_that_shows_no_token_is_good(watched):
    with Server([UNSEEN]) as server:
        (record, *_, summary) = objects(watched(*arguments(server.url, "--count", "2", "--json")))
    assert (record["outcome"], record["witness"], record["ttft_ms"]) == ("ok", "end", None)
    assert (summary["good"], summary["failed"]) == (2, 0)


def test_the_reader_may_leave():
    with Server([VLLM]) as server:
        process = subprocess.Popen(
            command(server.url), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        try:
            assert process.wait(30) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_an_encoding_without_its_letters_does_not_end_it(watched, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    with Server([answer("vllm-qwen", "Grüße 你好")]) as server:
        assert watched(*arguments(server.url, "--count", "1")).returncode == 0
    assert b'"Gr??e ??"' in out.buffer.getvalue()


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["--url", "http://h:1"], "--model is missing"),
        (["--url", "h:1", "--model", "m"], "is not a url; write it like http://host:port"),
        (["--url", "http://h:1", "--model", "m", "--topology", "t.yaml"], "give one of them"),
        (["--url", "http://h:1", "--model", "m", "--api-key-env", KEY], "never the key"),
        (["--url", "http://h:1", "--model", "m", "--api-key", KEY], "did you mean '--api-key-env'?"),
        (["--url", "http://h:1", "--model", "m", "--api-key-env", "NOT_SET_HERE"], "export it first"),
        (["--url", "http://h:1", "--model", "m", "--every", "3"], "write 3s"),
        (["--url", "http://h:1", "--model", "m", "--every", "0s"], "--every: 0 is too small"),
        (["--url", "http://h:1", "--model", "m", "--count", "0"], "--count: 0 is too small"),
        (["--api-key-env", "WATCHED_KEY", "--topology", "topologies/k3s.yaml"], "is valid only with --url"),
        (
            ["--header", "X-A: ${WATCHED_KEY}", "--topology", "topologies/k3s.yaml"],
            "--header is valid only with --url",
        ),
        (
            ["--max-tokens-field", "max_tokens", "--topology", "topologies/k3s.yaml"],
            "--max-tokens-field is valid only with --url",
        ),
        (
            ["--url", "http://h:1", "--model", "m", "--header", f"X-A: {KEY}"],
            "X-A: a literal value is refused",
        ),
        (["--url", "http://h:1", "--model", "m", "--header", KEY], "--header: write 'NAME: ${VARIABLE}'"),
        (
            ["--url", "http://h:1", "--model", "m", "--header", "Host: ${WATCHED_KEY}"],
            "Host: is set by the request itself",
        ),
        (
            ["--url", "http://h:1", "--model", "m", "--header", "X-A: ${NOT_SET_HERE}"],
            "NOT_SET_HERE is not set",
        ),
        ([], "start the embedded stack with make up first"),
        (
            ["--topology", "topologies/embedded.yaml"],
            "its stack is not running; start it with make up",
        ),
        (["--topology", "no.yaml"], "no.yaml: cannot be read"),
    ],
)
def test_bad_input_is_refused_with_what_would_be_right(watched, words, refusal, tmp_path, monkeypatch):
    topology = ROOT / "topologies"
    monkeypatch.chdir(tmp_path)
    done = watched(*(word.replace("topologies", str(topology)) for word in words))
    assert done.returncode == 64
    assert refusal in done.stderr
    assert KEY not in done.stderr


def test_a_proxy_that_would_apply_is_refused(watched):
    done = watched(*arguments("http://gateway.example:4000", "--count", "1"), http_proxy="http://proxy:3128")
    assert done.returncode == 64
    assert "http_proxy is set" in done.stderr


def test_each_request_has_a_connection_of_its_own_and_a_nonce(watched):
    """As curl in a loop; and no cache may answer during an outage."""
    with Server([VLLM]) as server:
        watched(*arguments(server.url, "--count", "3"))
        assert len(server.connections) == 3
        prompts = [json.loads(r.partition(b"\r\n\r\n")[2])["messages"][0]["content"] for r in server.requests]
    assert len(set(prompts)) == 3
    assert all(re.fullmatch(r"req-\w+-w\w+ Say hello in one hundred languages, .*", p) for p in prompts)


def test_a_port_without_a_listener_is_named(watched):
    with socket.socket() as held:  # bound, but not listening
        held.bind(("127.0.0.1", 0))
        done = watched(*arguments(f"http://127.0.0.1:{held.getsockname()[1]}", "--count", "1"))
    assert "no connection: Connection refused" in done.stdout
    assert done.returncode == 5
