"""What a unit needs to start again, by the output of `systemctl show` (systemd 252) and the files of this machine."""

import os
import socket

import pytest

from chaos.host import ports, unit_needs
from chaos.host.ports import Listener
from chaos.host.systemd import shown
from chaos.host.unit_needs import Needs
from tests.chaos import targets
from tests.chaos.hosts import RecordedHost
from tests.chaos.test_units import make

LITELLM = """LoadState=loaded
FragmentPath=/etc/systemd/system/litellm.service
WorkingDirectory={folder}
ExecStart={{ path=/opt/litellm/bin/litellm ; argv[]=/opt/litellm/bin/litellm --config {config} --port 4000 ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }}
Environment="SPACED=a b" CONFIG=/etc/litellm/config.yaml
User=litellm
"""


def of(folder: str, config: str, **more: str) -> Needs:
    return unit_needs.of(shown(LITELLM.format(folder=folder, config=config)) | more)


@pytest.mark.parametrize(
    ("folder", "config", "expected"),
    [
        ("/srv", "/etc/litellm/config.yaml", Needs("/srv", (("--config", "/etc/litellm/config.yaml"),), "/opt/litellm/bin/litellm", "litellm")),
        # relative to the working directory; without one, to /
        ("/srv", "config.yaml", Needs("/srv", (("--config", "/srv/config.yaml"),), "/opt/litellm/bin/litellm", "litellm")),
        ("", "config.yaml", Needs(None, (("--config", "/config.yaml"),), "/opt/litellm/bin/litellm", "litellm")),
        # an optional folder; a home that only the manager resolves
        ("!/srv", "/c", Needs(None, (("--config", "/c"),), "/opt/litellm/bin/litellm", "litellm")),
        ("~", "/c", Needs(None, (("--config", "/c"),), "/opt/litellm/bin/litellm", "litellm")),
        # by Environment=, and by variables that we cannot read
        ("", "${CONFIG}", Needs(None, (("--config", "/etc/litellm/config.yaml"),), "/opt/litellm/bin/litellm", "litellm")),
        ("", "${SECRET_PATH}", Needs(None, (), "/opt/litellm/bin/litellm", "litellm")),
    ],
)  # fmt: skip
def test_what_a_unit_file_requires(folder, config, expected):
    assert of(folder, config) == expected


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("/usr/bin/llama-server -m /models/q.gguf --port 8080", ["/models/q.gguf"]),
        ("/usr/bin/llama-server --model=/models/q.gguf --mmproj mm.gguf", ["/models/q.gguf", "/mm.gguf"]),
        ("/venv/bin/python -m llama_cpp.server --model /models/q.gguf", ["/models/q.gguf"]),
        ("/venv/bin/vllm serve /models/qwen --port 8000", ["/models/qwen"]),
        ("/venv/bin/vllm serve Qwen/Qwen2.5-7B-Instruct-AWQ", []),  # a name at a hub
        ("/venv/bin/vllm serve --model Qwen/Qwen2.5-7B-Instruct-AWQ", []),
        ("/usr/local/bin/ollama serve", []),
        ("/usr/bin/docker run --rm vllm --model /models/qwen", []),  # a path inside the container
        ("/bin/sh -c exec-it --config /x", []),
    ],
)
def test_the_files_of_the_engines_that_there_are(line, files):
    found = unit_needs.of({"ExecStart": f"{{ path=x ; argv[]={line} ; ignore_errors=no ; }}"})
    assert [path for _, path in found.files] == files


def test_a_unit_with_a_root_of_its_own_is_not_looked_into():
    assert of("/srv", "/c", RootDirectory="/var/lib/machines/x") == Needs(None, (), None, "litellm")


@pytest.fixture
def host(tmp_path, monkeypatch):
    found = RecordedHost(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{found.folder}{os.pathsep}{os.environ['PATH']}")
    return found


def with_files(host, tmp_path, **more) -> dict[str, str]:
    """A unit with all its files."""
    (tmp_path / "srv").mkdir(exist_ok=True)
    for name in ("litellm", "config.yaml"):
        (tmp_path / name).touch()
    given = {
        "FragmentPath": "/etc/systemd/system/engine.service",
        "WorkingDirectory": str(tmp_path / "srv"),
        "ExecStart": f"{{ path=x ; argv[]={tmp_path}/litellm --config {tmp_path}/config.yaml ; ignore_errors=no ; }}",
    } | more
    host.set({"engine.service": given})
    return given


def test_nothing_is_reported_of_a_unit_that_would_start_again(host, tmp_path):
    with_files(host, tmp_path)
    for given in ({}, {"ssh": "gpu1"}):
        assert make("unit_restart", **given).needs() == []


@pytest.mark.parametrize("given", [{}, {"ssh": "gpu1"}])
def test_what_is_not_there_is_named_with_what_would_be_right(host, tmp_path, given):
    with_files(host, tmp_path)
    for path in (tmp_path / "litellm", tmp_path / "config.yaml"):
        path.unlink()
    (tmp_path / "srv").rmdir()
    unit = f"unit engine.service{' on gpu1' if given else ''} would not start again: "
    where = "; unit file: /etc/systemd/system/engine.service"
    assert make("unit_restart", **given).needs() == [
        f"{unit}its WorkingDirectory {tmp_path}/srv does not exist; make it, or name the correct one{where}",
        f"{unit}its program {tmp_path}/litellm does not exist; install it there, or name where it is in ExecStart{where}",
        f"{unit}the file of --config, {tmp_path}/config.yaml, does not exist; put it there, or name the correct one "
        f"in ExecStart{where}",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look past a folder that is shut")
def test_a_file_that_the_units_user_cannot_read_is_named(host, tmp_path):
    with_files(host, tmp_path, User="nobody")
    folder = tmp_path
    while folder != folder.parent:  # pytest's own folders are shut to others
        folder.chmod(folder.stat().st_mode | 0o001)
        folder = folder.parent
    for name in ("litellm", "config.yaml"):
        (tmp_path / name).chmod(0o644)
    assert make("unit_restart").needs() == []
    (tmp_path / "config.yaml").chmod(0o600)
    (text,) = make("unit_restart").needs()
    assert (
        f"the file of --config, {tmp_path}/config.yaml, cannot be read by nobody; chmod or chown it" in text
    )


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("not-found", "does not exist; `systemctl list-units --type=service` lists those that do"),
        ("masked", "is masked, so it would not start again; `systemctl unmask engine.service`"),
        (
            "bad-setting",
            "is bad-setting: its unit file is invalid, .*`systemctl status engine.service` shows why",
        ),
    ],
)
def test_a_unit_that_is_not_loaded_is_reported_with_a_correction(host, state, words):
    import re

    host.set({"engine.service": {"LoadState": state}})
    (text,) = make("unit_restart").needs()
    assert re.search(words, text)


def elsewhere(
    monkeypatch, found: list[Listener], url: str = "http://127.0.0.1:8000/v1", **given
) -> list[str]:
    monkeypatch.setattr(ports, "here", lambda: found)
    handle = targets.given("unit", {"name": "vllm.service", **given})
    assert handle is not None
    return unit_needs.elsewhere(handle, url)


def test_a_port_that_is_another_units_or_nobodys_is_named(monkeypatch):
    vllm, ollama = Listener(8001, frozenset({"vllm.service"})), Listener(8000, frozenset({"ollama.service"}))
    assert elsewhere(monkeypatch, [Listener(8000, frozenset({"vllm.service"}))]) == []
    assert elsewhere(monkeypatch, [Listener(8000, frozenset())]) == []  # not permitted to see its owner
    assert elsewhere(monkeypatch, [vllm], url="http://gpu1:8000") == []
    assert elsewhere(monkeypatch, [vllm], ssh="gpu1") == []
    assert elsewhere(monkeypatch, [vllm]) == [
        "unit vllm.service: port 8000, which the topology's url names, has no listener (it listens on "
        "8001): start it, or correct the url"
    ]
    assert elsewhere(monkeypatch, [ollama]) == [
        "unit vllm.service: port 8000, which the topology's url names, belongs to ollama.service, not to the unit: "
        "correct the url or the handle (for a unit that runs a container, the engine holds the port)"
    ]


def test_listeners_are_found_by_proc():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert any(entry.port == port and entry.units for entry in ports.here())
    assert not any(entry.port == port for entry in ports.here())
