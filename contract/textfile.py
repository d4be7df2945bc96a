"""Opens and reads files that others may have made: regular files, bounded in size; text is UTF-8. Anything else is refused.

An operator's own input may be a symbolic link. A file of a run folder may not (`links=False`): the folder may be a stranger's,
and the report would show the file that the link names.
"""

import codecs
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from contract.refusal import Refusal

MOST_BYTES = 16 * 2**20
"""Limit of a file that a person writes: topology, timeline, document, baseline."""
_MIB = 2**20
_OTHERS = (
    (codecs.BOM_UTF32_LE, "is UTF-32; save it as UTF-8"),  # before UTF-16: its BOM begins with that one
    (codecs.BOM_UTF32_BE, "is UTF-32; save it as UTF-8"),
    (codecs.BOM_UTF16_LE, "is UTF-16; save it as UTF-8"),
    (codecs.BOM_UTF16_BE, "is UTF-16; save it as UTF-8"),
    (b"\x1f\x8b", "is compressed by gzip; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd; unpack it first"),
    (b"PAR1", "is Parquet; write it as text first"),
)
_COPY = "put a copy of the file in its place"


def opened(
    path: Path, where: str | None = None, most_bytes: int = MOST_BYTES, links: bool = True
) -> BinaryIO:
    """The file, open for reading. Raises Refusal, which begins with `where` (by default the path)."""
    where = str(path) if where is None else where
    try:
        # Checked before opening: opening a device may have an effect.
        _refuse_others(path.stat(follow_symlinks=links), where, most_bytes, links)
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW)
        file = open(os.open(path, flags), "rb")  # noqa: SIM115  the caller closes it
        try:
            # Once more: the path may name another file by now.
            _refuse_others(os.fstat(file.fileno()), where, most_bytes, links)
        except BaseException:
            file.close()
            raise
        return file
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        if isinstance(e, OSError) and e.errno == errno.ELOOP and not links:
            raise Refusal(f"{where}: is a symbolic link, which is not followed; {_COPY}") from None
        raise Refusal(f"{where}: cannot be read: {getattr(e, 'strerror', None) or e}") from None


def _refuse_others(found: os.stat_result, where: str, most_bytes: int, links: bool) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise Refusal(f"{where}: is a symbolic link, which is not followed; {_COPY}")
    if stat.S_ISDIR(found.st_mode):
        raise Refusal(f"{where}: cannot be read: {os.strerror(errno.EISDIR)}")
    if not stat.S_ISREG(found.st_mode):
        raise Refusal(f"{where}: cannot be read: it is not a regular file")
    if not links and found.st_nlink > 1:
        raise Refusal(f"{where}: is a hard link, so it may be a file of another folder; {_COPY}")
    if found.st_size > most_bytes:
        raise Refusal(f"{where}: is larger than {_size(most_bytes)}, the most that is read")


def _size(count: int) -> str:
    return f"{count // _MIB} MiB" if count >= _MIB else f"{count} bytes"


def read_bytes(
    path: Path, where: str | None = None, most_bytes: int = MOST_BYTES, links: bool = True
) -> bytes:
    """The bytes of the file. Raises Refusal, as `opened`."""
    where = str(path) if where is None else where
    try:
        with opened(path, where, most_bytes, links) as file:
            # Not `read(most_bytes + 1)`, which would allocate as much.
            data = file.read(os.fstat(file.fileno()).st_size + 1)
            while len(data) <= most_bytes and (more := file.read(_MIB)):
                data += more
    except OSError as e:
        raise Refusal(f"{where}: cannot be read: {e.strerror or e}") from None
    if len(data) > most_bytes:  # it grew, or its size is not known beforehand, as in /proc
        raise Refusal(f"{where}: is larger than {_size(most_bytes)}, the most that is read")
    return data


def read(path: Path, where: str | None = None, most_bytes: int = MOST_BYTES, links: bool = True) -> str:
    """The text of the file, without its BOM. Raises Refusal, which begins with `where` (by default the path)."""
    where = str(path) if where is None else where
    data = read_bytes(path, where, most_bytes, links)
    for mark, why in _OTHERS:
        if data.startswith(mark):
            raise Refusal(f"{where}: {why}")
    if (at := data.find(b"\0")) >= 0:
        raise Refusal(f"{where}: has a NUL at byte {at}, so it is not text; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise Refusal(f"{where}: is not UTF-8 at byte {e.start}; save it as UTF-8") from None


def refuse_link(folder: Path) -> None:
    """Refuse a folder inside a run folder that is a symbolic link, or no folder. A missing one is allowed."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    except OSError as e:
        raise Refusal(f"{folder}: cannot be read: {e.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise Refusal(f"{folder}: is not a folder of its own, but a link or a file; remove it")
