"""Where a long piece of work is: a bar on a terminal, plain lines elsewhere, nothing at all below two seconds.

Work that may take long is handed a `Told` and calls it as it goes; by default nobody listens. What it says goes to
standard error: standard output is for what was asked for.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

Told = Callable[[str, float | None], None]
"""(`reading requests.arrow`, the share of it that is done: 0 to 1; None: nobody knows)"""

AFTER_S = 2.0  # who waits no longer than that needs no telling
BAR_EVERY_S, LINE_EVERY_S = 0.2, 10.0
BAR, NO_SHARE = "{desc}: {percentage:3.0f} %|{bar:30}| {elapsed}", "{desc} … {elapsed}"
Item = TypeVar("Item")


def silent(what: str, done: float | None) -> None:
    """Nobody listens."""


def each(told: Told, what: str, items: Sequence[Item]) -> Iterator[Item]:
    """The items one by one, each told before its turn: `drawing timeline`, three of ten done."""
    for n, item in enumerate(items):
        told(f"{what} {item}" if isinstance(item, str) else what, n / len(items))
        yield item


@contextmanager
def shown(out: TextIO, after_s: float = AFTER_S) -> Iterator[Told]:
    """Show on `out` what the work inside tells, from `after_s` seconds on. A thread of its own draws: also where the
    work tells nothing for long, a bar goes on counting seconds."""
    shows = _Bar(out) if out.isatty() else _Lines(out)
    said = Said(time.monotonic(), after_s, shows)
    over = threading.Event()
    drawer = threading.Thread(target=_draw, args=(said, over), name="progress", daemon=True)
    drawer.start()
    try:
        yield said.tell
    finally:
        over.set()
        drawer.join()
        shows.close()


def _draw(said: "Said", over: threading.Event) -> None:
    while not over.wait(BAR_EVERY_S):
        said.tick(time.monotonic())


class Said:
    """What was told last, and whether it is time to show it."""

    def __init__(self, began_at: float, after_s: float, shows: Any) -> None:
        self._shows, self._began_at = shows, began_at
        self._next_at = began_at + after_s
        self._what: tuple[str, float | None] | None = None

    def tell(self, what: str, done: float | None = None) -> None:
        self._what = (what, done)  # one store: the drawer reads it without a lock

    def tick(self, now: float) -> None:
        if self._what is not None and now >= self._next_at:
            self._next_at = now + self._shows.every_s
            self._shows.show(*self._what, now - self._began_at)


class _Lines:
    """`reading requests.arrow: 40 %`, at most one every ten seconds."""

    every_s = LINE_EVERY_S

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, what: str, done: float | None, elapsed_s: float) -> None:
        share = f"{done:.0%}".replace("%", " %") if done is not None else f"{elapsed_s:.0f} s"
        print(f"{what}: {share}", file=self._out, flush=True)

    def close(self) -> None:
        pass


class _Drawn(tqdm):
    monitor_interval = 0  # its own thread would draw as well


class _Bar:
    """One bar that is taken away when the work is over."""

    every_s = BAR_EVERY_S

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bar: _Drawn | None = None

    def show(self, what: str, done: float | None, elapsed_s: float) -> None:
        if self._bar is None:
            # With a delay it does not draw itself, in a form of its own, before it is told what to show.
            self._bar = _Drawn(total=1.0, file=self._out, leave=False, disable=False, delay=1e-9)
            self._bar.start_t -= elapsed_s  # it counts from when the work began
        self._bar.bar_format = NO_SHARE if done is None else BAR
        self._bar.n, self._bar.ncols = done or 0.0, _columns(self._out)
        self._bar.set_description_str(what, refresh=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _columns(terminal: TextIO) -> int:
    """Of a terminal that tells no width, as some that programs hold do: 80."""
    try:
        return os.get_terminal_size(terminal.fileno()).columns or 80
    except OSError:
        return 80
