"""Reads a trace of arrivals: CSV or JSON lines, with the columns and units of public traces. Nothing is guessed.

A number is read as a time only if its unit is known: from the operator, from the column's name, or from a public trace with the
same columns. Times count from the first row.
"""

import csv
import datetime
import io
import itertools
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from contract import textfile
from contract.refusal import Refusal, no_such

MOST_BYTES = 512 * 2**20
MOST_ARRIVALS = 2_000_000
LONGEST_CELL = 100  # characters of a time or of a number of tokens
LONGEST_LINE = 2**20  # characters of a line of JSON
MOST_TOKENS = 10_000_000
"""Of one prompt or answer: more than any model takes."""
UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_UNIT_WORDS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "millis", "millisecond", "milliseconds"),
    "us": ("us", "usec", "micros", "microsecond", "microseconds"),
    "ns": ("ns", "nsec", "nanos", "nanosecond", "nanoseconds"),
}
_UNIT_OF = {word: unit for unit, words in _UNIT_WORDS.items() for word in words}
COLUMNS = ("time", "prompt tokens", "output tokens")
_TIME = (
    "time", "timestamp", "ts", "t", "at", "arrival", "arrival_time", "arrival_timestamp", "arrived_at", "start_time",
    "request_time", "created_time", "timestamp_start_unix", "offset",
)  # fmt: skip
_PROMPT = (
    "prompt_tokens", "prompt_length", "prompt_len", "input_tokens", "input_length", "input_len", "context_tokens",
    "request_tokens", "num_prefill_tokens", "num_prompt_tokens", "prefill_tokens", "prompt", "input",
)  # fmt: skip
_OUTPUT = (
    "output_tokens", "output_length", "output_len", "generated_tokens", "response_tokens", "num_decode_tokens",
    "num_output_tokens", "decode_tokens", "completion_tokens", "completion", "output",
)  # fmt: skip
# Public traces, identified by their columns; the first match is used.
_KNOWN = (
    ("Bailian", "s", {"chat_id", "parent_chat_id", "timestamp", "input_length", "output_length"}),
    ("Mooncake", "ms", {"timestamp", "input_length", "output_length", "hash_ids"}),
    ("BurstGPT", "s", {"timestamp", "request_tokens", "response_tokens"}),
    ("Vidur", "s", {"arrived_at", "num_prefill_tokens", "num_decode_tokens"}),
)
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?|\.[0-9]+")
_EPOCH_MS = 1e11  # as seconds in the year 5138; as milliseconds in 1973
_DATES = "dates"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One scheduled request, `at_s` after the start. Lengths in tokens: from a trace; None: the scenario's own."""

    at_s: float
    prompt_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class _Columns:
    """The three columns of a row, and the unit of its times; `unit` None: unknown."""

    time: int | str
    prompt: int | str
    output: int | str
    unit: str | None
    known_by: str  # the source of the unit, as text for the operator
    sure: bool = True  # False: the unit is only our default


def read(path: Path, unit: str | None = None) -> tuple[tuple[Arrival, ...], str]:
    """The arrivals, and the unit of their times (`milliseconds (a Mooncake trace)`). `unit`: given by the operator.

    CSV has a heading, or three columns: time, prompt tokens, output tokens; JSON lines have one object per line. Raises Refusal
    with the line, the error, and the correct form.
    """
    where = f"--arrivals: {path}"
    text = textfile.read(path, where, MOST_BYTES)
    begins = text.lstrip()[:1]
    if begins == "[":
        raise Refusal(f"{where}: is one JSON array; write one object per line (jq -c '.[]')")
    columns, rows = (_json_lines if begins == "{" else _csv)(text, where, unit)
    found: list[Arrival] = []
    clock = _Clock(columns, str(path))
    for line, time, prompt, output in rows:
        at = f"{where} line {line}"
        if len(found) == MOST_ARRIVALS:
            raise Refusal(f"{at}: more than {MOST_ARRIVALS:,} arrivals; cut the trace (head, split)")
        for cell, column in zip((time, prompt, output), COLUMNS, strict=True):
            if len(cell) > LONGEST_CELL:
                raise Refusal(f"{at}: {cell[:20]!r}… is too long for the column {column}; write a number")
        at_s = clock.since_first(at, time)
        found.append(Arrival(at_s, _tokens(at, prompt, COLUMNS[1]), _tokens(at, output, COLUMNS[2])))
    if not found:
        raise Refusal(f"{where}: has no arrivals; the columns are {', '.join(COLUMNS)}")
    return tuple(found), clock.read_as()


class _Clock:
    """Converts times of one kind, in ascending order, to seconds since the first."""

    def __init__(self, columns: _Columns, path: str) -> None:
        self._columns, self._path = columns, path
        self._kind: str | None = None
        self._first = self._last = 0.0

    def since_first(self, where: str, text: str) -> float:
        kind, value = self._value(where, text.strip())
        if self._kind is None:
            self._kind, self._first, self._last = kind, value, value
        if kind != self._kind:
            raise Refusal(
                f"{where}: its time {text} is of the kind {kind}, but those above are {self._kind}; use one kind"
            )
        if value < self._last:
            raise Refusal(f"{where}: its time {text} is before the time in the line above; sort the trace")
        self._last = value
        scale = 1.0 if kind.startswith(_DATES) else UNITS_S[self._columns.unit or "s"]
        return (value - self._first) * scale

    def read_as(self) -> str:
        if self._kind is not None and self._kind.startswith(_DATES):
            return _DATES
        unit = self._columns.unit or "s"
        return f"{_UNIT_WORDS[unit][-1]} ({self._columns.known_by})"

    def _value(self, where: str, text: str) -> tuple[str, float]:
        if _NUMBER.fullmatch(text):
            return "numbers", self._number(where, text)
        if _NUMBER.fullmatch(text.removeprefix("-")):
            raise Refusal(f"{where}: its time {text} is before 0; write times from 0 on, or dates")
        if text.lstrip("+-").lower() in ("nan", "inf", "infinity"):
            raise Refusal(f"{where}: {text!r} is not a finite time; {_RIGHT}")
        try:
            at = datetime.datetime.fromisoformat(text)
        except ValueError:
            raise Refusal(f"{where}: {text!r} is not a time; {_RIGHT}") from None
        if self._columns.unit is not None and self._columns.sure and self._columns.known_by == _AS_GIVEN:
            raise Refusal(
                f"{where}: its time {text} is a date, which has no unit; leave @{self._columns.unit} out"
            )
        zoned = at.tzinfo is not None
        return f"{_DATES} with a zone" if zoned else _DATES, (
            at if zoned else at.replace(tzinfo=datetime.UTC)
        ).timestamp()

    def _number(self, where: str, text: str) -> float:
        value = float(text)
        if math.isinf(value):
            raise Refusal(f"{where}: {text!r} is not a finite time; {_RIGHT}")
        if self._columns.unit is None:
            raise Refusal(
                f"{where}: the unit of its time {text} is unknown: some public traces have timestamps in milliseconds, "
                f"others in seconds; write replay:{self._path}@ms or @s, or name the column timestamp_ms or timestamp_s"
            )
        if not self._columns.sure and value >= _EPOCH_MS:
            raise Refusal(
                f"{where}: its time {text} is not a Unix time in seconds; write its unit: replay:{self._path}@ms (or @us, @ns)"
            )
        return value


_RIGHT = "write seconds, or like 2023-11-16 18:17:03.979"
_AS_GIVEN = "as given"
_Rows = Iterable[tuple[int, str, str, str]]


def _csv(text: str, where: str, unit: str | None) -> tuple[_Columns, _Rows]:
    rows = _csv_rows(text, where)
    first = next(rows, None)
    if first is None:
        raise Refusal(f"{where}: has no arrivals; the columns are {', '.join(COLUMNS)}")
    line, cells = first
    for separator in (";", "\t"):
        if len(cells) == 1 and separator in cells[0]:
            name = "tabs" if separator == "\t" else repr(separator)
            raise Refusal(
                f"{where} line {line}: its columns are separated by {name}; separate them by commas"
            )
    heading = len(cells) > 1 and not any(_is_value(cell.strip()) for cell in cells)
    columns = _chosen(f"{where} line {line}", cells if heading else None, len(cells), unit)
    width = len(cells)

    def all_rows() -> Iterator[tuple[int, str, str, str]]:
        for at, row in rows if heading else itertools.chain([first], rows):
            if len(row) != width:
                right = (
                    f"expected three: {', '.join(COLUMNS)}"
                    if width == len(COLUMNS)
                    else f"the heading has {width}"
                )
                raise Refusal(f"{where} line {at}: has {len(row)} columns; {right}")
            yield at, row[int(columns.time)], row[int(columns.prompt)], row[int(columns.output)]

    return columns, all_rows()


def _is_value(cell: str) -> bool:
    """Whether a cell is a number or a date, valid or not, and so not a column's name: an invalid row must not be read as a heading."""
    for kind in (float, datetime.datetime.fromisoformat):
        try:
            kind(cell)
        except ValueError:
            continue
        return True
    return False


def _csv_rows(text: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which the row begins, row)."""
    reader = csv.reader(io.StringIO(text, newline=None), strict=True)
    begins = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield begins, row
            begins = reader.line_num + 1
    except csv.Error as e:
        raise Refusal(f"{where} line {begins}: is not valid CSV: {e}") from None


def _chosen(where: str, heading: Sequence[str] | None, width: int, unit: str | None) -> _Columns:
    """The three columns: by the heading if it names them, else by their order."""
    words = [] if heading is None else [_word(cell) for cell in heading]
    time = next((i for i, word in enumerate(words) if _timed(word)[0] in _TIME), None)
    prompt = next((words.index(name) for name in _PROMPT if name in words), None)
    output = next((words.index(name) for name in _OUTPUT if name in words), None)
    if time is None or prompt is None or output is None:
        if width != len(COLUMNS):
            missing = [c for c, i in zip(COLUMNS, (time, prompt, output), strict=True) if i is None]
            named = f"; no column is named like {', '.join(missing)}" if heading is not None else ""
            raise Refusal(f"{where}: has {width} columns; expected three: {', '.join(COLUMNS)}{named}")
        time, prompt, output = 0, 1, 2
    return _Columns(time, prompt, output, *_unit(where, words, words[time] if words else "", unit))


def _json_lines(text: str, where: str, unit: str | None) -> tuple[_Columns, _Rows]:
    objects = _objects(text, where)
    line, first = next(objects)
    words = {_word(key): key for key in first}
    time = next((word for word in words if _timed(word)[0] in _TIME), None)
    prompt = next((name for name in _PROMPT if name in words), None)
    output = next((name for name in _OUTPUT if name in words), None)
    if time is None or prompt is None or output is None:
        missing = [c for c, w in zip(COLUMNS, (time, prompt, output), strict=True) if w is None]
        expected = "; like timestamp, input_length, output_length"
        raise Refusal(f"{where} line {line}: no key is named like {' nor '.join(missing)}{expected}")
    columns = _Columns(
        words[time], words[prompt], words[output], *_unit(f"{where} line {line}", list(words), time, unit)
    )
    keys = (words[time], words[prompt], words[output])

    def all_rows() -> Iterator[tuple[int, str, str, str]]:
        for at, row in itertools.chain([(line, first)], objects):
            values = [row.get(key) for key in keys]
            for key, value in zip(keys, values, strict=True):
                if not isinstance(value, str):
                    raise Refusal(
                        f"{where} line {at}: {key} is {'missing' if value is None else 'not a number'}"
                    )
            yield at, str(values[0]), str(values[1]), str(values[2])

    return columns, all_rows()


def _objects(text: str, where: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Numbers stay as text, so that they are parsed like those of a CSV."""
    for line, one in enumerate(io.StringIO(text, newline=None), start=1):
        if not one.strip():
            continue
        if len(one) > LONGEST_LINE:  # its lists may take thirty times as much memory
            raise Refusal(
                f"{where} line {line}: is longer than {LONGEST_LINE:,} characters; leave hash_ids out"
            )
        try:
            found = json.loads(one, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError) as e:
            raise Refusal(f"{where} line {line}: is not valid JSON: {e}") from None
        if not isinstance(found, dict):
            raise Refusal(f"{where} line {line}: is not a JSON object; write one per line")
        yield line, found


def _unit(where: str, words: Sequence[str], time: str, given: str | None) -> tuple[str | None, str, bool]:
    """(unit of the times, its source, whether it is certain)."""
    named = _timed(time)[1]
    if given is not None:
        if named not in (None, given):
            raise Refusal(
                f"{where}: its times are named {time!r}, which is {named}, not {given}; leave @{given} out"
            )
        return given, _AS_GIVEN, True
    if named is not None:
        return named, f"its column is {time}", True
    for trace, unit, columns in _KNOWN:
        if columns <= set(words):
            return unit, f"a {trace} trace", True
    if time.startswith("timestamp"):
        return None, "", True
    return "s", "the default", False


def _timed(word: str) -> tuple[str, str | None]:
    """`timestamp_ms` → `timestamp`, `ms`."""
    base, _, last = word.rpartition("_")
    return (base, _UNIT_OF[last]) if base and last in _UNIT_OF else (word, None)


def _word(name: str) -> str:
    """`ContextTokens`, `Context tokens` → `context_tokens`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^A-Za-z0-9]+", "_", parted).strip("_").lower()


def _tokens(where: str, text: str, column: str) -> int:
    if not re.fullmatch(r"\s*[1-9][0-9]*\s*", text):
        failed = "; remove the rows of failed requests" if text.strip() == "0" else ""
        raise Refusal(
            f"{where}: {text!r} is not a number of {column}; write a whole number from 1 on{failed}"
        )
    if len(text.strip()) > len(str(MOST_TOKENS)) or int(text) > MOST_TOKENS:
        raise Refusal(
            f"{where}: {text.strip()[:20]} {column} are more than any model takes ({MOST_TOKENS:,})"
        )
    return int(text)


def unit_of(text: str) -> tuple[str, str | None]:
    """`trace.csv@ms` → `trace.csv`, `ms`; None: no unit is given. Raises Refusal."""
    path, at, unit = text.rpartition("@")
    if not at or os.path.exists(text):  # os.path.exists returns False for a name that is too long
        return text, None
    if unit in UNITS_S:
        return path, unit
    if os.path.exists(path):
        raise Refusal(f"--arrivals: {text!r}: {no_such('unit', unit, UNITS_S)}")
    return text, None
