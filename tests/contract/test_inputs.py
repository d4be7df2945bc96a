"""Topologies and timelines: errors are reported with their place and the correction."""

import os
from pathlib import Path

import pytest

from contract import duration, textfile, timeline, topology
from contract.refusal import Refusal

TOPOLOGY = """
cluster: 6f1c
gateway:
  url: http://127.0.0.1:4000
  model: vllm-qwen
  api_key: ${KEY}
tiers:
  - name: vllm
    match: {group: vllm-qwen}
    url: http://127.0.0.1:8000/v1
    model: qwen
    handles: {deployment: ml/vllm-server}
  - name: openai
    match: {group: openai-gpt4o}
    cloud: true
"""
TIMELINE = """
hypothesis: it holds
baseline: 10s
settle: 5s
max: 3m
steps:
  - {name: gaming, at: 10s, for: 30s, fault: scale_to_zero, target: vllm}
"""


def read(tmp_path: Path, text: str, module):
    path = tmp_path / "input.yaml"
    path.write_text(text)
    return module.read(path)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("40s", 40),
        ("8m", 480),
        ("24h", 86400),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("2d", 172800),
    ],
)
def test_a_duration_is_read_and_written(text, seconds):
    assert duration.parse(text) == seconds
    assert duration.parse(duration.text(seconds)) == seconds


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (40, "write 40s"),
        ("40", "write 40s"),
        ("soon", "like 40s"),
        ("4 s", "like 40s"),
        (None, "like 40s"),
        ("nan", "like 40s"),
        ("inf", "like 40s"),
        ("1e400h", "like 40s"),
        ("٣s", "like 40s"),
        (f"{'9' * 400}h", "too long a duration; 3650d is the longest"),
        ("99999d", "too long a duration"),
        ("", "like 40s"),
    ],
)
def test_a_bare_number_is_no_duration(wrong, words):
    with pytest.raises(ValueError, match=words):
        duration.parse(wrong)


def test_a_topology_is_read_and_written_without_its_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("KEY", "the-secret")
    found = read(tmp_path, TOPOLOGY, topology)
    assert [t.name for t in found.tiers] == ["vllm", "openai"]
    assert topology.secret(found.gateway.api_key) == "the-secret"
    written = topology.dump(found)
    assert "the-secret" not in written
    assert topology.read_text(written) == found


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        # one error, and its message
        ("${KEY}", "sk-literal", "gateway: api_key: a literal key is refused; write ${NAME}"),
        (
            "handles: {deployment: ml/vllm-server}",
            "handles: {deploymnt: x/y}",
            "no key 'deploymnt'; did you mean 'deployment'?",
        ),
        (
            "deployment: ml/vllm-server",
            "command: {inject: [a], mend: [b], check: [c]}",
            "command: mend: 'mend' is 'restore' now",
        ),
        ("deployment: ml/vllm-server", "deployment: vllm", "write namespace/name"),
        ("http://127.0.0.1:4000", "127.0.0.1:4000", "is not a url; write it like http://host:port"),
        ("http://127.0.0.1:4000", "http://me:pw@h:1", "must not carry a user or a password"),
        ("http://127.0.0.1:4000", "http://h:99999", "'http://h:99999' has an invalid port"),
        ("http://127.0.0.1:4000", "http://h:4OOO", "'http://h:4OOO' has an invalid port"),
        ("http://127.0.0.1:4000", "http://h/a b", "has white space, which a url cannot have"),
        (
            "http://127.0.0.1:8000/v1",
            "http://h/v1?api-version=1",
            "'http://h/v1' has a query or a fragment",
        ),
        ("http://127.0.0.1:8000/v1", "'http://h/v1#a'", "has a query or a fragment"),
        (
            "    model: qwen\n",
            "    model: qwen\n    health: http://h:99999/health?model=a\n",
            "health: 'http://h:99999/health' has an invalid port",
        ),
        ("name: openai", "name: vllm", "the name 'vllm' is given twice"),
        ("name: openai", "name: gateway", "is reserved for the gateway"),
        (
            "{group: vllm-qwen}",
            "{}",
            "tier 'vllm': match: give group, or api_base, or both for one of several",
        ),
        (
            "group: openai-gpt4o",
            "group: vllm-qwen",
            "both are group vllm-qwen; deployments of one group are distinguished",
        ),
        (
            "group: openai-gpt4o",
            "group: vllm-qwen, api_base: b",
            "group 'vllm-qwen' is the only key in one of them",
        ),
        ("{group: openai-gpt4o}", "{group: vllm-qwen, api_base: b}", "give both api_base"),
        ("    model: qwen\n", "", "tier 'vllm' has a url but no model"),
        ("cluster: 6f1c\n", "", "cluster is missing"),
        ("  url: http://127.0.0.1:4000\n", "", "gateway: url is missing"),
        ("gateway:\n", "gateway:\n  modle: x\n", "gateway: modle: no key 'modle'; did you mean 'model'?"),
        (
            "    model: qwen\n",
            "    model: qwen\n    api: olama\n",
            "tier 'vllm': api: Input should be 'openai' or 'ollama'",
        ),
        (
            "    model: qwen\n",
            "    model: qwen\n    api: ollama\n",
            "uses /api/chat; give the url without /v1",
        ),
        (
            "/v1\n    model: qwen\n",
            "\n    model: qwen\n    api: ollama\n    ignore_eos: true\n",
            "has no ignore_eos",
        ),
        (
            "    model: qwen\n",
            "    model: qwen\n    witness: usage\n",
            "witness: Input should be 'length' or 'none'",
        ),
        ("cluster: 6f1c", "cluster: 6f1c\ncluster: 7", "the key 'cluster' is given twice"),
        (
            "  model: vllm-qwen",
            "  model: {{ .Values.model }}",
            "a key must be a word, not a list or mapping; quote",
        ),
    ],
)
def test_a_wrong_topology_is_refused_with_the_correction(tmp_path, old, new, words):
    assert old in TOPOLOGY
    with pytest.raises(Refusal) as e:
        read(tmp_path, TOPOLOGY.replace(old, new, 1), topology)
    assert words in str(e.value)
    assert "input.yaml" in str(e.value)
    assert "sk-literal" not in str(e.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("for: 30s", "for: 30", "step 'gaming': for: 30 is a bare number, not a duration; write 30s"),
        ("for: 30s, ", "", "step 'gaming': for: is missing"),
        ("baseline", "basline", "no key 'basline'; did you mean 'baseline'?"),
        ("at: 10s", "at: 5s", "is in the baseline, which ends at 10s"),
        ("max: 3m", "max: 30s", "max 30s is shorter than a round, which takes 45s"),
        (
            "steps:\n",
            "steps:\n  - {name: twice, at: 20s, for: 5s, fault: scale_to_zero, target: vllm}\n",
            "overlaps 'gaming' on 'vllm'; begin after 40s",
        ),
        (
            "steps:\n",
            "steps:\n  - {name: gaming, at: 50s, for: 5s, fault: scale_to_zero, target: ollama}\n",
            "two steps are named 'gaming'",
        ),
        ("for: 30s", "for: 30s, trials: 9", "step 'gaming': trials belongs beside steps:, not in a step"),
        ("for: 30s", "for: 30s, phase: 1s", "step 'gaming': phase belongs beside steps:, not in a step"),
        ("max: 3m", "max: 3m\nphase: random", "phase: write up to how long, like 10s"),
        ("max: 3m", "max: 3m\nphase: 10", "phase: 10 is a bare number, not a duration; write 10s"),
        ("max: 3m", "max: 3m\ntrials: 0", "trials: Input should be greater than or equal to 1"),
        ("max: 3m", "max: 3m\ntrials: 9s", "trials: Input should be a valid integer"),
        ("max: 3m", "max: 3m\ntrial: 9", "no key 'trial'; did you mean 'trials'?"),
        ("max: 3m", "max: 3m\nscenarios: chat", "scenarios: Input should be a valid list"),
        ("max: 3m", "max: 3m\nscenarios: []", "scenarios: List should have at least 1 item"),
        ("max: 3m", "max: 3m\nscenarios: [chat, direct, chat]", "scenarios: 'chat' is given twice"),
        ("max: 3m", "max: 3m\nscenario: [chat]", "no key 'scenario'; did you mean 'scenarios'?"),
    ],
)
def test_a_wrong_timeline_is_refused_with_the_correction(tmp_path, old, new, words):
    assert old in TIMELINE
    with pytest.raises(Refusal) as e:
        read(tmp_path, TIMELINE.replace(old, new, 1), timeline)
    assert words in str(e.value)


def test_a_timeline_may_list_its_scenarios(tmp_path):
    assert read(tmp_path, TIMELINE, timeline).scenarios is None
    found = read(tmp_path, TIMELINE.replace("max: 3m", "max: 3m\nscenarios: [chat, classify]"), timeline)
    assert found.scenarios == ["chat", "classify"]


def test_all_errors_of_a_file_are_reported_at_once(tmp_path):
    with pytest.raises(Refusal) as e:
        read(tmp_path, TIMELINE.replace("10s\n", "10\n", 1).replace("5s", "5"), timeline)
    assert len(str(e.value).splitlines()) == 2


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf", "1.0e+999", ".NaN"])
@pytest.mark.parametrize("key", ["objectives: {{ttft_ms: {}}}", "abort_when: {{over: 1m, failures: {}}}", "expect: {{failover: {{max_s: {}}}}}"])  # fmt: skip
def test_a_number_that_is_not_finite_is_refused_in_any_place(tmp_path, key, number):
    """Everything passes an infinite limit, and nothing passes one that is not a number."""
    with pytest.raises(Refusal, match=r"not a finite number; write one.*\n.*line 1"):
        read(tmp_path, f"{key.format(number)}\n", timeline)


def test_a_model_takes_no_number_that_is_not_finite():
    with pytest.raises(ValueError, match="finite number"):
        timeline.Objectives(ttft_ms=float("inf"))


@pytest.mark.parametrize(
    ("old", "new"), [("", "\ufeff"), ("\n", "\r\n"), ("\n", "\r")], ids=["a BOM", "CRLF", "CR"]
)
def test_how_a_file_was_saved_changes_nothing(tmp_path, old, new):
    written = new + TIMELINE if not old else TIMELINE.replace(old, new)
    (tmp_path / "saved.yaml").write_bytes(written.encode())
    assert timeline.read(tmp_path / "saved.yaml") == read(tmp_path, TIMELINE, timeline)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_bytes(TIMELINE.encode("utf-16")), "is UTF-16; save it as UTF-8"),
        (lambda path: path.write_bytes(TIMELINE.encode("utf-32")), "is UTF-32; save it as UTF-8"),
        (lambda path: path.write_bytes(b"hypothesis: caf\xe9\n"), "is not UTF-8 at byte 15"),
        (lambda path: path.write_bytes(b"hypothesis: \x00\n"), "has a NUL at byte 12"),
        (lambda path: path.write_text("a: 2024-99-99\n"), "month must be in"),
        (lambda path: path.write_text("[" * 5000), "recursion"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: os.mkfifo(path), "cannot be read: it is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "cannot be read: it is not a regular file"),
        (lambda path: path.write_bytes(b" " * (textfile.MOST_BYTES + 1)), "is larger than 16 MiB"),
    ],
    ids=["UTF-16", "UTF-32", "Latin-1", "NUL", "no date", "a nest", "folder", "FIFO", "device", "huge"],
)
def test_a_path_that_is_not_a_text_file_is_refused_at_once(tmp_path, write, words):
    write(tmp_path / "t.yaml")
    with pytest.raises(Refusal) as e:
        timeline.read(tmp_path / "t.yaml")
    assert str(e.value).startswith(f"{tmp_path}/t.yaml: ")
    assert words in str(e.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Refusal, match="cannot be read: No such file"):
        topology.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("group", "api_base", "tier"),
    [
        ("vllm-qwen", None, "vllm"),
        ("openai-gpt4o", "http://x", "openai"),
        ("other", None, None),
        (None, None, None),
    ],
)
def test_the_gateways_headers_identify_the_tier(tmp_path, group, api_base, tier):
    assert read(tmp_path, TOPOLOGY, topology).tier_of(group, api_base) == tier


@pytest.mark.parametrize(
    ("url", "api", "chat"),
    [
        ("http://h:1", "openai", "http://h:1/v1/chat/completions"),
        ("http://h:1/v1", "openai", "http://h:1/v1/chat/completions"),
        ("http://h:1/v1/", "openai", "http://h:1/v1/chat/completions"),
        ("http://h:1/proxy", "openai", "http://h:1/proxy/v1/chat/completions"),
        ("http://h:1/", "ollama", "http://h:1/api/chat"),
    ],
)
def test_the_url_of_chat_completions(url, api, chat):
    assert topology.chat_url(url, api) == chat
