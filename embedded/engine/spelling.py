"""The same answer in other bytes, as real servers and the proxies in front of them write it. Pure."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

NOTHINGS = b'data: ping\n\ndata: null\n\ndata: ""\n\ndata: []\n\ndata: 0\n\n'

EVENTS: dict[str, Callable[[bytes], bytes]] = {
    "single_newline": lambda data: data.replace(b"\n\n", b"\n"),
    "bare_cr": lambda data: data.replace(b"\n", b"\r"),
    "crlf": lambda data: data.replace(b"\n", b"\r\n"),
    "no_space": lambda data: data.replace(b"data: ", b"data:"),
    "comments": lambda data: b": PROCESSING\n\n" + data,
    "nothings": lambda data: NOTHINGS + data,
}
HOWS = (*EVENTS, "byte_order_mark", "unended", "no_content_type", "white_space", "gzip")


@dataclass
class Spelling:
    """The spelling of one answer. Of a plain answer, only its first and last bytes and its compression can differ."""

    how: str

    def __post_init__(self) -> None:
        self._began = False
        self._gzip = zlib.compressobj(wbits=31) if self.how == "gzip" else None

    def content_type(self, content_type: str) -> str:
        return "" if self.how == "no_content_type" else content_type

    def headers(self) -> dict[str, str]:
        return {"content-encoding": "gzip"} if self._gzip is not None else {}

    def chunk(self, data: bytes, last: bool = False) -> bytes:
        """The bytes of one stream chunk; may be empty."""
        if not data:
            return self._compressed(data, last)
        data = EVENTS.get(self.how, bytes)(data)
        if self.how == "unended" and last:
            data = data.rstrip(b"\n")
        return self._compressed(self._beginning() + data, last)

    def whole(self, body: bytes) -> bytes:
        return self._compressed(self._beginning() + body, last=True)

    def _beginning(self) -> bytes:
        first, self._began = not self._began, True
        marks = {"byte_order_mark": b"\xef\xbb\xbf", "white_space": b"\n \r\n\n"}
        return marks.get(self.how, b"") if first else b""

    def _compressed(self, data: bytes, last: bool) -> bytes:
        if self._gzip is None:
            return data
        return self._gzip.compress(data) + self._gzip.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)
