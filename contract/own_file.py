"""Opens a file where others could have placed something else: a regular file of that very name, or none.

A link, a named pipe or a device in its place is refused; opening a named pipe would also wait for its other end.
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


def read(path: str | os.PathLike[str], most_bytes: int) -> str:
    """The text of the file. Raises OSError, and ValueError where it is longer or not UTF-8."""
    with open(opened(path, os.O_RDONLY), "rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"{os.fspath(path)}: longer than {most_bytes} bytes")
    return data.decode()


def _refused(path: str, what: str) -> OSError:
    return OSError(errno.EPERM, f"it is {what}; remove it, or move it away", path)
