"""The command line is checked before anything is opened, and an error states the correct form."""

import subprocess
import sys
from pathlib import Path

import pytest

from embedded.engine.options import Options, parse
from embedded.engine.personalities import load
from tests.embedded.engine import HOUSE

GOOD = ("--personality", "vllm", "--port", "8000")
KNOWING = ("--documents", str(HOUSE / "scenarios" / "documents"))


def options(*argv: str, **environment: str) -> Options:
    return parse(argv, {name: each.defaults for name, each in load().items()}, environment)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "required: --personality, --port"),
        (("--personality", "vlm", "--port", "1"), "no personality 'vlm'; did you mean 'vllm'?"),
        ((*GOOD, "--inter-token-latencies", "1ms"), "did you mean '--inter-token-latency'?"),
        ((*GOOD, "--time-to-first-token", "108"), "'108' is not a duration; add a unit, as in 108ms"),
        ((*GOOD, "--startup-duration", "-1s"), "--startup-duration"),
        ((*GOOD, "--first-startup-duration", "1s"), "needs --startup-duration, for the later starts"),
        ((*GOOD, "--startup-duration", "9s", "--first-startup-duration", "1s"), "needs --pidfile"),
        ((*GOOD, "--while-loading", "503"), "--while-loading: needs --startup-duration"),
        ((*GOOD, "--startup-duration", "9s", "--while-loading", "200"), "invalid choice: '200'"),
        ((*GOOD, "--load-at-first-request", "25s"), "vllm loads its model at start; only ollama"),
        ((*GOOD, "--keep-alive", "5m"), "vllm loads its model at start; only ollama"),
        (
            ("--personality", "ollama", "--port", "1", "--keep-alive", "5m"),
            "needs --load-at-first-request",
        ),
        ((*GOOD, "--max-num-seqs", "0"), "'0' is not a whole number of at least 1"),
        ((*GOOD, "--max-waiting-queue-length", "few"), "'few' is not a whole number of at least 0"),
        ((*GOOD, "--time-factor-under-load", "0.5"), "'0.5' is not a factor of at least 1.0"),
        ((*GOOD, "--time-factor-under-load", "nan"), "'nan' is not a factor of at least 1.0"),
        (("--personality", "vllm", "--port", "70000"), "70000 is above 65535"),
        (
            (*GOOD, "--ledger", "/no/such/folder/l.jsonl"),
            "folder /no/such/folder does not exist; create it first",
        ),
        ((*GOOD, "--pidfile", "/no/such/folder/pid"), "--pidfile: folder /no/such/folder does not exist"),
        (("--personality", "cloud", "--port", "1", "--api-key-env", "K"), "variable K is not set"),
        ((*GOOD, "--reasoning", "thoughts"), "invalid choice: 'thoughts'"),
        ((*GOOD, "--reasoning-tokens", "4"), "--reasoning-tokens: needs --reasoning"),
        (
            (*GOOD, "--unsupported-parameters", "max_tokens"),
            "vllm does not have this option; only cloud has it",
        ),
        (
            ("--personality", "cloud", "--port", "1", "--unsupported-parameters", "n"),
            "'n' is not one of max_tokens, temperature",
        ),
        (
            (*GOOD, "--sigterm", "kill"),
            "invalid choice: 'kill' (choose from 'race', 'abort', 'error', 'silence')",
        ),
        ((*GOOD, "--shutdown-timeout", "20"), "'20' is not a duration"),
        ((*GOOD, "--dev-mode", "on"), "'on' is neither true nor false"),
        ((*GOOD, "--prefill-time-per-token", "1"), "'1' is not a duration"),
        (
            ("--personality", "ollama", "--port", "1", "--sigterm", "abort"),
            "--sigterm: ollama does not have this option",
        ),
        (
            ("--personality", "cloud", "--port", "1", "--shutdown-timeout", "1s"),
            "--shutdown-timeout: cloud does not have this",
        ),
        (
            ("--personality", "ollama", "--port", "1", "--dev-mode"),
            "--dev-mode: ollama does not have this option; only vllm",
        ),
        (
            ("--personality", "cloud", "--port", "1", "--http-timeout-keep-alive", "1s"),
            "--http-timeout-keep-alive: cloud",
        ),
        ((*GOOD, "--accuracy", "0.9"), "--accuracy: needs --documents FOLDER"),
        ((*GOOD, "--invalid-json", "0"), "--invalid-json: needs --documents FOLDER"),
        ((*GOOD, *KNOWING, "--accuracy", "96"), "'96' is not a share, from 0 to 1"),
        ((*GOOD, *KNOWING, "--accuracy", "nan"), "'nan' is not a share, from 0 to 1"),
        (
            (*GOOD, *KNOWING, "--accuracy", "0.96", "--invalid-json", "0.05"),
            "0.96 + 0.05 is more than 1",
        ),
        ((*GOOD, "--documents", "/no/such/folder"), "--documents: /no/such/folder: has no documents"),
    ],
)
def test_a_bad_parameter_is_refused_with_the_correct_form(
    argv: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        options(*argv)
    assert ended.value.code == 64
    assert words in capsys.readouterr().err


def test_the_process_itself_ends_with_64_and_one_line() -> None:
    command = [sys.executable, "-m", "embedded.engine", *GOOD, "--inter-token-latency", "5"]
    ended = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 64
    assert len(ended.stderr.splitlines()) == 1


def test_given_options_apply_and_others_are_the_personalitys(tmp_path: Path) -> None:
    chosen = options(
        "--personality=ollama", "--port=11434", "--inter-token-latency=0.35s", f"--ledger={tmp_path}/l"
    )
    assert (chosen.names, chosen.pace.max_num_seqs, chosen.max_waiting) == (("qwen2.5:3b",), 4, 512)
    assert chosen.pace.inter_token_latency_s == 0.35
    assert chosen.pace.time_to_first_token_s == 0.5
    assert options("--personality=cloud", "--port=1", "--api-key-env=K", K="sk-1").api_key == "sk-1"


def test_documents_and_their_shares_are_read() -> None:
    assert options(*GOOD).documents == ()
    chosen = options(*GOOD, *KNOWING)
    assert (len(chosen.documents) > 9, chosen.accuracy, chosen.invalid_json) == (True, 1.0, 0.0)
    chosen = options(*GOOD, *KNOWING, "--invalid-json=0.25")
    assert (chosen.accuracy, chosen.invalid_json) == (0.75, 0.25)


@pytest.mark.parametrize("name", sorted(load()))
def test_every_personality_has_defaults_that_the_command_line_takes(name: str) -> None:
    assert options("--personality", name, "--port", "1").pace.time_to_first_token_s > 0
