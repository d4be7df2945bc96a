"""Programs of the project as separate processes, forked from a fork server that has imported their modules already.

A `python -m chaos` or `python -m locust` spends a second of CPU on its imports before it does anything. Here that second
is spent once for all tests of a process. A forked program runs the same module from its first line, with its own arguments,
environment, session, descriptors and signals, and ends like an interpreter. It has no command line and no environment of its
own in /proc: a test that looks for its processes there starts real ones.
"""

import ast
import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

# The functions without gevent's patches, because the hub of the fork server never runs.
from os import close, fork, pidfd_open, waitpid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ENVIRONMENT = dict(os.environ)  # of a fork server: without the changes of any test
# What each fork server imports: a module, the imports of a file, or what a function loads.
# No shape: importing one adds its options to Locust.
LOCUST = (
    "locust.main", "locustfile.py", "tests/whole/client_main.py", "tests/whole/direct_load_main.py", "tests/scenarios/locust_process.py",
)  # fmt: skip
CHAOS = ("chaos/__main__.py", "chaos.undo.guardian")
ENGINE = ("embedded/engine/__main__.py",)
ANALYSIS = ("analysis/__main__.py", "analysis.checkers:catalogue", "analysis.report")
FORK_SERVERS = {"locust": LOCUST, "tests": LOCUST, "chaos": CHAOS, "embedded": ENGINE, "analysis": ANALYSIS}
# Commands that a forked Locust starts and waits for, and that no test kills: forked too. Others are executed.
FORKED_TOO = (("chaos", "check"), ("analysis", "check"), ("analysis", "report"))
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Forked:
    """`python -m MODULE ARGUMENTS`, with the methods of a Popen that the tests use; text, in a session of its own."""

    def __init__(
        self, module: str, *arguments: str, stdin: int | None = subprocess.DEVNULL, stdout: Any = None,
        stderr: Any = None, env: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.args = (module, *arguments)
        self.returncode: int | None = None
        theirs: list[int] = []
        self.stdin = self.stdout = self.stderr = None
        if stdin == subprocess.PIPE:
            read, write = os.pipe()
            self.stdin = os.fdopen(write, "w")
        else:
            read = os.open(os.devnull, os.O_RDONLY)
        theirs.append(read)
        self.stdout = self._output(theirs, stdout, 1)
        self.stderr = self._output(theirs, stderr, 2)
        self._status, write = os.pipe()
        theirs.append(write)
        env = dict(os.environ if env is None else env)
        if module == "locust":
            env |= _launching()
        try:
            self.pid = _fork_server(module.partition(".")[0]).fork([module, *arguments], env, theirs)
        finally:
            for fd in theirs:
                os.close(fd)

    @staticmethod
    def _output(theirs: list[int], where: Any, default: int) -> Any:
        """Appends the child's descriptor; returns the file that the caller reads, if it is a pipe."""
        if where == subprocess.PIPE:
            read, write = os.pipe()
            theirs.append(write)
            return os.fdopen(read)
        given = default if where is None else theirs[1] if where == subprocess.STDOUT else where.fileno()
        theirs.append(os.dup(given))
        return None

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        if self._look(timeout) is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        assert self.returncode is not None
        return self.returncode

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            status = os.read(self._status, 8)
            assert status, "the fork server has gone"
            self.returncode = os.waitstatus_to_exitcode(int.from_bytes(status, "little"))
            os.close(self._status)
        return self.returncode

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Like Popen's: until the output ends, which is when every process that holds it has ended."""
        over = None if timeout is None else time.monotonic() + timeout
        found: dict[str, str] = {}

        def read(name: str) -> None:
            found[name] = getattr(self, name).read()

        readers = [
            threading.Thread(target=read, args=(name,), daemon=True)
            for name in ("stdout", "stderr") if getattr(self, name)
        ]  # fmt: skip
        for reader in readers:
            reader.start()
        if self.stdin:
            self.stdin.write(input or "")
            self.stdin.close()
            self.stdin = None
        for reader in readers:
            reader.join(None if over is None else max(0.0, over - time.monotonic()))
            if reader.is_alive():
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(None if over is None else max(0.0, over - time.monotonic()))
        return found.get("stdout"), found.get("stderr")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    module: str, *arguments: str, input: str | None = None, env: Mapping[str, str] | None = None, timeout: float | None = 60,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Like `subprocess.run`, with both outputs as text."""
    pipe = subprocess.PIPE
    process = Forked(
        module, *arguments, stdin=subprocess.DEVNULL if input is None else pipe, stdout=pipe, stderr=pipe, env=env
    )  # fmt: skip
    try:
        out, err = process.communicate(input, timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


class ForkServer:
    """A fork server of this process. `address`: of a socket on which other processes may send it requests, too."""

    def __init__(self, imported: tuple[str, ...]) -> None:
        ours, theirs = socket.socketpair()
        self._socket, self._lock = ours, threading.Lock()
        self.address = f"brownout-tests-{secrets.token_hex(8)}"
        with socket.socket(socket.AF_UNIX) as listener, theirs:
            listener.bind(f"\0{self.address}")
            listener.listen()
            fds = (theirs.fileno(), listener.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forked", *map(str, fds), *imported], cwd=ROOT,
                stdin=subprocess.DEVNULL, pass_fds=fds, start_new_session=True, env=ENVIRONMENT,
            )  # fmt: skip
        atexit.register(self.close)

    def fork(self, argv: list[str], env: Mapping[str, str], fds: list[int]) -> int:
        """Returns the pid. `fds`: standard input, output and error, and the one to which the status is written at its end."""
        with self._lock:
            return _send(self._socket, argv, env, fds)

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


class SharedForkServer:
    """A fork server of another test process, by its address."""

    def __init__(self, address: str) -> None:
        self.address = address

    def fork(self, argv: list[str], env: Mapping[str, str], fds: list[int]) -> int:
        """See `ForkServer.fork`."""
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(f"\0{self.address}")
            return _send(server, argv, env, fds)


_shared: dict[str, str] = {}


def addresses() -> dict[str, str]:
    """Wing → address of its fork server. Starts each of them."""
    return {wing: _fork_server(wing).address for wing in FORK_SERVERS}


def share(given: Mapping[str, str]) -> None:
    """Use these fork servers, which `addresses` of another process returned, so that several test processes import once."""
    _shared.update(given)


@functools.cache
def _fork_server_of(imported: tuple[str, ...]) -> ForkServer:
    return ForkServer(imported)


def _fork_server(wing: str) -> ForkServer | SharedForkServer:
    return SharedForkServer(_shared[wing]) if wing in _shared else _fork_server_of(FORK_SERVERS[wing])


LAUNCHER, PYTHON, FORKED_COMMANDS = (
    "BROWNOUT_TESTS_LAUNCHER",
    "BROWNOUT_TESTS_PYTHON",
    "BROWNOUT_TESTS_FORKED_COMMANDS",
)


@functools.cache
def _launcher() -> str:
    """Path of an executable that replaces Python's: it has FORKED_TOO forked, and executes everything else."""
    folder = tempfile.mkdtemp(prefix="brownout-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "python"
    path.write_text(f"#!{sys.executable} -IS\n" + Path(__file__).with_name("launcher.py").read_text())
    path.chmod(0o700)
    return str(path)


def _launching() -> dict[str, str]:
    """The launcher's environment variables."""
    commands = json.dumps([[*words, _fork_server(words[0]).address] for words in FORKED_TOO])
    return {LAUNCHER: _launcher(), PYTHON: sys.executable, FORKED_COMMANDS: commands}


def _send(server: socket.socket, argv: list[str], env: Mapping[str, str], fds: list[int]) -> int:
    message = json.dumps({"argv": argv, "env": dict(env)}).encode()
    socket.send_fds(server, [len(message).to_bytes(4, "little")], fds)
    server.sendall(message)
    return int.from_bytes(_exactly(server, 4), "little")


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        assert more, "the other side has gone"
        found += more
    return found


def _imports(file: Path) -> set[str]:
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{a.name}" for a in node.names if _is_module(node.module, a.name)}
    return found


def _is_module(package: str, name: str) -> bool:
    folder = ROOT / package.replace(".", "/")
    return (folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists()


def _serve(control: socket.socket, listener: socket.socket) -> list[str] | None:
    """In the fork server: serves until the tests have ended, and returns None. In a child: returns its arguments."""
    poll = select.poll()
    for each in (control, listener):
        poll.register(each, select.POLLIN)
    alive: dict[int, tuple[int, int]] = {}  # pidfd → pid, and the descriptor for its status
    _load(sys.argv[3:])
    while True:
        for fd, _ in poll.poll():
            if fd in alive:
                poll.unregister(fd)
                _reap(fd, *alive.pop(fd))
                continue
            sender = control if fd == control.fileno() else listener.accept()[0]
            head, fds, _, _ = socket.recv_fds(sender, 4, 4)
            if not head:
                if sender is control:
                    return None
                continue  # a launcher that was killed
            message = json.loads(_exactly(sender, int.from_bytes(head, "little")))
            if not (pid := fork()):
                _set_up_child(message["env"], fds[:3])
                with suppress(OSError):  # a launcher that was killed meanwhile
                    sender.sendall(os.getpid().to_bytes(4, "little"))
                sockets = {each.detach() for each in (control, listener, sender)}
                for one in [*sockets - {-1}, *alive, *(to for _, to in alive.values()), fds[3]]:
                    close(one)
                return message["argv"]
            pidfd = pidfd_open(pid)
            alive[pidfd] = (pid, fds[3])
            poll.register(pidfd, select.POLLIN)
            for one in fds[:3]:
                close(one)
            if sender is not control:
                close(sender.detach())


def _load(names: list[str]) -> None:
    for name in names:
        module, _, function = name.partition(":")
        for one in sorted(_imports(ROOT / name)) if name.endswith(".py") else [module]:
            importlib.import_module(one)
        if function:
            getattr(sys.modules[module], function)()
    gc.freeze()


def _reap(pidfd: int, pid: int, status_to: int) -> None:
    close(pidfd)
    with suppress(BrokenPipeError):  # no process waits for it
        os.write(status_to, waitpid(pid, 0)[1].to_bytes(8, "little"))
    close(status_to)


def _set_up_child(env: dict[str, str], fds: list[int]) -> None:
    os.setsid()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
    for at, fd in enumerate(fds):
        os.dup2(fd, at)
        close(fd)
    sys.executable = env.pop(LAUNCHER, sys.executable)
    os.environ.clear()
    os.environ.update(env)
    if "gevent" in sys.modules:
        sys.modules["gevent"].reinit()


def _main() -> None:
    argv = _serve(*(socket.socket(fileno=int(fd)) for fd in sys.argv[1:3]))
    if argv is not None:
        sys.argv = argv
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
