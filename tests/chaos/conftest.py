import subprocess
import sys

import pytest

from tests.chaos.stand import LONG, ROOT, Stand, events, until


@pytest.fixture(scope="package")
def cluster(tmp_path_factory):
    """One cluster for the tests of chaos; each gets it whole by `stand`."""
    found = Stand(tmp_path_factory.mktemp("cluster"))
    yield found
    found.close()


@pytest.fixture
def stand(cluster, monkeypatch, tmp_path):
    """The cluster as it should be, and a journal of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    cluster.back()
    yield cluster
    cluster.back()


@pytest.fixture
def chaos(stand, tmp_path):
    """Starts `python -m chaos run` in mid-fault; ends it if the test did not."""
    started = []

    def start(
        *more: str, text: str = LONG, wait_for: str = "effective", output: int = subprocess.PIPE, pass_fds=()
    ) -> subprocess.Popen:
        (tmp_path / "long.yaml").write_text(text)
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos", "run", "--topology", str(stand.write_topology()), "--timeline",
             str(tmp_path / "long.yaml"), "--run", str(folder), *more],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=output, stderr=output, text=True, start_new_session=True,
            pass_fds=pass_fds,
        )  # fmt: skip
        started.append(process)
        process.folder = folder
        if wait_for:
            until(lambda: [e for e in events(folder) if e["stage"] == wait_for], f"inject {wait_for}")
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
