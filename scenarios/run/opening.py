"""Opens a run: its folder with the inputs, and the files for its records."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract import printable, textfile
from contract import topology as topologies
from contract.records import Worker
from contract.redact import redact
from contract.run import Run, open_run
from scenarios.gateway.distributed.gathering import Gathering
from scenarios.gateway.recording import Recording
from scenarios.run.arguments import RECORDED
from scenarios.run.preparation import Prepared
from scenarios.run.stack import Stack
from scenarios.run.warming import Warmed

if TYPE_CHECKING:
    from scenarios.gateway.distributed.workers import Workers
    from scenarios.gateway.load_shape import LoadShape, Search
    from scenarios.gateway.user import GatewayUser


def open_folder(
    options: argparse.Namespace,
    prepared: Prepared,
    shape: "LoadShape | None",
    search: "Search | None",
    workers: Sequence[Worker],
) -> Run:
    """Raises Refusal if the folder cannot be created."""
    user_context, timeline = prepared.warmed.user_context, prepared.inputs.timeline_path
    run = open_run(
        Path(options.results),
        timeline.stem if search is None else type(search).__name__,
        user_context.clock.now(),
        copied(prepared.stack, timeline if search is None else None),
        recorded(options, shape, prepared.inputs.users),
        options.seed,
        user_context.recorder.tally.snapshot().by_version,
        workers,
        prepared.stack.topology.gateway.kind,
        [user.scenario for user in prepared.inputs.users if user.unattended],
    )
    print(printable.line(f"run {run.path}"), flush=True)
    return run


def copied(stack: Stack, timeline: Path | None) -> dict[str, str]:
    """File name → text of the inputs that are copied into a run folder. `timeline`: None: no faults are injected."""
    found = {"topology.yaml": topologies.dump(stack.topology)}
    if timeline is not None:
        found["timeline.yaml"] = timeline.read_text()
    gateway = stack.path.parent / "gateway.yaml"
    if gateway.exists():
        found["gateway.yaml"] = redact(textfile.read(gateway))
    return found


def recorded(
    options: argparse.Namespace, shape: "LoadShape | None", users: Sequence[type["GatewayUser"]]
) -> dict[str, Any]:
    """The arguments in the manifest. With a shape, `num_users` is the number of users at factor 1."""
    of_scenarios = [name for user in users for name in user.arguments]
    found = {name: getattr(options, name) for name in (*RECORDED, *of_scenarios)}
    if shape is not None:
        found |= {"shape": type(shape).__name__, "num_users": shape.users}
    return found


def record(
    folder: Path,
    warmed: Warmed,
    workers: "Workers | None",
    users: Callable[[], int],
    on_failure: Callable[[str], None],
) -> Recording | Gathering:
    """The records of this process's own users (`users`: their current number), or those that workers send."""
    if workers is None:
        return Recording(users, warmed.user_context, folder, warmed.records, on_failure)
    warmed.user_context.recorder.flush()
    return Gathering(folder, warmed.user_context, warmed.records, workers.warm, on_failure)
