"""A literal key in a topology or a timeline is refused: both are copied into every run. Ordinary arguments are not."""

import random
import re
import string
from pathlib import Path

import pytest
import yaml

from contract import secret_text, timeline, topology
from contract.refusal import Refusal

ROOT = Path(__file__).parents[2]
PASSWORD = "hunter2correct"
RANDOM = "q8Zr5TnY2vKc7LwX1mPd4JsB"
KEY = f"sk-{RANDOM}"


def read(tmp_path: Path, command: list[str] | None = None, **tier: object) -> topology.Topology:
    handles = {"command": {"inject": command or ["true"], "check": ["true"], "restore": ["true"]}, "unprotected": True}  # fmt: skip
    found = {"name": "vllm", "match": {"group": "v"}, "handles": handles, **tier}
    (tmp_path / "t.yaml").write_text(
        yaml.safe_dump({"gateway": {"url": "http://g", "model": "a"}, "tiers": [found]})
    )
    return topology.read(tmp_path / "t.yaml")


COMMANDS = [
    ["curl", "-H", f"Authorization: Bearer {PASSWORD}", "http://h"],
    ["curl", "-H", f"authorization: bearer {RANDOM}", "http://h"],
    ["curl", "-H", f"X-Api-Key: {PASSWORD}", "http://h"],
    ["curl", "-H", f"Cookie: session={PASSWORD}", "http://h"],
    ["curl", "-u", f"me:{PASSWORD}", "http://h"],
    ["/usr/bin/curl", "--user", f"me:{PASSWORD}", "http://h"],
    ["curl", f"http://me:{PASSWORD}@h/stop"],
    ["curl", f"https://h/stop?token={PASSWORD}"],
    ["curl", f"https://h/stop?a=1&api_key={PASSWORD}"],
    ["curl", f"https://hooks.slack.com/services/T0/B0/{RANDOM}"],
    ["sh", "-c", f"curl -H 'Authorization: Bearer {PASSWORD}' http://h"],
    ["sh", "-c", f'curl -H "X-Auth-Token: {PASSWORD}" http://h && sleep 1'],
    ["sh", "-c", f"PGPASSWORD={PASSWORD} psql -c 'select 1'"],
    ["sh", "-c", f"gpuctl --password {PASSWORD} off"],
    ["sh", "-c", f"export API_TOKEN='{PASSWORD}'; gpuctl off"],
    ["env", f"API_KEY={PASSWORD}", "gpuctl", "off"],
    ["gpuctl", "--password", PASSWORD],
    ["gpuctl", f"--password={PASSWORD}"],
    ["gpuctl", "--api-key", PASSWORD],
    ["gpuctl", "-token", PASSWORD],
    ["gpuctl", f"--client-secret={PASSWORD}"],
    ["gpuctl", KEY],
    ["gpuctl", "--password", "$2y$10$N9qo8uLOickgx2ZMRZoMye"],
    ["ssh", "gpu1", f"sh -c 'gpuctl --password {PASSWORD}'"],
    ["gpuctl", f"x,{KEY}"],
    ["gpuctl", "AKIAIOSFODNN7EXAMPLE"],
    ["gpuctl", "ghp_0123456789abcdefghijABCDEFGHIJ012345"],
    ["gpuctl", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"],
    ["gpuctl", "-----BEGIN OPENSSH PRIVATE KEY-----"],
    ["gpuctl", RANDOM],
    ["psql", f"postgres://me:{PASSWORD}@db/x"],
    ["docker", "run", "-e", f"OPENAI_API_KEY={PASSWORD}", "vllm"],
    ["systemd-run", f"--setenv=API_KEY={PASSWORD}", "x"],
    ["sshpass", "-p", PASSWORD, "ssh", "h"],
    ["redis-cli", "--pass", PASSWORD, "shutdown"],
    ["sh", "-c", f"echo '{{\"password\": \"{PASSWORD}\"}}' | gpuctl"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c)[:50])
def test_a_literal_key_in_a_command_is_refused(tmp_path, command):
    with pytest.raises(Refusal) as e:
        read(tmp_path, command)
    words = str(e.value)
    assert re.search(r"tier 'vllm': handles: command: inject: argument [0-9]+ has ", words)
    assert "put it into the environment, which the command gets" in words
    for secret in (PASSWORD, RANDOM, "AKIAIOSF", "ghp_0123", "eyJhbGci"):
        assert secret not in words


ORDINARY = [
    ["docker", "stop", "-t", "10", "vllm"],
    ["docker", "run", "--gpus", "all", "-e", "CUDA_VISIBLE_DEVICES=0", "-p", "8000:8000", "vllm/vllm-openai:v0.11.0"],
    ["docker", "run", "vllm@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    ["docker", "start", "3f4e8a9b2c1d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f"],
    ["docker", "run", "-e", "VLLM_API_KEY", "--api-key", "EMPTY", "vllm"],
    ["aws", "ec2", "stop-instances", "--instance-ids", "i-0abcd1234ef567890", "--region", "eu-central-1"],
    ["az", "vm", "stop", "--ids", "/subscriptions/6e2c5a3b-0d5f-4a83-9f67-1b1f2d9c8e7a/resourceGroups/Llm2/Vm1"],
    ["virsh", "suspend", "6e2c5a3b-0d5f-4a83-9f67-1b1f2d9c8e7a"],
    ["kubectl", "scale", "deploy/vllm", "--replicas=0", "-n", "llm", "--token-file", "/var/run/secrets/token"],
    ["kubectl", "delete", "secret", "vllm-tls"],
    ["kubectl", "label", "node", "gpu1", "nvidia.com/gpu.product=A100-SXM4-80GB"],
    ["helm", "upgrade", "x", "--set", "auth.existingSecret=vllm-secret-name,replicas=0"],
    ["ssh", "-i", "~/.ssh/id_ed25519", "-o", "BatchMode=yes", "-o", "PubkeyAuthentication=yes", "gpu1", "sudo -n systemctl stop vllm"],
    ["ssh", "user@gpu1", "systemctl --user stop ollama.service"],
    ["curl", "--key", "/etc/ssl/key.pem", "--cert", "/etc/ssl/cert.pem", "https://h/stop"],
    ["curl", "--key", "client.key", "--cacert=ca.crt", "-fsS", "-X", "POST", "https://h:8443/v1/models/Qwen2.5-7B/unload?wait=true&id=5"],
    ["sh", "-c", 'curl -H "Authorization: Bearer $TOKEN" http://h'],
    ["sh", "-c", 'curl -H "Authorization: Bearer ${TOKEN}" -u "me:$PW" http://h?key=$KEY'],
    ["sh", "-c", 'curl -H "X-Api-Key: $(cat /run/secrets/key)" http://h'],
    ["sh", "-c", 'PGPASSWORD="$PW" psql --password "$PW" -c "select 1"'],
    ["sh", "-c", 's=$(docker inspect -f "{{.State.Status}}" vllm) || exit 255; test "$s" = running'],
    ["systemd-run", "--collect", "--unit=brownout-restore.timer", "--on-active={seconds}s", "docker", "start", "vllm"],
    ["vllm", "serve", "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B-GPTQ-Int4", "--max-num-batched-tokens", "8192"],
    ["ollama", "stop", "hf.co/unsloth/Llama-3.2-3B-Instruct-GGUF:Q4_K_M"],
    ["llama-server", "-m", "/models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "--override-kv", "tokenizer.ggml.add_bos_token=bool:false"],
    ["consul", "kv", "put", "-token-file=/etc/consul.token", "llm/mode", "gaming"],
    ["etcdctl", "put", "--key", "gpu-mode", "gaming"],
    ["redis-cli", "DEL", "key:vllm:1"],
    ["jq", "-r", ".[] | select(.key==\"gpu\") | .value", "state.json"],
    ["python", "-c", "import time; time.sleep(5)"],
    ["/nix/store/5w3j2kqzz8l3r1n9q0v7b6m4x2c1d0f9-brownout-1.0/bin/GpuMode2Switch", "off"],
    ["gpu-mode", "--auth-mode", "login", "--sort-by", "key", "--sign", "basic authentication"],
    ["ipmitool", "-H", "10.0.0.5", "-U", "admin", "-f", "/etc/ipmi.password", "chassis", "power", "off"],
    ["timeout", "--signal=KILL", "5", "wg", "set", "wg0", "peer", "down"],
]  # fmt: skip


@pytest.mark.parametrize("command", ORDINARY, ids=lambda c: " ".join(c)[:50])
def test_ordinary_arguments_are_not_refused(tmp_path, command):
    read(tmp_path, command)


def test_a_process_that_is_started_by_a_command_with_a_key_is_refused(tmp_path):
    handles = {"process": {"pidfile": "/run/x.pid", "start": ["serve", "--api-key", PASSWORD]}}
    with pytest.raises(Refusal, match="start: argument 3 has the value of --api-key"):
        read(tmp_path, url="http://127.0.0.1:1", model="m", handles=handles)


URLS = [
    f"http://me:{PASSWORD}@h:1/health", f"http://{PASSWORD}@h:1/health", f"http://:{PASSWORD}@h/health", f"http://@h/{KEY}",
    f"http://h/health?key={PASSWORD}", f"http://h/health?a=1&access_token={PASSWORD}", f"http://h/health?x={KEY}",
    f"http://h/health?sig={RANDOM}", f"http://h/{KEY}/health", f"http://h/health?token=x&{RANDOM}", f"ftp://me:{PASSWORD}@h",
    f"me:{PASSWORD}@h", f"h/health?key={PASSWORD}",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_a_literal_key_in_a_url_is_refused(tmp_path, url):
    with pytest.raises(Refusal) as e:
        read(tmp_path, health=url)
    assert "health: " in str(e.value)
    assert PASSWORD not in str(e.value).replace(f"'{url}'", "") or "is not a url" not in str(e.value)
    for secret in (PASSWORD, RANDOM):
        assert secret not in str(e.value)


@pytest.mark.parametrize("url", ["http://h/health?model=Qwen/Qwen2.5-7B-Instruct&verbose=true", "http://h:1/v1/models?limit=5", "http://[::1]:1/x"])  # fmt: skip
def test_an_ordinary_query_is_not_refused(tmp_path, url):
    read(tmp_path, health=url)


@pytest.mark.parametrize(
    "tier",
    [
        {"model": KEY}, {"engine": f"vLLM, Bearer {PASSWORD}"}, {"match": {"group": "v", "api_base": f"http://me:{PASSWORD}@h/v1"}},
        {"ca_file": f"/etc/{KEY}"},
    ],
)  # fmt: skip
def test_a_literal_key_anywhere_in_a_topology_is_refused(tmp_path, tier):
    with pytest.raises(Refusal) as e:
        read(tmp_path, **tier)
    assert PASSWORD not in str(e.value)
    assert RANDOM not in str(e.value)


def test_a_literal_key_in_a_timeline_is_refused(tmp_path):
    text = (ROOT / "chaos/timelines/three_tier.yaml").read_text()
    data = yaml.safe_load(text)
    for place in (lambda d: d.update(hypothesis=f"with {KEY}"), lambda d: d["steps"][0].update({"with": {"x": [KEY]}})):  # fmt: skip
        changed = yaml.safe_load(text)
        place(changed)
        (tmp_path / "l.yaml").write_text(yaml.safe_dump(changed))
        with pytest.raises(Refusal, match="has a key; a literal key is refused") as e:
            timeline.read(tmp_path / "l.yaml")
        assert RANDOM not in str(e.value)
    (tmp_path / "l.yaml").write_text(yaml.safe_dump(data))
    timeline.read(tmp_path / "l.yaml")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit", ["sk-", "a=", "token ", "://", "key:", "'", '"\\', "Bearer ", "/webhook", "Aa0"]
)
def test_a_long_text_is_judged_in_linear_time(unit):
    """A quadratic pattern would take minutes; the general timeout of a test ends it."""
    secret_text.look(unit * 30_000)
    secret_text.in_arguments(["sh", "-c", unit * 10_000])


def test_most_random_keys_look_like_one():
    rng = random.Random(1)
    letters = string.ascii_letters + string.digits
    for alphabet in (letters, letters + "-_", letters + "+/"):
        keys = ["".join(rng.choice(alphabet) for _ in range(40)) for _ in range(500)]
        assert sum(secret_text.look(key) is not None for key in keys) > 450


def test_no_word_of_the_documentation_looks_like_a_key():
    """Of its commands, paths, models and urls: a text that looks like a key is refused in a topology."""
    words = [w for p in (ROOT / "docs").glob("*.md") for w in re.findall(r"`([^`\n]+)`", p.read_text())]
    assert len(words) > 500
    assert [w for w in words if secret_text.look(w) is not None] == []
