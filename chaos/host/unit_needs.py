"""What a unit needs to start again: checked before a fault, while it still runs.

A running unit proves nothing: its configuration may have been moved since its start, and it would stay down. Each
finding is a sentence with the correction. Parsing and judging are pure; only `missing` reads the host.
"""

import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from pwd import getpwnam

from chaos.host import ports
from chaos.host.systemd import Manager, shown
from chaos.target import Handle

PROPERTIES = (
    "LoadState", "FragmentPath", "WorkingDirectory", "ExecStart", "Environment", "User", "RootDirectory", "RootImage",
)  # fmt: skip
FILES = (
    "--config",
    "--model",
    "-m",
    "--mmproj",
    "--chat-template",
)  # options whose value may be a file's path
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")
# Their arguments belong to another file system or another program.
ELSEWHERE = ("docker", "podman", "nerdctl", "sh", "bash", "env", "nsenter", "chroot")
# $1: the unit's user. A path that this user may not see is skipped.
_THERE = (
    'u=$1; shift; for p; do if w=$(LC_ALL=C ls -d -- "$p" 2>&1 >/dev/null); then '
    'test "$(id -un)" != "$u" || test -r "$p" || echo "shut $p"; '
    'else case $w in *"ermission denied"*) ;; *) echo "gone $p" ;; esac; fi; done'
)


@dataclass(frozen=True, slots=True)
class Needs:
    """The paths that the unit file requires."""

    folder: str | None  # its WorkingDirectory; None: not set, or optional
    files: tuple[tuple[str, str], ...]  # (option, path): `--config`, `/etc/litellm/config.yaml`
    program: str | None
    user: str | None


def of(found: dict[str, str]) -> Needs:
    """From the properties of `systemctl show`."""
    folder = found.get("WorkingDirectory", "")
    argv, ended, _ = found.get("ExecStart", "").partition("argv[]=")[2].partition(" ; ignore_errors=")
    known = dict(word.split("=", 1) for word in _words(found.get("Environment", "")) if "=" in word)
    words = (
        [_VARIABLE.sub(lambda v: known.get(v[1], v[0]), word) for word in argv.split(" ")] if ended else []
    )
    program, user = words[0] if words and words[0].startswith("/") else None, found.get("User") or None
    if found.get("RootDirectory") or found.get("RootImage"):
        return Needs(None, (), None, user)
    # "!": optional; "~": its user's home, which only the manager resolves.
    where = folder if folder.startswith("/") else None
    there = program is not None and Path(program).name not in ELSEWHERE
    files = tuple((option, _path(path, where)) for option, path in _files(words)) if there else ()
    return Needs(where, files, program, user)


def missing(handle: Handle) -> list[str]:
    """Why this unit would not start again; empty: no reason is known. Raises OSError where the host cannot be read."""
    manager, name = _manager(handle), handle.given["name"]
    found = shown(manager.run(manager.show(name, PROPERTIES)))
    state, unit = found.get("LoadState"), _unit_text(handle)
    if state != "loaded":
        return [f"{unit} {_not_loaded(state or 'unknown', name, manager)}"]
    look = _look_here if manager.ssh is None else _look_there(manager)
    where = f"; unit file: {found['FragmentPath']}" if found.get("FragmentPath") else ""
    return [f"{unit} would not start again: {words}{where}" for words in _unmet(of(found), look)]


def elsewhere(handle: Handle, url: str) -> list[str]:
    """Whether the unit's own processes listen on the port of the topology's url; empty where that is unknown."""
    manager, name = _manager(handle), handle.given["name"]
    if manager.ssh is not None or not ports.is_here(url):
        return []
    port, all_here = ports.port_of(url), ports.here()
    mine = sorted({entry.port for entry in all_here if name in entry.units})
    instead = f" (it listens on {', '.join(map(str, mine))})" if mine else ""
    holders = [entry for entry in all_here if entry.port == port]
    subject = f"{_unit_text(handle)}: port {port}, which the topology's url names,"
    if not holders:
        return [f"{subject} has no listener{instead}: start it, or correct the url"]
    if any(not entry.units or name in entry.units for entry in holders):
        return []
    other = ", ".join(sorted(unit for entry in holders for unit in entry.units))
    return [
        f"{subject} belongs to {other}, not to the unit{instead}: correct the url or the handle (for a unit that runs a "
        "container, the engine holds the port)"
    ]


def _manager(handle: Handle) -> Manager:
    return Manager(bool(handle.given.get("user")), handle.given.get("ssh"))


def _unit_text(handle: Handle) -> str:
    ssh = handle.given.get("ssh")
    return f"unit {handle.given['name']}" + (f" on {ssh}" if ssh else "")


Look = Callable[[Sequence[str], str | None], dict[str, str]]
"""(paths, the user who must read them) → path → `gone` or `shut`; accessible paths are omitted."""


def _unmet(needs: Needs, look: Look) -> Iterator[str]:
    paths = [p for p in (needs.folder, needs.program, *(path for _, path in needs.files)) if p is not None]
    found = look(paths, needs.user)
    who = needs.user or "its user"
    if needs.folder in found:
        yield f"its WorkingDirectory {needs.folder} " + (
            "does not exist; make it, or name the correct one" if found[needs.folder] == "gone"
            else f"cannot be entered by {who}; chmod or chown it"
        )  # fmt: skip
    if needs.program in found:
        yield f"its program {needs.program} " + (
            "does not exist; install it there, or name where it is in ExecStart"
            if found[needs.program] == "gone"
            else f"cannot be read by {who}; chmod or chown it"
        )
    for option, path in needs.files:
        if path in found:
            yield f"the file of {option}, {path}, " + (
                "does not exist; put it there, or name the correct one in ExecStart"
                if found[path] == "gone"
                else f"cannot be read by {who}; chmod or chown it"
            )


def _look_here(paths: Sequence[str], user: str | None) -> dict[str, str]:
    found = {}
    for path in paths:
        try:
            os.stat(path)
        except PermissionError:
            continue  # not permitted to look: unknown
        except OSError:
            found[path] = "gone"
            continue
        if user is not None and not _readable(Path(path), user):
            found[path] = "shut"
    return found


def _readable(path: Path, user: str) -> bool:
    """By the modes of the path and of its parent folders; an access control list may allow more or less."""
    try:
        who = getpwnam(user)
    except KeyError:
        return True
    if who.pw_uid == 0:
        return True
    groups = os.getgrouplist(user, who.pw_gid)
    for place in (path.resolve(), *path.resolve().parents):
        found = place.stat()
        enter = 0o1 if stat.S_ISDIR(found.st_mode) else 0o4
        shift = 6 if found.st_uid == who.pw_uid else 3 if found.st_gid in groups else 0
        if not (found.st_mode >> shift) & enter:
            return False
    return True


def _look_there(manager: Manager) -> Look:
    """Over ssh, as the login user: whether another user may read a path is not checked."""

    def look(paths: Sequence[str], user: str | None) -> dict[str, str]:
        out = manager.run(manager.line(["sh", "-c", _THERE, "sh", user or "root", *paths])) if paths else ""
        return {path: how for how, _, path in (line.partition(" ") for line in out.splitlines())}

    return look


def _not_loaded(state: str, name: str, manager: Manager) -> str:
    whose = "systemctl --user" if manager.user else "systemctl"
    if state == "not-found":
        return f"does not exist; `{whose} list-units --type=service` lists those that do"
    if state == "masked":
        return f"is masked, so it would not start again; `{whose} unmask {name}`"
    return f"is {state}: its unit file is invalid, so it would not start again; `{whose} status {name}` shows why"


def _files(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for n, word in enumerate(words):
        option, equals, value = word.partition("=")
        if word == "serve" and n == 1:  # vllm serve PATH, or the name of a model at a hub
            option, equals, value = "serve", "", ""
        elif option not in FILES:
            continue
        if not equals:
            value = words[n + 1] if n + 1 < len(words) else ""
        a_path = option == "--config" or value.startswith(("/", "./", "../")) or value.endswith(".gguf")
        if a_path and value and not value.startswith("-") and "$" not in value:
            yield option, value


def _path(path: str, folder: str | None) -> str:
    return path if path.startswith("/") else str(Path(folder or "/") / path)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []
