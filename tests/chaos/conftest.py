import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest

from chaos import __main__, faults
from chaos import run as chaos_run
from chaos.stop import SIGNALS
from chaos.undo.journal import Undo
from contract import handles
from contract.topology import Topology
from embedded.apiserver import certificate
from tests.chaos import plain
from tests.chaos.gateways import Gateway, Group
from tests.chaos.stand import LONG, ROOT, Stand, events, until
from tests.embedded.engine import Running


class Target(Protocol):
    """The cluster's `stand`, or a tier without one."""

    def write_topology(self) -> Path: ...


class Run(subprocess.Popen[str]):
    """`python -m chaos run`."""

    folder: Path


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """One cluster for the tests of chaos; `stand` restores it for each test."""
    found = Stand(tmp_path_factory.mktemp("cluster"))
    yield found
    found.close()


@pytest.fixture
def state_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A journal of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def stand(cluster: Stand, state_home: None) -> Iterator[Stand]:
    """The cluster in its initial state."""
    cluster.back()
    yield cluster
    cluster.back()


@pytest.fixture
def commands(tmp_path: Path, state_home: None) -> plain.Commands:
    """A tier without a cluster, in processes of its own too."""
    return plain.Commands(tmp_path)


@pytest.fixture
def file(tmp_path: Path, state_home: None, monkeypatch: pytest.MonkeyPatch) -> plain.File:
    """A tier without a cluster and without a process; its fault is `noop`."""
    monkeypatch.setattr(faults, "__path__", [*faults.__path__, plain.FAULTS])
    return plain.File(tmp_path)


@pytest.fixture
def chaos(tmp_path: Path, state_home: None) -> Iterator[Callable[..., Run]]:
    """Starts `python -m chaos run` and waits for mid-fault; ends it if the test did not."""
    started: list[Run] = []

    def start(
        target: Target,
        *more: str,
        text: str | None = None,
        wait_for: str = "effective",
        output: int = subprocess.PIPE,
        pass_fds: Collection[int] = (),
    ) -> Run:
        folder = written(tmp_path, target, text)
        process = Run(
            [sys.executable, "-m", *run_arguments(folder, target, *more)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=output, stderr=output, text=True, start_new_session=True,
            pass_fds=pass_fds,
        )  # fmt: skip
        started.append(process)
        process.folder = folder
        if wait_for:
            until(lambda: _reached(process, wait_for), f"inject {wait_for}", 60)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _reached(process: Run, stage: str) -> bool:
    if any(e["stage"] == stage for e in events(process.folder)):
        return True
    assert process.poll() is None, process.stderr and process.stderr.read()
    return False


def written(tmp_path: Path, target: Target, text: str | None) -> Path:
    """The run's folder, and the timeline beside it."""
    (tmp_path / "long.yaml").write_text(text or (LONG if isinstance(target, Stand) else plain.LONG))
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    return folder


def run_arguments(folder: Path, target: Target, *more: str) -> list[str]:
    timeline = folder.with_name("long.yaml")
    return [
        "chaos",
        "run",
        "--topology",
        str(target.write_topology()),
        "--timeline",
        str(timeline),
        "--run",
        str(folder),
        *more,
    ]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> certificate.Certificate:
    """A certificate that ends in a day, as files and as data."""
    folder = tmp_path_factory.mktemp("pair")
    made = certificate.Certificate(folder / "client.crt", folder / "client.key")
    command = certificate.COMMAND.replace("-days 3650", "-days 1").split()
    try:
        subprocess.run(
            [*command, "-out", str(made.certificate), "-keyout", str(made.key)],
            check=True,
            capture_output=True,
        )
    except OSError:
        pytest.skip("no openssl here")
    return made


@pytest.fixture
def member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[ModuleType, str, str], Path]]:
    """Adds one file to a catalogue, for one test."""
    made: list[str] = []

    def add(catalogue: ModuleType, name: str, text: str) -> Path:
        folder = tmp_path / f"more-{catalogue.__name__}"
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(catalogue, "__path__", [*catalogue.__path__, str(folder)])
        made.append(f"{catalogue.__name__}.{name}")
        return folder

    yield add
    handles.find.cache_clear()
    for name in made:
        sys.modules.pop(name, None)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """It lists m and c, and answers for m as the tier vllm."""
    with Gateway({"m": Group("m", "http://vllm:8000/v1")}, ["m", "c"]) as found:
        yield found


@pytest.fixture
def topology(gateway: Gateway) -> Callable[..., Topology]:
    """A tier that is this engine, unless a test sets something else, and a cloud."""

    def of(engine: Running, **tier: Any) -> Topology:
        url = f"http://127.0.0.1:{engine.port}"
        given = {"name": "vllm", "match": {"group": "m"}, "url": url, "model": "m"} | tier
        cloud = {"name": "openai", "match": {"group": "c"}, "url": url, "model": "no-request", "cloud": True}
        return Topology.model_validate(
            {"gateway": {"url": gateway.url, "model": "m"}, "tiers": [given, cloud]}
        )

    return of


class NoGuardian:
    """A guardian that is always ready and never needed; the real one: test_guardian.py."""

    keeps_trying = "no guardian"

    def __init__(self, stop: object = None, stack: object = None) -> None:
        pass

    def ready(self) -> None:
        pass

    def arm(self, undo: Undo) -> None:
        pass

    def disarm(self, undo: Undo) -> None:
        pass

    def leave(self) -> None:
        pass


@pytest.fixture
def run_here(
    tmp_path: Path, state_home: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[int, list[dict[str, Any]]]]]:
    """`python -m chaos run` in this process and without a guardian; returns its exit code and what chaos.jsonl has."""
    monkeypatch.setattr(chaos_run, "GuardianLink", NoGuardian)
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def run(target: Target, *more: str, text: str | None = None) -> tuple[int, list[dict[str, Any]]]:
        folder = written(tmp_path, target, text)
        code = __main__.main(run_arguments(folder, target, *more)[1:])
        return code, events(folder)

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)
