"""Which units listen on which ports of this machine, from /proc; sends no request."""

import ipaddress
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

LISTENS = "0A"  # TCP_LISTEN, as /proc/net/tcp writes it


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket; `units`: those of its processes, by their cgroups. Empty: not permitted to see its owner."""

    port: int
    units: frozenset[str]


def here() -> list[Listener]:
    """All listening TCP sockets of this network namespace."""
    ports = dict(_sockets())
    units: dict[int, set[str]] = {inode: set() for inode in ports}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            for inode in _held(process) & ports.keys():
                units[inode] |= _units(process)
    return [Listener(port, frozenset(units[inode])) for inode, port in ports.items()]


def is_here(url: str) -> bool:
    """Whether the url points to this machine, by its host name alone; no DNS lookup."""
    host = urlsplit(url).hostname or ""
    if host in ("localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _sockets() -> Iterator[tuple[int, int]]:
    """(inode, port)"""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue  # a kernel without it
        for line in lines:
            fields = line.split()
            if fields[3] == LISTENS:
                yield int(fields[9]), int(fields[1].rpartition(":")[2], 16)


def _held(process: Path) -> set[int]:
    found = set()
    try:
        for fd in (process / "fd").iterdir():
            target = os.readlink(fd)
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    except OSError:
        pass  # it has ended, or belongs to another user
    return found


def _units(process: Path) -> set[str]:
    """The parts of its cgroup's path that are units: `/system.slice/ollama.service` → `ollama.service`."""
    try:
        lines = (process / "cgroup").read_text().splitlines()
    except OSError:
        return set()
    parts = {part for line in lines for part in line.split(":", 2)[2].split("/") if part.endswith(".service")}
    return parts or {f"process {process.name}"}
