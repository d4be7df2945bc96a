"""Bad input is refused before anything is touched: exit 64, and one message with the place, the mistake, and what would be right."""

import socket
from pathlib import Path

import pytest

from tests.chaos.stand import ROOT
from tests.forked import run
from tests.ports import held_port
from tests.scenarios.server import Server
from tests.whole.stack import SHORT, locust

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-litellm-model-group: vlm-qwen\r\nContent-Length: 100\r\n\r\n"
    + b'{"choices": [{"finish_reason": "length", "message": {"content": "x"}}]}'.ljust(100)
)


def refused(tmp_path: Path, topology: Path, timeline: str, *more: str) -> str:
    (tmp_path / "t.yaml").write_text(timeline)
    process = locust(topology, tmp_path / "t.yaml", tmp_path / "results", *more)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 64, out
    assert "Traceback" not in out
    assert not list(tmp_path.glob("results/2*")), "nothing was touched, so there is no run"
    return out


@pytest.mark.parametrize(
    ("old", "new", "more", "words"),
    [
        ("fault: scale_to_zero, target: vllm", "fault: scale_to_zer, target: vllm", (), "did you mean 'scale_to_zero'?"),
        ("failover:", "failver:", (), "did you mean 'failover'?"),
        ("", "", ("--scenarios", "chat,dierct"), "no scenario 'dierct'; did you mean 'direct'?"),
        ("settle: 14s", "settle: 14s\nscenarios: [chat, clasify]", (), "scenarios: no scenario 'clasify'; did you mean 'classify'?"),
        ("", "", ("--scenarios", "classify", "--documents", "docs/"), "docs: has no documents"),
        ("", "", ("--scenarios", "classify", "--instances", "0"), "--instances: 0 classifies no document; give 1 or more"),
        ("", "", ("--duration", "24"), "write 24s"),
        ("", "", ("--arrivals", "poison:8/s"), "--arrivals: 'poison:8/s': no kind of arrivals 'poison'; did you mean 'poisson'?"),
        ("", "", ("--results", "/dev/null/x"), "cannot be written to"),
        ("", "", ("--bogus",), "unrecognized arguments: --bogus"),
        ("", "", ("--max-in-flight", "nan"), "argument --max-in-flight: invalid int value: 'nan'"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_refused(tmp_path, old, new, more, words):
    assert words in refused(tmp_path, ROOT / "topologies/embedded.yaml", SHORT.replace(old, new), *more)


def test_a_literal_key_is_refused_and_not_repeated(tmp_path, topology):
    out = refused(tmp_path, topology(1, "sk-very-secret"), SHORT)
    assert "gateway: api_key: a literal key is refused; write ${NAME}" in out
    assert "sk-very-secret" not in out


def test_a_key_that_is_not_in_the_environment_is_refused(tmp_path, topology, monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    assert "the environment variable SOME_KEY is not set" in refused(
        tmp_path, topology(1, "${SOME_KEY}"), SHORT
    )


def test_a_gateway_that_does_not_answer_is_refused(tmp_path, topology):
    port = held_port()
    out = refused(tmp_path, topology(port), SHORT)
    assert f"gateway: http://127.0.0.1:{port} gives no answer; refused" in out


def test_a_gateway_whose_answers_match_no_tier_is_refused(tmp_path, topology):
    with Server([ANSWER]) as server:
        out = refused(tmp_path, topology(server.port), SHORT)
    assert "no group 'vlm-qwen'; did you mean 'vllm-qwen'?" in out


def test_a_cluster_that_cannot_be_reached_is_refused(tmp_path, topology, monkeypatch):
    with Server([ANSWER.replace(b"vlm-qwen\r\n", b"vllm-qwen\r\n")]) as server:
        out = refused_later(tmp_path, topology(server.port))
    assert "kubeconfig /none: cannot be used" in out


def refused_later(tmp_path: Path, topology: Path) -> str:
    """Chaos itself refuses: the run was opened, and is closed as aborted."""
    (tmp_path / "t.yaml").write_text(SHORT)
    process = locust(topology, tmp_path / "t.yaml", tmp_path / "results")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 64, out
    return out


def test_a_proxy_is_refused_by_locust_and_by_chaos_alike(tmp_path, topology, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://me:s3cret@proxy:3128")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    out = refused(tmp_path, topology(1), SHORT)
    topology_path, timeline = str(tmp_path / "topology.yaml"), str(tmp_path / "t.yaml")
    done = run("chaos", "run", "--topology", topology_path, "--timeline", timeline)
    assert done.returncode == 64
    for text in (out, done.stderr):
        assert (
            "gateway: HTTP_PROXY is set, and names a proxy for 127.0.0.1; unset it, or put 127.0.0.1 into NO_PROXY"
            in text
        )
        assert "s3cret" not in text


def test_how_long_a_trace_lasts_is_printed_before_anything_is_touched(tmp_path):
    """A wrong unit is visible there; and a trace that cannot be replayed ends the run there."""
    trace, timeline = tmp_path / "trace.csv", ROOT / "chaos/timelines/three_tier.yaml"
    trace.write_text("timestamp_ms,input_length,output_length\n0,20,5\n3000,20,5\n")
    nowhere = ("--arrivals", f"replay:{trace}", "--results", "/dev/null/x")
    out = refused(tmp_path, ROOT / "topologies/embedded.yaml", timeline.read_text(), *nowhere)
    line = "2 arrivals over 3s (0.667/s), times read as milliseconds (its column is timestamp_ms); a round of the timeline takes"
    assert line in out
    trace.write_text("0,20,5\nnan,20,5\n")
    out = refused(tmp_path, ROOT / "topologies/embedded.yaml", timeline.read_text(), *nowhere)
    assert f"--arrivals: {trace} line 2: 'nan' is not a finite time" in out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--master", "--expect-workers", "0"), "Invalid --expect-workers argument (0)"),
        (("--autoquit", "1"), "--autoquit is only meaningful in combination with --autostart"),
        (("--processes", "-2"), "Invalid --processes count -2"),
        (("NoSuchUser",), "Unknown User(s): NoSuchUser"),
    ],
)
def test_what_locust_itself_refuses_has_the_same_exit_code(tmp_path, topology, more, words):
    assert words in refused(tmp_path, topology(1), SHORT, *more)


@pytest.mark.parametrize(
    "where", [("127.0.0.1", "{busy}"), ("192.0.2.1", "0"), ("no-such-host.invalid", "5557")], ids=str
)
def test_an_address_on_which_a_master_cannot_listen_is_refused(tmp_path, topology, where):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = where[1].format(busy=listener.getsockname()[1])
        more = ("--master", "--master-bind-host", where[0], "--master-bind-port", port)
        out = refused(tmp_path, topology(1), SHORT, *more)
    assert f"--master-bind-host, --master-bind-port: cannot listen on {where[0]}:{port}: " in out
