"""What one process that drives a whole run writes into it: its asks and its own health."""

from collections.abc import Callable
from pathlib import Path

from contract.records import Ask
from contract.run import ArrowFile
from contract.schemas import CLIENT, REQUESTS
from scenarios.gateway.client import ClientWatch
from scenarios.gateway.recorder import Recorder
from scenarios.gateway.stage import Stage


class Memory(list[Ask]):
    """Takes the warm-up's records until there is a run to write to; stands where an ArrowFile will."""

    append = list.extend  # type: ignore[assignment]  # a batch, as an ArrowFile takes it

    def close(self) -> None:
        pass


class Recording:
    """Open from its making until `close`; the stage's asks are written to it."""

    def __init__(
        self,
        users: Callable[[], int],
        stage: Stage,
        folder: Path,
        warm: Memory,
        on_failure: Callable[[str], None],
    ) -> None:
        """`users`: how many there are now."""
        asks = ArrowFile(folder / "requests.arrow", REQUESTS)
        stage.recorder.flush()
        asks.append(warm)  # asked before there was a run, and counted nowhere
        stage.recorder = self._recorder = Recorder(asks, on_failure)
        self.tally = self._recorder.tally
        self._client = ClientWatch(
            ArrowFile(folder / "client.arrow", CLIENT), self.tally, users, stage.clock, on_failure
        )
        self._recorder.start()
        self._client.start()

    def close(self) -> None:
        self._client.stop()
        self._recorder.close()
