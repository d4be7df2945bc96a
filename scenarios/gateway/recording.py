"""The files that a single-process load generator writes into a run: requests and samples."""

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
from scenarios.gateway.user_context import UserContext


class Memory(list[RequestRecord]):
    """Stores the warm-up's records in memory until there is a run folder; same interface as ArrowFile."""

    append = list.extend  # type: ignore[assignment]  # takes a batch, like ArrowFile

    def close(self) -> None:
        pass


class Recording:
    """Open from construction until `close`; sets the recorder of `user_context`."""

    def __init__(
        self,
        users: Callable[[], int],
        user_context: UserContext,
        folder: Path,
        warm: Memory,
        on_failure: Callable[[str], None],
    ) -> None:
        """`users`: the current number of users."""
        requests = ArrowFile(folder / "requests.arrow", REQUESTS)
        user_context.recorder.flush()
        requests.append(warm)  # sent before the run opened; not counted in any tally
        user_context.recorder = self._recorder = Recorder(requests, on_failure)
        self.tally = self._recorder.tally
        self._sampling = Sampling(
            samplers.every(Process.RUN, Process.EACH),
            user_context,
            users,
            partial(samplers.create, folder),
            on_failure,
        )
        self._recorder.start()
        self._sampling.start()

    def close(self) -> None:
        self._sampling.stop()
        self._recorder.close()
