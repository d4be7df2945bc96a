"""Lines on a terminal, in colours, with one status line below them; plain lines where the output is not a terminal."""

import os
import re
from collections.abc import Mapping
from typing import TextIO

from chaos.watch.changes import Change, Changes
from chaos.watch.lines import Line, Style, banner, closing, covered_line, plain, request_line, waiting_line
from chaos.watch.summary import Summary
from contract.printable import cells
from contract.records import RequestRecord

_SGR: dict[Style, str] = {
    "dim": "2", "first": "32", "behind": "33", "cut": "35", "failed": "31", "title": "1",
    "failover": "1;30;43", "outage": "1;37;41", "recovery": "1;30;42",
}  # fmt: skip
_CLEAR = "\r\x1b[2K"  # this row only: clearing the rest of the screen makes some terminals keep the old text
REQUEST_INDENT, INDENT = len("[13:40:57] "), 3  # of continuation rows
WAITS_S = 1.0  # a request that waits less is not shown


def coloured(mode: str, out: TextIO, environment: Mapping[str, str]) -> bool:
    """`mode`: auto, always, never. Auto: on a terminal that is not dumb, unless NO_COLOR is set."""
    if mode != "auto":
        return mode == "always"
    return moves(out, environment) and not environment.get("NO_COLOR")


def moves(out: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether lines can be redrawn there."""
    return out.isatty() and environment.get("TERM") != "dumb"


class Screen:
    """The view for people. Raises OSError where the reader has gone."""

    def __init__(self, out: TextIO, colours: bool, live: bool) -> None:
        self._out, self._colours, self._live = out, colours, live
        self._below = ""  # the status line
        self._covered = False  # whether the latest slots were shown as covered

    def ended(self, n: int, record: RequestRecord, name: str | None, place: int | None, text: str) -> None:
        self._covered = False
        self._write(request_line(n, record, name, place, text, self._room()), REQUEST_INDENT)

    def changed(self, change: Change, changes: Changes) -> None:
        self._write(banner(change, changes, self._room()))

    def covered(self, now: float, waiting: Mapping[int, float]) -> None:
        if not self._covered:
            self._covered = True
            self._write(covered_line(now, waiting), REQUEST_INDENT)

    def waiting(self, now: float, waiting: Mapping[int, float]) -> None:
        if not self._live:
            return
        room = self._room()
        assert room is not None, "the status line is on a terminal"
        late = {n: at for n, at in waiting.items() if now - at >= WAITS_S}
        self._draw(waiting_line(now, late, room) if late else "")

    def closed(self, summary: Summary, changes: Changes) -> None:
        if self._live:
            self._out.write(_CLEAR)  # clears the ^C that ended it
        for line in closing(summary, changes):
            self._write(line)

    def _write(self, line: Line, indent: int = INDENT) -> None:
        self._draw("")
        for row in wrapped(line, self._room(), indent):
            self._out.write("".join(self._styled(text, style) for text, style in row) + "\n")
        self._out.flush()

    def _draw(self, below: str) -> None:
        if below != self._below:
            self._below = below
            self._out.write(_CLEAR + self._styled(below, "dim"))
            self._out.flush()

    def _styled(self, text: str, style: Style) -> str:
        return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if self._colours and style and text else text

    def _room(self) -> int | None:
        """Read again for each line, since a terminal may be resized; 80 where the width is unknown."""
        if not self._live:
            return None
        try:
            return os.get_terminal_size(self._out.fileno()).columns or 80
        except OSError:
            return 80


def wrapped(line: Line, room: int | None, indent: int) -> list[Line]:
    """The rows of a line, wrapped between words; all but the first are indented. Pure."""
    if room is None or cells(plain(line)) <= room:
        return [line]
    rows: list[Line] = [[]]
    left = room
    for text, style in line:
        for piece in re.findall(r" ++[^ ]*|[^ ]+", text):
            if cells(piece) > left and rows[-1]:
                rows.append([(" " * indent, "")])
                piece = piece.lstrip(" ")
                left = room - indent
            rows[-1].append((piece, style))
            left -= cells(piece)
    return rows
