"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing for the first two seconds.

A long function takes an `OnProgress` callback and calls it with its progress; by default it is ignored. Progress goes to
standard error: standard output is for results.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

from contract import printable

OnProgress = Callable[[str, float | None], None]
"""(`reading requests.arrow`, the share that is done: 0 to 1; None: unknown)"""

AFTER_S = 2.0  # work that is shorter shows no progress
BAR_EVERY_S, LINE_EVERY_S = 0.2, 10.0
BAR, NO_SHARE = "{desc}: {percentage:3.0f} %|{bar:30}| {elapsed}", "{desc} … {elapsed}"
Item = TypeVar("Item")


def no_progress(what: str, done: float | None) -> None:
    """The default callback: does nothing."""


def each(on_progress: OnProgress, what: str, items: Sequence[Item]) -> Iterator[Item]:
    """Yields the items; reports each before its turn: `drawing timeline`, three of ten done."""
    for n, item in enumerate(items):
        on_progress(f"{what} {item}" if isinstance(item, str) else what, n / len(items))
        yield item


@contextmanager
def shown(out: TextIO, after_s: float = AFTER_S) -> Iterator[OnProgress]:
    """Show the progress of the work inside on `out`, from `after_s` seconds on. A separate thread draws, so that a bar
    counts seconds even if the work reports nothing for long."""
    shows = _Bar(out) if out.isatty() else _Lines(out)
    latest = Latest(time.monotonic(), after_s, shows)
    over = threading.Event()
    drawer = threading.Thread(target=_draw, args=(latest, over), name="progress", daemon=True)
    drawer.start()
    try:
        yield latest.update
    finally:
        over.set()
        drawer.join()
        shows.close()


def _draw(latest: "Latest", over: threading.Event) -> None:
    while not over.wait(BAR_EVERY_S):
        latest.tick(time.monotonic())


class Latest:
    """The latest progress, and whether it is time to show it."""

    def __init__(self, began_at: float, after_s: float, shows: Any) -> None:
        self._shows, self._began_at = shows, began_at
        self._next_at = began_at + after_s
        self._what: tuple[str, float | None] | None = None

    def update(self, what: str, done: float | None = None) -> None:
        self._what = (what, done)  # one store: the drawer reads it without a lock

    def tick(self, now: float) -> None:
        if self._what is not None and now >= self._next_at:
            self._next_at = now + self._shows.every_s
            what, share = self._what
            self._shows.show(printable.line(what), share, now - self._began_at)


class _Lines:
    """`reading requests.arrow: 40 %`, at most one every ten seconds."""

    every_s = LINE_EVERY_S

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, what: str, done: float | None, elapsed_s: float) -> None:
        share = f"{done:.0%}".replace("%", " %") if done is not None else f"{elapsed_s:.0f} s"
        print(printable.line(f"{what}: {share}"), file=self._out, flush=True)

    def close(self) -> None:
        pass


class _Drawn(tqdm):
    monitor_interval = 0  # its own thread would draw as well


class _Bar:
    """One bar, removed when the work is done."""

    every_s = BAR_EVERY_S

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bar: _Drawn | None = None

    def show(self, what: str, done: float | None, elapsed_s: float) -> None:
        if self._bar is None:
            # The delay keeps tqdm from drawing in its own format before the first update.
            self._bar = _Drawn(total=1.0, file=self._out, leave=False, disable=False, delay=1e-9)
            self._bar.start_t -= elapsed_s  # it counts from when the work began
        self._bar.bar_format = NO_SHARE if done is None else BAR
        self._bar.n, self._bar.ncols = done or 0.0, _columns(self._out)
        self._bar.set_description_str(what, refresh=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _columns(terminal: TextIO) -> int:
    """The terminal's width; 80 if it reports none, as some pseudo-terminals do."""
    try:
        return os.get_terminal_size(terminal.fileno()).columns or 80
    except OSError:
        return 80
