"""Reads a text file of the operator: a regular file, bounded in size, UTF-8 with or without a BOM. Anything else is refused."""

import codecs
import stat
from pathlib import Path

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


def read(path: Path, where: str | None = None, most_bytes: int = MOST_BYTES) -> str:
    """The text of the file, without its BOM. Raises Refusal, which begins with `where` (by default the path)."""
    where = str(path) if where is None else where
    try:
        # Checked before opening: a FIFO without a writer would block.
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise Refusal(f"{where}: cannot be read: it is not a regular file")
        with open(path, "rb") as file:
            data = file.read(most_bytes + 1)
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        raise Refusal(f"{where}: cannot be read: {getattr(e, 'strerror', None) or e}") from None
    if len(data) > most_bytes:
        raise Refusal(f"{where}: is larger than {most_bytes // _MIB} MiB, the most that is read")
    for mark, why in _OTHERS:
        if data.startswith(mark):
            raise Refusal(f"{where}: {why}")
    if (at := data.find(b"\0")) >= 0:
        raise Refusal(f"{where}: has a NUL at byte {at}, so it is not text; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise Refusal(f"{where}: is not UTF-8 at byte {e.start}; save it as UTF-8") from None
