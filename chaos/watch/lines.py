"""The lines for a request, a change and the whole watch, as pieces of text with a style each. Pure.

`room`: the columns of a terminal; None: unlimited.
"""

import time
from collections.abc import Mapping
from typing import Literal

from chaos.watch.changes import Change, Changes, Failover, Outage, Recovery
from chaos.watch.error_text import error_text
from chaos.watch.lineup import FIRST
from chaos.watch.summary import CUT, Summary, TierSummary
from contract import duration
from contract.printable import cells, narrowed, shortened
from contract.records import Outcome, RequestRecord, Witness

Style = Literal["", "dim", "first", "behind", "cut", "failed", "failover", "outage", "recovery", "title"]
Line = list[tuple[str, Style]]

_QUIET: dict[Style, Style] = {"failover": "behind", "outage": "failed", "recovery": "first"}
"""The styles of changes outside banners, in the summary."""

WIDE = 120  # columns from which on the gateway's own name of the serving tier is shown
# Columns: the most of a name, the most of a text with unlimited room, the least of an error.
NAME, TEXT, ERROR = 32, 60, 80
LEAST_TEXT = 8  # with less room no text is shown


def plain(line: Line) -> str:
    return "".join(text for text, _ in line)


def hour(at: float) -> str:
    """`13:40:57`, local time."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def request_line(
    n: int, record: RequestRecord, name: str | None, place: int | None, text: str, room: int | None
) -> Line:
    """`[13:40:57] #4 FALLBACK ollama 412 ms, TTFT 120 ms "Hello!"`; the time is when the request was sent."""
    line: Line = [(f"[{hour(record.sent_at or record.scheduled_at)}] ", "dim"), (f"#{n} ", "")]
    if record.outcome == Outcome.OK:
        line += [_place(place), *_served_by(record, name, room), (f" {_lengths(record)}", "")]
        line += [(" unverified", "cut")] if record.witness == Witness.NONE else []
        return line + _text(line, text, room)
    if record.outcome in CUT:
        line += [
            (f"{record.outcome.upper():8}", "cut"),
            *_served_by(record, name, room),
            (f" {_lengths(record)}", ""),
        ]
        line.append((f" {_error(line, record, room)}", "cut"))
        return line + _text(line, text, room)
    line.append(("FAILED  ", "failed"))
    line += [] if record.latency_ms is None else [(f" after {ms(record.latency_ms)},", "")]
    return [*line, (f" {_error(line, record, room)}", "failed")]


def waiting_line(now: float, waiting: Mapping[int, float], room: int) -> str:
    """`#5 … waiting 12 s, #6 … 9 s`"""
    line = ", ".join(
        f"#{n} … {'' if i else 'waiting '}{now - at:.0f} s" for i, (n, at) in enumerate(waiting.items())
    )
    return shortened(line, room - 1)


def covered_line(now: float, waiting: Mapping[int, float]) -> Line:
    n, at = min(waiting.items(), key=lambda item: item[1])
    text = f"no request sent: {len(waiting)} are still waiting, the oldest (#{n}) for {now - at:.0f} s"
    return [(f"[{hour(now)}] ", "dim"), (text, "cut")]


def banner(change: Change, changes: Changes, room: int | None = None) -> Line:
    """`── FAILOVER vllm → ollama after 3.1 s without an answer (between 2.9 and 6.1 s) ──`"""
    text, style = _change(change, changes)
    end = "" if room is not None and cells(text) + 6 > room else " ──"
    return [(f"── {text}{end}", style)]


def closing(summary: Summary, changes: Changes) -> list[Line]:
    """The summary, line by line."""
    s = summary
    failed_as = ", ".join(f"{count} × {kind}" for kind, count in s.failed_as.items())
    counts = [
        f"{s.sent} sent",
        f"{s.good} good",
        f"{s.cut} cut",
        f"{s.failed} failed{f' ({failed_as})' if failed_as else ''}",
    ]
    counts += [f"{s.abandoned} still waiting"] if s.abandoned else []
    title = f"── watched {length(s.to_at - s.from_at)}: {', '.join(counts)} ──"
    lines: list[Line] = [[(title, "title")]]
    wide = max([cells(_name(tier.name)) for tier in s.tiers], default=0)
    lines += [_tier(tier, wide) for tier in s.tiers]
    for change in changes.all:
        text, style = _change(change, changes, ended=True)
        lines.append([(f"  {hour(change.at)} ", "dim"), (text, _QUIET[style])])
    silence = s.silence
    end = f"to {hour(silence.to_at)}" if silence.ended else "to the end"
    lines.append(
        [
            ("  longest silence ", ""),
            (f"{silence.s:.1f} s", "title"),
            (f", from {hour(silence.from_at)} {end}; one request every {duration.text(s.every_s)}", ""),
        ]
    )
    if s.covered:
        lines.append([(f"  {s.covered} requests were not sent: too many were waiting", "cut")])
    if s.unverified:
        lines.append(
            [
                (
                    f"  {s.unverified} of {s.good} good answers unverified: no evidence that they are whole",
                    "cut",
                )
            ]
        )
    if s.never_whole:
        tiers = ", ".join(map(_name, s.never_whole))
        lines.append(
            [
                (
                    f"  no answer of {tiers} reached its cap: if that model ends early by itself, use --witness none",
                    "cut",
                )
            ]
        )
    return lines


def ms(value: float) -> str:
    """`83 ms`, `1.24 s`"""
    return f"{value / 1000:.2f} s" if round(value) >= 1000 else f"{value:.0f} ms"


def length(seconds: float) -> str:
    """`41 s`, `3 min 12 s`, `2 h 5 min`"""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _place(place: int | None) -> tuple[str, Style]:
    if place is None:
        return "UNKNOWN ", ""
    return ("PRIMARY ", "first") if place == FIRST else ("FALLBACK", "behind")


def _name(name: str | None) -> str:
    return "the gateway" if name is None else narrowed(name, NAME)


def _served_by(record: RequestRecord, name: str | None, room: int | None) -> Line:
    """The tier, and with enough room the headers that identified it."""
    line: Line = [(f" {_name(name)}", "")]
    headers = [h for h in (record.route_group, record.route_api_base) if h and h != name]
    if headers and (room is None or room >= WIDE):
        line.append((f" ({' @ '.join(narrowed(h, NAME + 16) for h in headers)})", "dim"))
    return line


def _lengths(record: RequestRecord) -> str:
    took = "no latency" if record.latency_ms is None else ms(record.latency_ms)
    return f"{took}, TTFT {ms(record.ttft_ms)}" if record.stream and record.ttft_ms is not None else took


def _text(line: Line, text: str, room: int | None) -> Line:
    left = TEXT if room is None else room - 1 - cells(plain(line)) - 3  # a space and the quotes
    return [(f' "{shortened(text, left)}"', "")] if text and left >= LEAST_TEXT else []


def _error(line: Line, record: RequestRecord, room: int | None) -> str:
    text = error_text(record)
    return text if room is None else shortened(text, max(ERROR, room - 2 - cells(plain(line))))


def _change(change: Change, changes: Changes, ended: bool = False) -> tuple[str, Style]:
    if isinstance(change, Outage):
        return _outage(change, ended), "outage"
    gap = changes.gap_s(change)
    if isinstance(change, Failover):
        assert gap is not None, "a failover has a gap, if only between two requests"
        return f"FAILOVER {_name(change.before)} → {_name(change.to)} {_gap(change, gap)}", "failover"
    text = f"RECOVERED: {_name(change.to)} {'again' if change.again else 'answers'}"
    if change.on_s is not None:
        text += f", after {length(change.on_s)} on {' and '.join(map(_name, change.on))}"
        return (text if gap is None else f"{text}, {_gap(change, gap, '', ' of it')}"), "recovery"
    assert gap is not None, "an outage has a gap"
    return f"{text}, {_gap(change, gap)}", "recovery"


def _gap(
    change: Failover | Recovery, gap: tuple[float, float | None], before: str = "after ", behind: str = ""
) -> str:
    lower, upper = gap
    bounds = f" (between {lower:.1f} and {upper:.1f} s)" if upper is not None else ""
    if upper is None and lower > 0:  # no answer before
        bounds = f" (at least {lower:.1f} s)"
    answer = "a whole answer" if change.silence.cut else "an answer"
    return f"{before}{change.silence.waited_s():.1f} s{behind} without {answer}{bounds}"


def _outage(outage: Outage, ended: bool) -> str:
    text = f"OUTAGE: no answer since {hour(outage.since_at)}"
    if ended:
        until = "to the end" if outage.until_at is None else f"until {hour(outage.until_at)}"
        text = f"OUTAGE: no answer from {hour(outage.since_at)} {until}"
    why = "the request hangs" if outage.record is None else shortened(error_text(outage.record), ERROR)
    return f"{text} (#{outage.n}: {why})"


def _tier(tier: TierSummary, wide: int) -> Line:
    name = _name(tier.name)
    slow = f"slowest {ms(tier.slowest_ms)}" if tier.p95_ms is None else f"p95 {ms(tier.p95_ms)}"
    text = (
        f"{tier.share:4.0%}".replace("%", " %")
        + f", {tier.answers} answer{'s' if tier.answers > 1 else ''}: median {ms(tier.latency_ms)}, {slow}"
    )
    text += "" if tier.ttft_ms is None else f", TTFT {ms(tier.ttft_ms)}"
    style: Style = "" if tier.place is None else "first" if tier.place == FIRST else "behind"
    return [("  ", ""), (name, style), (" " * (wide - cells(name)) + f"  {text}", "")]
