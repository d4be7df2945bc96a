"""Engines that are killed every few seconds under direct load: every record agrees with the ledgers."""

import random
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import pytest

from contract import samplers
from contract.run import read_arrow
from contract.schemas import REQUESTS
from embedded.engine.ledger import Entry, read
from embedded.ports import Reserved
from tests.forked import Forked
from tests.whole.direct_load import direct_load

PACE = ("--time-to-first-token=30ms", "--inter-token-latency=20ms", "--inter-token-latency-std-dev=2ms")
MAX_TOKENS = 8
# How each ends its answers at SIGTERM. One that falls silent would live until its clients have left.
ENDS = {"a": "abort", "b": "error"}
# It reads so many requests before it is killed, and then lives for at most an answer's time: on a busy machine it lives
# longer, but gives as many answers.
LIVES_REQUESTS, MOMENT_S = (400, 1000), 0.2
USERS, PACE_S = 100, 0.25


class KilledEngine:
    """An engine that is killed at random times, and started again at once; SIGKILL and SIGTERM take turns."""

    def __init__(self, name: str, folder: Path, first: signal.Signals) -> None:
        self._reserved = Reserved()
        self.port = self._reserved.port
        self.ledger = folder / f"{name}.jsonl"
        self.kills: list[signal.Signals] = []
        self._next = first
        self._argv = [
            "--personality", "vllm", "--model", "m", "--port", str(self.port), "--ledger", str(self.ledger),
            "--sigterm", ENDS[name], *PACE,
        ]  # fmt: skip
        self._random = random.Random(name)
        self._enough = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._live_and_die)

    def begin(self) -> None:
        self._thread.start()

    def rest(self) -> None:
        """Ends the kills, and then the running engine."""
        self._enough.set()
        self._thread.join()
        self._process.terminate()
        self._process.wait()

    def _start(self) -> Forked:
        # Forked, it is back within milliseconds: while none listens, requests are refused.
        process = Forked("embedded.engine", *self._argv)
        give_up_at = time.monotonic() + 60
        while not self._accepts():
            assert process.poll() is None
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
        return process

    def _accepts(self) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0

    def _live(self, ledger: BinaryIO) -> None:
        """Waits until it has read enough requests."""
        left = self._random.randint(*LIVES_REQUESTS)
        while left > 0 and not self._enough.wait(0.01):
            left -= ledger.read().count(b'"line":"arrived"')
        self._enough.wait(self._random.uniform(0, MOMENT_S))

    def _live_and_die(self) -> None:
        self.ledger.touch()
        with open(self.ledger, "rb") as ledger:
            while True:
                self._live(ledger)
                if self._enough.is_set():
                    return
                self.kills.append(self._next)
                self._process.send_signal(self._next)
                self._next = signal.SIGTERM if self._next is signal.SIGKILL else signal.SIGKILL
                self._process.wait()
                self._process = self._start()


def received(entry: Entry | None) -> str:
    """How much of an answer the client got, by the ledger."""
    if entry is None:
        return "never read"
    if entry.how is not None:
        return entry.how if entry.how != "abort" or entry.written_tokens else "abort before a token"
    if entry.ending is not None:
        return f"killed at its end ({entry.ending})"
    return "killed after a token" if entry.begun_at is not None else "killed before a token"


# outcome → possible entries of the ledger. Bytes that a process has written to a socket of this machine are in the reader's
# queue, and a kill does not remove them; so an answer that has ended by the ledger is never less to us. But a
# process can be killed between a line of its ledger and the write that the line announces, and before it logs that
# the write is done: so with `killed at its end` we may have the whole answer or what came before the end (of a plain
# one: nothing), and with `killed after a token` no token.
POSSIBLE = {
    "ok": {"length", "killed at its end (length)"},
    "cut": {
        "abort", "killed after a token", "killed at its end (length)", "killed at its end (abort)",
    },
    "broken": {
        "never read", "killed before a token", "abort before a token",
        "killed after a token", "killed at its end (length)", "killed at its end (abort)",
    },
    "rejected": {"abort before a token"},  # a plain one that an error ended
    # The last: sent again, because the engine was killed right after reading it; by then no engine listened.
    "refused": {"never read", "killed before a token"},
}  # fmt: skip


@pytest.mark.verify
@pytest.mark.parametrize("requests", [3_000, pytest.param(100_000, marks=pytest.mark.timeout(1200))])
def test_every_request_to_engines_that_are_killed_repeatedly_has_one_record_that_agrees_with_the_ledgers(
    tmp_path, requests
):
    engines = {
        "a": KilledEngine("a", tmp_path, signal.SIGKILL),
        "b": KilledEngine("b", tmp_path, signal.SIGTERM),
    }
    try:
        for engine in engines.values():
            engine.begin()
        result, run = direct_load(
            tmp_path, {name: engine.port for name, engine in engines.items()}, users=USERS, pace_s=PACE_S, requests=requests,
            max_tokens=MAX_TOKENS, streamed=0.7,
        )  # fmt: skip
    finally:
        for engine in engines.values():
            engine.rest()
    table, torn = read_arrow(run / "requests.arrow", REQUESTS)
    records = table.to_pylist()
    print_cost(result, engines, records, run)

    assert not torn
    assert not result["failures"]
    ids = [r["request_id"] for r in records]
    assert len(ids) == len(set(ids)) == result["sent"] == result["locust_counted"] == requests

    entries: dict[str, Entry] = {}
    again = 0
    for engine in engines.values():
        for entry in read(engine.ledger):
            if entry.nonce in entries:
                earlier, entry = sorted((entries[entry.nonce], entry), key=lambda e: e.arrived_at)
                # An engine killed within a round trip of reading it looks like one that had closed the connection before
                # the request came: that is the keep-alive race, and the request was sent again.
                assert received(earlier) == "killed before a token", (
                    f"{entry.nonce} was sent twice: {earlier}, {entry}"
                )
                again += 1
            entries[entry.nonce] = entry
    assert set(entries) <= set(ids), "an engine got a request that has no record"

    met = Counter((r["outcome"], received(entries.get(r["request_id"]))) for r in records)
    print(as_table(met))
    again += met["refused", "killed before a token"]
    assert again <= requests / 100
    impossible = {pair: n for pair, n in met.items() if pair[1] not in POSSIBLE.get(pair[0], ())}
    examples = [
        (r, entries.get(r["request_id"]))
        for r in records
        if (r["outcome"], received(entries.get(r["request_id"]))) in impossible
    ]
    assert not impossible, f"{impossible}; for example {examples[:3]}"
    for record in records:
        entry = entries.get(record["request_id"])
        if record["outcome"] == "ok":
            assert entry.output_tokens in (MAX_TOKENS, None)  # None: killed before it logged it
            # Killed between the end of its answer and the usage, it was whole all the same.
            unreported = received(entry).startswith("killed at its end") and record["output_tokens"] is None
            assert unreported or record["output_tokens"] == MAX_TOKENS
            assert record["witness"] == "end"
        elif entry is not None and entry.how == "abort" and record["outcome"] == "cut":
            # An error has no usage.
            assert record["output_tokens"] in (None, entry.output_tokens)
            assert entry.output_tokens < MAX_TOKENS
    # A test of kills without a kill would prove nothing. How many are refused while an engine starts depends on the machine.
    assert met["ok", "length"] > sum(n for (_, how), n in met.items() if how != "never read") / 2
    kills = Counter(k for e in engines.values() for k in e.kills)
    assert min(kills[signal.SIGKILL], kills[signal.SIGTERM]) >= requests // 3_000
    assert min(met["cut", "killed after a token"], met["cut", "abort"]) >= requests // 3_000


def print_cost(result: dict, engines: dict[str, KilledEngine], records: list[dict], run: Path) -> None:
    kills = Counter(k.name for e in engines.values() for k in e.kills)
    lag = [row["hub_lag_ms"] for row in samplers.read(run, "client")[0].to_pylist()]
    print(
        f"\n{len(records)} requests in {result['seconds']:.0f} s, {len(records) / result['seconds']:.0f}/s, "
        f"{result['cpu_s']:.0f} s of CPU, hub lag at most {max(lag, default=0):.0f} ms; {dict(kills)}; "
        f"descriptors at most {max(result['fds'])}, memory {result['rss_mb'][0]:.0f} → {result['rss_mb'][-1]:.0f} MB"
    )
    print(Counter((r["outcome"], r["stream"]) for r in records))
    for outcome in ("broken", "refused"):
        print(outcome, Counter((r["error"] or "").split(":")[0] for r in records if r["outcome"] == outcome))


def as_table(met: Counter[tuple[str, str]]) -> str:
    columns = sorted({column for _, column in met})
    width = max(map(len, columns))
    rows = sorted({row for row, _ in met})
    lines = [f"{'':>{width}}  " + "".join(f"{row:>10}" for row in rows)]
    for column in columns:
        lines.append(f"{column:>{width}}  " + "".join(f"{met[row, column]:>10}" for row in rows))
    return "\n".join(lines)
