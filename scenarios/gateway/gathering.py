"""What a master writes into an open run: its workers' asks and their own health, as it comes in, and their clocks."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from contract.records import Ask, Offset
from contract.run import ArrowFile, JsonLines
from contract.schemas import CLIENT, REQUESTS
from scenarios.gateway.messages import unpacked
from scenarios.gateway.tally import Tallies


class Gathering:
    """Open from its making until `close`. What cannot be written is said once, with `on_failure`."""

    def __init__(
        self, folder: Path, warm: list[Ask], theirs: Iterable[bytes], on_failure: Callable[[str], None]
    ) -> None:
        self._on_failure, self._failed = on_failure, False
        self._asks = ArrowFile(folder / "requests.arrow", REQUESTS)
        self._client = ArrowFile(folder / "client.arrow", CLIENT)
        self._clocks = JsonLines(folder / "clocks.jsonl")
        self.tally = Tallies()
        self._asks.append(warm)
        self.keep({"asks": theirs, "client": []})

    def keep(self, parcel: dict[str, Any]) -> int:
        """Append finished batches; how many asks there were in them."""
        try:
            asks = [unpacked(data, REQUESTS) for data in parcel["asks"]]
            rows = [unpacked(data, CLIENT) for data in parcel["client"]]
        except pa.ArrowInvalid as e:
            self._fail(f"a worker's records cannot be read: {e}")
            return 0
        for file, batches in ((self._asks, asks), (self._client, rows)):
            for batch in batches:
                self._write(partial(file.append_batch, batch))
        return sum(batch.num_rows for batch in asks)

    def clock(self, offset: Offset) -> None:
        self._write(partial(self._clocks.append, offset))

    def close(self) -> None:
        """Safe to call twice."""
        for file in (self._asks, self._client, self._clocks):
            self._write(file.close)

    def _write(self, write: Callable[[], None]) -> None:
        """After a failure nothing more is written: a file's tail may be torn."""
        if self._failed:
            return
        try:
            write()
        except OSError as e:
            self._fail(f"records cannot be written: {type(e).__name__}: {e}")

    def _fail(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            self._on_failure(why)
