"""The command line: every parameter checked before anything is opened; what is wrong is said with what would be right.

The names are those of llm-d-inference-sim, where it has one.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from contract.command_line import Parser, count_from
from contract.refusal import no_such
from embedded.engine.departure import ABORT, ENDS, RACE
from embedded.engine.pace import PER_SEQUENCE, PREFILL_PER_TOKEN, Pace
from embedded.engine.thoughts import SPELLINGS

if TYPE_CHECKING:
    from contract.document import Document

T = TypeVar("T")
THOUGHTS = 16
REFUSABLE = ("max_tokens", "temperature")
KEEP_ALIVE_S = 300.0  # as Ollama has it
REFUSED, ANSWERS_503 = "refused", "503"
AFTER_STREAM = ("keep", "close")
KEPT_S = 5.0  # as uvicorn has it, which serves vLLM
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What a personality is like where the command line says nothing; the names are the command line's."""

    model: str
    time_to_first_token: str
    time_to_first_token_std_dev: str
    inter_token_latency: str
    inter_token_latency_std_dev: str
    time_factor_under_load: float | None
    """None: as much more for each sequence as a vLLM was measured to take."""
    prefill_time_per_token: str | None
    """None: such a part of the time to the first token as a vLLM was measured to take."""
    max_num_seqs: int
    max_waiting_queue_length: int | None
    max_model_len: int


@dataclass(frozen=True)
class Options:
    personality: str
    port: int
    names: tuple[str, ...]
    """What the model may be called; the first is what answers call it."""
    seed: int
    pace: Pace
    max_waiting: int | None
    max_model_len: int
    natural_length: int | None
    reasoning: str | None
    """How the model's thoughts are spelled, one of `thoughts.SPELLINGS`; None: it has none."""
    reasoning_tokens: int
    """So many tokens of each answer are thoughts, before the first of its content."""
    unsupported: frozenset[str]
    """Parameters that this model refuses although its API knows them."""
    least_output: int
    """A smaller cap is refused: the model could not even finish its thoughts."""
    documents: "tuple[Document, ...]"
    """Those that the model can classify; nothing else is a document to it."""
    accuracy: float
    invalid_json: float
    startup_s: float
    """From the start of the process until it serves."""
    first_startup_s: float | None
    """The same of the first start, which leaves the pidfile; None: no other than the later ones."""
    while_loading: str
    """What a client gets until then: `refused`, no connection, as of vLLM; `503`, as of llama.cpp's server."""
    load_at_first_request_s: float | None
    """None: it serves as soon as it listens. Otherwise the first request waits so long, as with Ollama."""
    keep_alive_s: float
    after_stream: str
    """What becomes of a connection after a stream, one of AFTER_STREAM."""
    keep_alive_connection_s: float | None
    """A kept connection is closed when it was idle for so long; None: never."""
    sigterm: str
    """How answers under way end at SIGTERM: one of `departure.ENDS`, or the race between them."""
    shutdown_timeout_s: float
    """So long they may take to come to their own end first."""
    engine_core: bool
    """It has a core in a process of its own, which can be killed and left behind."""
    dev_mode: bool
    """It can be sent to sleep."""
    api_key: str | None
    ledger: Path | None
    pidfile: Path | None


def duration_s(text: str) -> float:
    found = DURATION.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no duration; write a unit, as in 108ms, 0.35s or 2m")
    return float(found[1]) * UNITS_S[found[2]]


def factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a factor of at least 1.0")
    return value


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a share, from 0 to 1")
    return value


def yes(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"'{text}' is neither true nor false")
    return text.lower() == "true"


def unsupported(text: str) -> frozenset[str]:
    names = text.split(",")
    for name in names:
        if name not in REFUSABLE:
            raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(REFUSABLE)}")
    return frozenset(names)


def parser(personalities: Sequence[str]) -> Parser:
    about = "One simulated LLM engine on one port of 127.0.0.1; durations carry a unit (108ms, 0.35s, 2m)."
    line = Parser(prog="python -m embedded.engine", description=about)
    add = line.add_argument
    add("--personality", required=True, help=f"which engine to be: {', '.join(personalities)}")
    add("--port", required=True, type=count_from(1), help="on 127.0.0.1; replicas may share it")
    add("--model", help="what the model is called")
    add("--served-model-name", nargs="+", help="what it is called instead; the first is what answers say")
    add("--seed", type=int, default=0, help="of all chance; the same request is answered alike (default 0)")
    add("--time-to-first-token", type=duration_s, help="from the slot to the first token")
    add("--time-to-first-token-std-dev", type=duration_s)
    add("--inter-token-latency", type=duration_s, help="from each token to the next")
    add("--inter-token-latency-std-dev", type=duration_s)
    add(
        "--prefill-time-per-token",
        type=duration_s,
        help="what each token of a longer prompt adds to the first",
    )
    add("--time-factor-under-load", type=factor, help="what both are multiplied by when every slot is taken")
    add("--max-num-seqs", type=count_from(1), help="slots")
    add("--max-waiting-queue-length", type=count_from(0), help="requests beyond slots and queue are refused")
    add("--max-model-len", type=count_from(2), help="tokens of prompt and answer together")
    add("--natural-length", type=count_from(1), help="tokens after which the model ends of its own accord")
    add(
        "--reasoning", choices=SPELLINGS,
        help="a reasoning model: each answer begins with thoughts, in this field of its deltas; hidden: only usage counts them",
    )  # fmt: skip
    add("--reasoning-tokens", type=count_from(1), help=f"how many thoughts there are (default {THOUGHTS})")
    add(
        "--unsupported-parameters", type=unsupported, metavar="NAMES",
        help=f"cloud: refuses these of {', '.join(REFUSABLE)}, as newer models do; separated by commas",
    )  # fmt: skip
    add("--least-output-tokens", type=count_from(1), help="cloud: a smaller cap is answered with 400")
    add(
        "--documents",
        type=Path,
        metavar="FOLDER",
        help="a request about one of these is answered with its JSON",
    )
    add("--accuracy", type=share, help="the share of them that is answered rightly (default: all others)")
    add("--invalid-json", type=share, help="the share of them that is answered with no JSON (default 0)")
    add(
        "--startup-duration",
        type=duration_s,
        help="how long the model loads before the engine serves (default 0s)",
    )
    add(
        "--first-startup-duration", type=duration_s,
        help="the same of the first start, where no file stands at --pidfile yet: a stack is up soon, and what is restarted takes long",
    )  # fmt: skip
    add(
        "--while-loading", choices=(REFUSED, ANSWERS_503),
        help="until then the port refuses, as vLLM's (default), or each request gets 503, as from llama.cpp",
    )  # fmt: skip
    add(
        "--load-at-first-request", type=duration_s,
        help="ollama: it listens at once, and so long the first request waits for the model; it loads no further when its client leaves",
    )  # fmt: skip
    add(
        "--keep-alive", type=duration_s,
        help=f"ollama: so long after the last request the model is unloaded (default {KEEP_ALIVE_S:.0f}s)",
    )  # fmt: skip
    add(
        "--after-stream", choices=AFTER_STREAM, default="keep",
        help="close: promises to keep the connection of a stream, and closes it at once, as llama.cpp does",
    )  # fmt: skip
    add(
        "--http-timeout-keep-alive", type=duration_s,
        help=f"vllm: a kept connection is closed when it was idle for so long (default {KEPT_S:.0f}s)",
    )  # fmt: skip
    add(
        "--sigterm", choices=(RACE, *ENDS),
        help="vllm: how a SIGTERM ends the answers under way; the race draws one, with the odds of a real one (default)",
    )  # fmt: skip
    add(
        "--shutdown-timeout", type=duration_s,
        help="vllm: at SIGTERM they may take so long to come to their own end, and new requests get 500 meanwhile (default 0s)",
    )  # fmt: skip
    add(
        "--engine-core", type=yes, nargs="?", const=True,
        help="vllm: has a second process, its EngineCore; killed, it takes the answers with it, and it outlives a SIGKILL of the first",
    )  # fmt: skip
    add(
        "--dev-mode", type=yes, nargs="?", const=True,
        help="vllm: has POST /sleep?level=&mode=, POST /wake_up and GET /is_sleeping",
    )  # fmt: skip
    add(
        "--api-key-env",
        metavar="NAME",
        help="the environment variable that holds the one right key: of cloud for requests, of all others for every page",
    )
    add("--ledger", type=Path, metavar="PATH", help="where each request is written down")
    add("--pidfile", type=Path, metavar="PATH", help="where the engine's own pid is written when it starts")
    return line


def parse(
    argv: Sequence[str], personalities: Mapping[str, Defaults], environment: Mapping[str, str]
) -> Options:
    line = parser(tuple(personalities))
    given = line.parse_args(argv)
    if given.personality not in personalities:
        line.error(no_such("personality", given.personality, personalities))
    defaults = personalities[given.personality]
    line.set_defaults(**{one.name: getattr(defaults, one.name) for one in fields(defaults)})
    given = line.parse_args(argv)
    if given.port > 65535:
        line.error(f"--port: {given.port} is above 65535")
    for name, path in (("--ledger", given.ledger), ("--pidfile", given.pidfile)):
        if path is not None and not path.absolute().parent.is_dir():
            line.error(f"{name}: there is no folder {path.absolute().parent}; make it first")
    return Options(
        personality=given.personality,
        port=given.port,
        names=tuple(given.served_model_name or (given.model,)),
        seed=given.seed,
        pace=_pace(given),
        max_waiting=given.max_waiting_queue_length,
        max_model_len=given.max_model_len,
        natural_length=given.natural_length,
        reasoning=given.reasoning,
        reasoning_tokens=_thoughts(line, given),
        unsupported=_of_cloud(line, given, "unsupported_parameters", frozenset()),
        least_output=_of_cloud(line, given, "least_output_tokens", 1),
        documents=_documents(line, given),
        accuracy=1.0 - (given.invalid_json or 0.0) if given.accuracy is None else given.accuracy,
        invalid_json=given.invalid_json or 0.0,
        startup_s=given.startup_duration or 0.0,
        first_startup_s=_first_startup_s(line, given),
        while_loading=_while_loading(line, given),
        load_at_first_request_s=_load_s(line, given),
        keep_alive_s=KEEP_ALIVE_S if given.keep_alive is None else given.keep_alive,
        after_stream=given.after_stream,
        keep_alive_connection_s=_of_vllm(
            line, given, "http_timeout_keep_alive", KEPT_S if given.personality == "vllm" else None
        ),
        sigterm=_of_vllm(line, given, "sigterm", RACE if given.personality == "vllm" else ABORT),
        shutdown_timeout_s=_of_vllm(line, given, "shutdown_timeout", 0.0),
        engine_core=_of_vllm(line, given, "engine_core", False),
        dev_mode=_of_vllm(line, given, "dev_mode", False),
        api_key=_api_key(line, given.api_key_env, environment),
        ledger=given.ledger,
        pidfile=given.pidfile,
    )


def _first_startup_s(line: Parser, given: argparse.Namespace) -> float | None:
    first_s: float | None = given.first_startup_duration
    if first_s is not None and given.startup_duration is None:
        line.error("--first-startup-duration: and the later ones? give --startup-duration too")
    if first_s is not None and given.pidfile is None:
        line.error(
            "--first-startup-duration: give --pidfile too; the first start is the one that finds no such file"
        )
    return first_s


def _while_loading(line: Parser, given: argparse.Namespace) -> str:
    if given.while_loading is not None and given.startup_duration is None:
        line.error("--while-loading: while what is loaded? give --startup-duration too")
    return given.while_loading or REFUSED


def _load_s(line: Parser, given: argparse.Namespace) -> float | None:
    load_s: float | None = given.load_at_first_request
    for name in ("load_at_first_request", "keep_alive"):
        if getattr(given, name) is not None and given.personality != "ollama":
            line.error(
                f"--{name.replace('_', '-')}: {given.personality} loads its model when it starts; only ollama does so later"
            )
    if given.keep_alive is not None and load_s is None:
        line.error("--keep-alive: what takes no time to load? give --load-at-first-request too")
    return load_s


def _pace(given: argparse.Namespace) -> Pace:
    prefill_s, factor = given.prefill_time_per_token, given.time_factor_under_load
    if prefill_s is None:
        prefill_s = PREFILL_PER_TOKEN * given.time_to_first_token
    if factor is None:
        factor = 1.0 + PER_SEQUENCE * (given.max_num_seqs - 1)
    return Pace(
        time_to_first_token_s=given.time_to_first_token,
        time_to_first_token_std_dev_s=given.time_to_first_token_std_dev,
        inter_token_latency_s=given.inter_token_latency,
        inter_token_latency_std_dev_s=given.inter_token_latency_std_dev,
        time_factor_under_load=factor,
        max_num_seqs=given.max_num_seqs,
        prefill_time_per_token_s=prefill_s,
    )


def _thoughts(line: Parser, given: argparse.Namespace) -> int:
    if given.reasoning is None and given.reasoning_tokens is not None:
        line.error("--reasoning-tokens: of which kind? give --reasoning too")
    return 0 if given.reasoning is None else int(given.reasoning_tokens or THOUGHTS)


def _of_cloud(line: Parser, given: argparse.Namespace, name: str, default: T) -> T:
    value: T | None = getattr(given, name)
    if value is not None and given.personality != "cloud":
        line.error(
            f"--{name.replace('_', '-')}: {given.personality} refuses no such parameter; only cloud does"
        )
    return default if value is None else value


def _of_vllm(line: Parser, given: argparse.Namespace, name: str, default: T) -> T:
    value: T | None = getattr(given, name)
    if value is not None and given.personality != "vllm":
        line.error(f"--{name.replace('_', '-')}: {given.personality} has no such option; only vllm has it")
    return default if value is None else value


def _documents(line: Parser, given: argparse.Namespace) -> "tuple[Document, ...]":
    accuracy, invalid = given.accuracy, given.invalid_json or 0.0
    if given.documents is None:
        for name, value in (("--accuracy", accuracy), ("--invalid-json", given.invalid_json)):
            if value is not None:
                line.error(f"{name}: of which documents? give --documents FOLDER too")
        return ()
    if accuracy is not None and accuracy + invalid > 1.0:
        line.error(f"--accuracy and --invalid-json: {accuracy:g} and {invalid:g} are together more than 1")
    from contract.document import read  # only here: what checks a document is not cheap to import
    from contract.refusal import Refusal

    try:
        return tuple(read(given.documents))
    except Refusal as refusal:
        line.error(f"--documents: {refusal}")


def _api_key(line: Parser, name: str | None, environment: Mapping[str, str]) -> str | None:
    if name is None:
        return None
    if not environment.get(name):
        line.error(f"--api-key-env: the environment variable {name} is not set; put the key there")
    return environment[name]
