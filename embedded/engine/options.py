"""The command line. Every parameter is checked before anything is opened; an error states the correct form.

Option names follow llm-d-inference-sim where it has the same option.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from contract.command_line import Parser, count_from
from contract.refusal import no_such
from embedded.engine.pace import PER_SEQUENCE, PREFILL_PER_TOKEN, Pace
from embedded.engine.shutdown import ABORT, ENDS, RACE
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
    """A personality's default for each option; field names are option names."""

    model: str
    time_to_first_token: str
    time_to_first_token_std_dev: str
    inter_token_latency: str
    inter_token_latency_std_dev: str
    time_factor_under_load: float | None
    """None: the increase per sequence that was measured on vLLM (`pace.PER_SEQUENCE`)."""
    prefill_time_per_token: str | None
    """None: the share of the time to the first token that was measured on vLLM (`pace.PREFILL_PER_TOKEN`)."""
    max_num_seqs: int
    max_waiting_queue_length: int | None
    max_model_len: int


@dataclass(frozen=True)
class Options:
    personality: str
    port: int
    names: tuple[str, ...]
    """Accepted model names; answers carry the first."""
    seed: int
    pace: Pace
    max_waiting: int | None
    max_model_len: int
    natural_length: int | None
    reasoning: str | None
    """The field that carries reasoning, one of `thoughts.SPELLINGS`; None: no reasoning."""
    reasoning_tokens: int
    """Reasoning tokens of each answer, before its content."""
    unsupported: frozenset[str]
    """Parameters that this model refuses although its API defines them."""
    least_output: int
    """A smaller max_tokens is refused: the model could not finish its reasoning."""
    documents: "tuple[Document, ...]"
    """Documents that the model can classify."""
    accuracy: float
    invalid_json: float
    startup_s: float
    """Seconds from the start of the process until it serves."""
    first_startup_s: float | None
    """The same for the first start, when no pidfile exists; None: as for later starts."""
    while_loading: str
    """What a client gets while the model loads: `refused` (no connection, as with vLLM) or `503` (as with llama.cpp)."""
    load_at_first_request_s: float | None
    """Seconds that the first request waits for the model, as with Ollama; None: no wait."""
    keep_alive_s: float
    after_stream: str
    """What happens to a connection after a stream, one of AFTER_STREAM."""
    keep_alive_connection_s: float | None
    """Idle seconds after which a kept connection is closed; None: never."""
    sigterm: str
    """How running answers end at SIGTERM: one of `shutdown.ENDS`, or RACE."""
    shutdown_timeout_s: float
    """Seconds that running answers get at SIGTERM to finish normally."""
    engine_core: bool
    """Whether the core is a separate process, which can be killed or orphaned."""
    dev_mode: bool
    """Whether /sleep, /wake_up and /is_sleeping exist."""
    api_key: str | None
    ledger: Path | None
    pidfile: Path | None


def duration_s(text: str) -> float:
    found = DURATION.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not a duration; add a unit, as in 108ms, 0.35s or 2m")
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


def true_or_false(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"'{text}' is neither true nor false")
    return text.lower() == "true"


def unsupported(text: str) -> frozenset[str]:
    names = text.split(",")
    for name in names:
        if name not in REFUSABLE:
            raise argparse.ArgumentTypeError(f"'{name}' is not one of {', '.join(REFUSABLE)}")
    return frozenset(names)


def parser(personalities: Sequence[str]) -> Parser:
    about = "Runs one simulated LLM engine on one port of 127.0.0.1. Durations need a unit: 108ms, 0.35s, 2m."
    line = Parser(prog="python -m embedded.engine", description=about)
    add = line.add_argument
    add("--personality", required=True, help=f"engine to simulate: {', '.join(personalities)}")
    add("--port", required=True, type=count_from(1), help="port on 127.0.0.1; replicas may share it")
    add("--model", help="model name")
    add("--served-model-name", nargs="+", help="model names to accept instead; answers carry the first")
    add(
        "--seed",
        type=int,
        default=0,
        help="random seed; identical requests get identical answers (default 0)",
    )
    add("--time-to-first-token", type=duration_s, help="mean time from getting a slot to the first token")
    add("--time-to-first-token-std-dev", type=duration_s, help="its standard deviation")
    add("--inter-token-latency", type=duration_s, help="mean time from one token to the next")
    add("--inter-token-latency-std-dev", type=duration_s, help="its standard deviation")
    add(
        "--prefill-time-per-token",
        type=duration_s,
        help="time that each prompt token beyond the first 10 adds to the first token",
    )
    add("--time-factor-under-load", type=factor, help="factor on both latencies when every slot is taken")
    add("--max-num-seqs", type=count_from(1), help="number of slots (requests generated at the same time)")
    add("--max-waiting-queue-length", type=count_from(0), help="queue length; further requests are refused")
    add("--max-model-len", type=count_from(2), help="maximum tokens of prompt and answer together")
    add("--natural-length", type=count_from(1), help="tokens after which the model stops by itself")
    add(
        "--reasoning", choices=SPELLINGS,
        help="begin each answer with reasoning, in this field of its deltas; hidden: counted in usage only",
    )  # fmt: skip
    add(
        "--reasoning-tokens", type=count_from(1), help=f"reasoning tokens of each answer (default {THOUGHTS})"
    )
    add(
        "--unsupported-parameters", type=unsupported, metavar="NAMES",
        help=f"cloud: parameters to refuse, as newer models do; comma-separated, of {', '.join(REFUSABLE)}",
    )  # fmt: skip
    add("--least-output-tokens", type=count_from(1), help="cloud: answer a smaller max_tokens with 400")
    add(
        "--documents",
        type=Path,
        metavar="FOLDER",
        help="folder of documents; a request with one of them gets its classification as JSON",
    )
    add(
        "--accuracy", type=share,
        help="share of documents with a correct answer, 0 to 1 (default: 1 minus --invalid-json)",
    )  # fmt: skip
    add("--invalid-json", type=share, help="share of documents whose answer is not JSON (default 0)")
    add(
        "--startup-duration",
        type=duration_s,
        help="time to load the model before the engine serves (default 0s)",
    )
    add(
        "--first-startup-duration", type=duration_s,
        help="the same for the first start, when --pidfile does not exist; keeps the start of a stack short",
    )  # fmt: skip
    add(
        "--while-loading", choices=(REFUSED, ANSWERS_503),
        help="while loading: refuse connections, as vLLM does (default), or answer 503, as llama.cpp does",
    )  # fmt: skip
    add(
        "--load-at-first-request", type=duration_s,
        help="ollama: time that the first request waits for the model; loading stops if its client disconnects",
    )  # fmt: skip
    add(
        "--keep-alive", type=duration_s,
        help=f"ollama: unload the model this long after its last request (default {KEEP_ALIVE_S:.0f}s)",
    )  # fmt: skip
    add(
        "--after-stream", choices=AFTER_STREAM, default="keep",
        help="close: send keep-alive headers, then close the connection after each stream, as llama.cpp does (default keep)",
    )  # fmt: skip
    add(
        "--http-timeout-keep-alive", type=duration_s,
        help=f"vllm: close a kept connection after this idle time (default {KEPT_S:.0f}s)",
    )  # fmt: skip
    add(
        "--sigterm", choices=(RACE, *ENDS),
        help="vllm: how SIGTERM ends running answers; race: draw one with the measured odds (default)",
    )  # fmt: skip
    add(
        "--shutdown-timeout", type=duration_s,
        help="vllm: time for running answers to finish after SIGTERM; new requests get 500 (default 0s)",
    )  # fmt: skip
    add(
        "--engine-core", type=true_or_false, nargs="?", const=True,
        help="vllm: run the EngineCore as a second process; killing it ends all answers; it survives SIGKILL of the first",
    )  # fmt: skip
    add(
        "--dev-mode", type=true_or_false, nargs="?", const=True,
        help="vllm: serve POST /sleep?level=&mode=, POST /wake_up and GET /is_sleeping",
    )  # fmt: skip
    add(
        "--api-key-env",
        metavar="NAME",
        help="environment variable with the API key; cloud requires it for requests, all others for every page",
    )
    add("--ledger", type=Path, metavar="PATH", help="file that records each request, as JSON lines")
    add("--pidfile", type=Path, metavar="PATH", help="file for the engine's pid, written at start")
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
            line.error(f"{name}: folder {path.absolute().parent} does not exist; create it first")
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
        line.error("--first-startup-duration: needs --startup-duration, for the later starts")
    if first_s is not None and given.pidfile is None:
        line.error(
            "--first-startup-duration: needs --pidfile; the first start is the one that finds no pidfile"
        )
    return first_s


def _while_loading(line: Parser, given: argparse.Namespace) -> str:
    if given.while_loading is not None and given.startup_duration is None:
        line.error("--while-loading: needs --startup-duration")
    return given.while_loading or REFUSED


def _load_s(line: Parser, given: argparse.Namespace) -> float | None:
    load_s: float | None = given.load_at_first_request
    for name in ("load_at_first_request", "keep_alive"):
        if getattr(given, name) is not None and given.personality != "ollama":
            line.error(
                f"--{name.replace('_', '-')}: {given.personality} loads its model at start; only ollama loads it later"
            )
    if given.keep_alive is not None and load_s is None:
        line.error("--keep-alive: needs --load-at-first-request")
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
        line.error("--reasoning-tokens: needs --reasoning")
    return 0 if given.reasoning is None else int(given.reasoning_tokens or THOUGHTS)


def _of_cloud(line: Parser, given: argparse.Namespace, name: str, default: T) -> T:
    value: T | None = getattr(given, name)
    if value is not None and given.personality != "cloud":
        line.error(
            f"--{name.replace('_', '-')}: {given.personality} does not have this option; only cloud has it"
        )
    return default if value is None else value


def _of_vllm(line: Parser, given: argparse.Namespace, name: str, default: T) -> T:
    value: T | None = getattr(given, name)
    if value is not None and given.personality != "vllm":
        line.error(
            f"--{name.replace('_', '-')}: {given.personality} does not have this option; only vllm has it"
        )
    return default if value is None else value


def _documents(line: Parser, given: argparse.Namespace) -> "tuple[Document, ...]":
    accuracy, invalid = given.accuracy, given.invalid_json or 0.0
    if given.documents is None:
        for name, value in (("--accuracy", accuracy), ("--invalid-json", given.invalid_json)):
            if value is not None:
                line.error(f"{name}: needs --documents FOLDER")
        return ()
    if accuracy is not None and accuracy + invalid > 1.0:
        line.error(f"--accuracy and --invalid-json: {accuracy:g} + {invalid:g} is more than 1")
    from contract.document import read  # only here: slow to import
    from contract.refusal import Refusal

    try:
        return tuple(read(given.documents))
    except Refusal as refusal:
        line.error(f"--documents: {refusal}")


def _api_key(line: Parser, name: str | None, environment: Mapping[str, str]) -> str | None:
    if name is None:
        return None
    if not environment.get(name):
        line.error(f"--api-key-env: the environment variable {name} is not set; set it to the key")
    return environment[name]
