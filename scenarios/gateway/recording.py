"""What one process that drives a whole run writes into it: its requests, and what it samples."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from contract import samplers
from contract.records import RequestRecord
from contract.run import ArrowFile
from contract.sampler import Process
from contract.schemas import REQUESTS
from scenarios.gateway.recorder import Recorder
from scenarios.gateway.sampling import Sampling
from scenarios.gateway.user_context import Stage


class Memory(list[RequestRecord]):
    """Takes the warm-up's records until there is a run to write to; stands where an ArrowFile will."""

    append = list.extend  # type: ignore[assignment]  # a batch, as an ArrowFile takes it

    def close(self) -> None:
        pass


class Recording:
    """Open from its making until `close`; the stage's requests are written to it."""

    def __init__(
        self,
        users: Callable[[], int],
        stage: Stage,
        folder: Path,
        warm: Memory,
        on_failure: Callable[[str], None],
    ) -> None:
        """`users`: how many there are now."""
        requests = ArrowFile(folder / "requests.arrow", REQUESTS)
        stage.recorder.flush()
        requests.append(warm)  # asked before there was a run, and counted nowhere
        stage.recorder = self._recorder = Recorder(requests, on_failure)
        self.tally = self._recorder.tally
        self._sampling = Sampling(
            samplers.every(Process.RUN, Process.EACH),
            stage,
            users,
            partial(samplers.create, folder),
            on_failure,
        )
        self._recorder.start()
        self._sampling.start()

    def close(self) -> None:
        self._sampling.stop()
        self._recorder.close()
