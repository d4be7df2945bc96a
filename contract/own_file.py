"""Opens a file where others could have placed or written something else: a regular file of that very name, or none.

A link, a named pipe or a device in its place is refused; opening a named pipe would also wait for its other end. `must_be_own`
refuses what another user could have written.
"""

import errno
import os
import stat


def opened(path: str | os.PathLike[str], flags: int, mode: int = 0o600) -> int:
    """A descriptor, as `os.open` returns it. Raises OSError, which names the path. Usable as an `opener`."""
    shown = os.fspath(path)
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as e:
        if e.errno == errno.ELOOP:
            raise _refused(shown, "a symbolic link") from None
        if e.errno == errno.ENXIO:
            raise _refused(shown, "a named pipe or a device") from None
        raise
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise _refused(shown, "not a regular file")
    if found.st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR):
        os.close(fd)
        raise _refused(shown, "a hard link to another file")
    return fd


def opener(path: str, flags: int) -> int:
    """For `open` of a file that others may read."""
    return opened(path, flags, 0o666)


def read_own(path: str | os.PathLike[str], most_bytes: int) -> str:
    """The text of a file that no other user could have written. Raises OSError, and ValueError where it is longer or not UTF-8."""
    with open(opened(path, os.O_RDONLY), "rb") as file:
        must_be_own(path, os.fstat(file.fileno()))
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"longer than {most_bytes} bytes")
    return data.decode()


def must_be_own(path: str | os.PathLike[str], found: os.stat_result) -> None:
    """`found`: of the opened file, or of a folder. Raises PermissionError, whose text says what would be right."""
    shown, me = os.fspath(path), os.geteuid()
    if found.st_uid not in (me, 0):
        raise PermissionError(
            f"{shown}: belongs to user {found.st_uid}, and this process is of user {me}: another user could have written it; "
            f"run as its owner, or check its content and chown it to {me}"
        )
    # In a folder with the sticky bit, as /tmp, others cannot replace what is not theirs.
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
        raise PermissionError(
            f"{shown}: its mode is {stat.S_IMODE(found.st_mode):04o}: another user could have written it; check its content, "
            f"then chmod go-w {shown}"
        )


def _refused(path: str, what: str) -> OSError:
    return OSError(f"{path}: it is {what}; remove it, or name the file itself")
