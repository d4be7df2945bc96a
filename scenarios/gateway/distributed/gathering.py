"""The files that a master writes into an open run: its workers' requests and samples as they arrive, clock offsets, its own samples."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from contract import samplers
from contract.records import Offset, RequestRecord
from contract.run import ArrowFile, JsonLines
from contract.sampler import Process
from contract.schemas import REQUESTS
from scenarios.gateway.distributed.messages import unpacked
from scenarios.gateway.sampling import Sampling
from scenarios.gateway.tally import Tallies
from scenarios.gateway.user_context import UserContext


class Gathering:
    """Open from construction until `close`. The first write error is reported with `on_failure`."""

    def __init__(
        self,
        folder: Path,
        user_context: UserContext,
        warm: list[RequestRecord],
        theirs: Iterable[bytes],
        on_failure: Callable[[str], None],
    ) -> None:
        self._on_failure, self._failed = on_failure, False
        self._requests = ArrowFile(folder / "requests.arrow", REQUESTS)
        self._theirs = samplers.every(Process.EACH)
        self._samples = {name: samplers.create(folder, name) for name in self._theirs}
        self._clocks = JsonLines(folder / "clocks.jsonl")
        self.tally = Tallies()
        self._requests.append(warm)
        self.keep({"requests": theirs, "samples": {}})
        self._own = Sampling(
            samplers.every(Process.RUN), user_context, None, partial(samplers.create, folder), on_failure
        )
        self._own.start()

    def keep(self, parcel: dict[str, Any]) -> int:
        """Append finished batches. Returns the number of requests in them."""
        try:
            requests = [unpacked(data, REQUESTS) for data in parcel["requests"]]
            found = [(self._requests, batch) for batch in requests]
            for name, parts in parcel["samples"].items():
                schema = self._theirs[name].schema
                found += [(self._samples[name], unpacked(data, schema)) for data in parts]
        except (pa.ArrowInvalid, KeyError) as e:  # KeyError: this process does not have the sampler
            self._fail(f"a worker's records cannot be read: {e}")
            return 0
        for file, batch in found:
            self._write(partial(file.append_batch, batch))
        return sum(batch.num_rows for batch in requests)

    def clock(self, offset: Offset) -> None:
        self._write(partial(self._clocks.append, offset))

    def close(self) -> None:
        """Safe to call twice."""
        self._own.stop()
        for close in (
            self._requests.close,
            *(file.close for file in self._samples.values()),
            self._clocks.close,
        ):
            self._write(close)

    def _write(self, write: Callable[[], None]) -> None:
        """After a failure nothing more is written, since the end of a file may be torn."""
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
