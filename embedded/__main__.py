"""The embedded stack from the command line.

python -m embedded up        start it in the background: make up
python -m embedded status    show which parts are up
python -m embedded down      stop it, once no Lease is held
python -m embedded stack     run it in this process, until a signal (with --leash: or end of file on standard input)
"""

import contract.exit_70  # noqa: F401  before any import that may fail

# isort: split
import argparse
import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from contract import topology as topologies
from contract.command_line import Parser
from contract.refusal import EXIT_BAD_INPUT, InternalError, Refusal, how_ended
from embedded.stack import Stack, describe, hold

ROOT = Path(".stack")
UP = ROOT / "up"
DOWN_WITHIN_S = 60.0


def main() -> int:
    args = _parser().parse_args()
    try:
        return args.command(args)
    except Refusal as e:
        print(e, file=sys.stderr)
        return e.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m embedded", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run in (("up", _up), ("status", _status), ("down", _down), ("stack", _stack)):
        one = commands.add_parser(name)
        one.set_defaults(command=run)
        if name in ("up", "stack"):
            one.add_argument(
                "--topology", type=Path, default=Path("topologies/embedded.yaml"),
                help="topology file (default topologies/embedded.yaml)",
            )  # fmt: skip
        if name == "stack":
            one.add_argument(
                "--folder",
                type=Path,
                help="folder for its files (default: a new one in .stack/, removed at the end)",
            )
            one.add_argument("--leash", action="store_true", help="stop at end of file on standard input")
    return parser


def _stack(args: argparse.Namespace) -> int:
    folder = args.folder or ROOT / f"{os.getpid()}-{secrets.token_hex(2)}"
    try:
        asyncio.run(_hold(args, folder))
    finally:
        if args.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


async def _hold(args: argparse.Namespace, folder: Path) -> None:
    stack = Stack(topologies.read(args.topology), args.topology, folder)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    if args.leash:
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        leash = asyncio.ensure_future(reader.read())
        leash.add_done_callback(lambda _: stop.set())
    await hold(stack, stop, _report)


def _report(line: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the parent process may have ended; the leash detects that too
        print(json.dumps(line), flush=True)


def _up(args: argparse.Namespace) -> int:
    if _running() is not None:
        raise Refusal(f"a stack is up already: {UP / 'topology.yaml'}; make down stops it")
    shutil.rmtree(UP, ignore_errors=True)
    UP.mkdir(parents=True)
    name = topologies.read(args.topology).gateway.api_key
    environment = dict(os.environ)
    if name is not None and name not in environment:
        environment[name] = "sk-" + secrets.token_hex(16)
        keys = os.open(UP / "keys", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(keys, "w") as f:
            f.write(f"export {name}={environment[name]}\n")
    print("starting the embedded stack", file=sys.stderr, flush=True)
    log = open(UP / "stack.log", "wb")  # noqa: SIM115  the child's
    child = subprocess.Popen(
        [sys.executable, "-m", "embedded", "stack", "--topology", str(args.topology), "--folder", str(UP)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environment, start_new_session=True,
    )  # fmt: skip
    (UP / "pid").write_text(f"{child.pid} {_birth(child.pid)}\n")
    assert child.stdout is not None
    if not child.stdout.readline():
        code = child.wait()
        message = (UP / "stack.log").read_text().strip()
        if code == EXIT_BAD_INPUT and message:
            raise Refusal(message)
        raise InternalError("\n".join(filter(None, [message, how_ended("the stack", code)])))
    print(describe(UP))
    if (UP / "keys").exists():
        print(f"set its API key:  . {UP / 'keys'}")
    print(f"start a run:      make soak TOPOLOGY={UP / 'topology.yaml'}")
    return 0


def _down(args: argparse.Namespace) -> int:
    pid = _running()
    if pid is None:
        print("no stack is up")
    else:
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + DOWN_WITHIN_S
        while _running() is not None:
            if time.monotonic() > until:
                raise Refusal(f"the stack (process {pid}) waits for a held Lease; run make restore first")
            time.sleep(0.1)
    shutil.rmtree(UP, ignore_errors=True)
    return 0


def _status(args: argparse.Namespace) -> int:
    if _running() is None:
        print("no stack is up")
        return 1
    print(describe(UP))
    return 0


def _running() -> int | None:
    """The pid of the stack that is up; None if the pid belongs to another process by now."""
    try:
        pid, birth = (UP / "pid").read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if _birth(int(pid)) == birth else None


def _birth(pid: int) -> str | None:
    """When a process was started, in ticks since boot; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


if __name__ == "__main__":
    sys.exit(main())
