"""`python -m chaos watch`: its command line."""

import argparse
import errno
import os
import re
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from chaos.stop import Stop
from chaos.watch.lineup import Lineup
from chaos.watch.objects import Objects
from chaos.watch.screen import Screen, coloured, moves
from chaos.watch.sender import SCENARIO, Sender
from chaos.watch.watch import View, Watch
from contract import proxies, topology
from contract.caps import DEFAULT, Use
from contract.clock import Clock
from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.proper_end import AT_CAP, UNKNOWN, ProperEnd
from contract.refusal import EXIT_PASS, EXIT_UNKNOWN, Refusal
from contract.request import Request
from contract.strict import validate
from contract.topology import Topology

UP = Path(".stack/up/topology.yaml")
"""What `make up` writes."""
PROMPT = "Say hello in one hundred languages, one after another."
ENDS_AT = 64  # tokens: up to this cap the prompt above calls for more than the cap
CONNECT_S = 5.0
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def add_arguments(parser: argparse.ArgumentParser, seconds: Callable[[str], float]) -> None:
    """`seconds` reads a duration."""
    what = parser.add_argument_group("target")
    what.add_argument(
        "--topology", type=Path,
        help=f"the stack; by default, and for an embedded topology, the one started by make up ({UP})",
    )  # fmt: skip
    what.add_argument("--url", help="a gateway without a topology, such as http://host:4000")
    what.add_argument("--model", help="the requested model; by default the topology's; required with --url")
    what.add_argument(
        "--api-key-env", metavar="NAME", help="with --url: the environment variable with the gateway's key"
    )  # fmt: skip
    what.add_argument(
        "--header", action="append", default=[], metavar="'NAME: ${VARIABLE}'",
        help="with --url: an extra header, its value in the environment; may be given several times",
    )  # fmt: skip
    what.add_argument(
        "--max-tokens-field", choices=["max_tokens", "max_completion_tokens"],
        help="with --url: the gateway's parameter for the cap (default max_tokens)",
    )  # fmt: skip
    how = parser.add_argument_group("requests")
    how.add_argument("--every", type=seconds, default=3.0, help="interval between requests (default 3s)")
    how.add_argument("--count", type=int, help="end after so many requests; by default run until Ctrl-C")
    how.add_argument("--timeout", type=seconds, default=30.0, help="timeout of a request (default 30s)")
    stream = how.add_mutually_exclusive_group()
    stream.add_argument(
        "--stream", action="store_true", default=True, help="request streamed answers (the default), which have a time to the first token"
    )  # fmt: skip
    stream.add_argument("--plain", dest="stream", action="store_false", help="request answers in one piece")
    how.add_argument("--prompt", help=f"the prompt (default {PROMPT!r})")
    how.add_argument(
        "--max-tokens", type=int,
        help=f"the cap of an answer (default {DEFAULT[Use.WATCH]}, or the topology's probe_max_tokens if that is more)",
    )  # fmt: skip
    how.add_argument(
        "--witness", choices=["length", "none"],
        help="length: the prompt calls for more than the cap allows, so an answer that stops below the cap was cut; "
        "none: an answer may end anywhere and is shown as unverified. Default: length for the default prompt with a cap "
        f"of at most {ENDS_AT} unless the topology states otherwise; none for a prompt of your own",
    )  # fmt: skip
    shown = parser.add_argument_group("output")
    shown.add_argument("--json", action="store_true", help="one JSON object per line, for jq")
    shown.add_argument(
        "--color", choices=["auto", "always", "never"], default="auto",
        help="auto (the default): on a terminal, unless NO_COLOR is set",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Returns 0, or 5 where no request got a good answer. Raises Refusal."""
    for name in ("every", "timeout", "max_tokens", "count"):
        value = getattr(args, name)
        if value is not None and value <= 0:
            raise Refusal(f"--{name.replace('_', '-')}: {value:g} is too small; give more than 0")
    if sys.stdout is None:
        raise Refusal("standard output is closed; the watch has no other output")
    stack = _stack(args)
    proxies.refuse(stack, os.environ)
    clock, stop, out = Clock(), Stop(), sys.stdout
    request = Request(
        prompt=PROMPT if args.prompt is None else args.prompt, stream=args.stream, use=Use.WATCH, lane=SCENARIO,
        max_tokens=args.max_tokens,
    ).on(stack)  # fmt: skip
    assert request.max_tokens is not None
    request = replace(request, proper_end=_proper_end(args, request.max_tokens))
    sender = Sender(
        endpoint=Endpoint.of_gateway(stack.gateway), topology=stack, prefix=secrets.token_hex(3), request=request,
        deadlines=Deadlines(min(CONNECT_S, args.timeout), args.timeout, args.timeout, args.timeout), clock=clock,
    )  # fmt: skip
    lineup = Lineup([] if args.url else stack.ranks)
    stop.on_signals()
    watch = Watch(sender, lineup, args.every, args.count, clock, stop, _view(args, out, os.environ))
    try:
        summary = watch.run()
    except OSError as e:
        # At its end the interpreter must not fail on what is still unwritten.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        if e.errno in (errno.EPIPE, errno.EIO):  # the reader has gone: `| head`, a closed terminal
            return EXIT_PASS
        raise Refusal(f"standard output cannot be written: {e.strerror}") from None
    return EXIT_PASS if summary.good else EXIT_UNKNOWN


def _view(args: argparse.Namespace, out: TextIO, environment: Mapping[str, str]) -> View:
    if args.json:
        return Objects(out)
    if hasattr(out, "reconfigure"):  # an encoding without ─ or an answer's characters must not end the watch
        out.reconfigure(errors="replace")
    return Screen(out, coloured(args.color, out, environment), moves(out, environment))


def _proper_end(args: argparse.Namespace, most: int) -> ProperEnd | None:
    """None: as in the topology. `most`: the cap of an answer."""
    if args.witness is not None:
        return AT_CAP if args.witness == "length" else UNKNOWN
    return None if args.prompt is None and most <= ENDS_AT else UNKNOWN


def _stack(args: argparse.Namespace) -> Topology:
    if args.url is not None:
        return _of_url(args)
    if args.api_key_env is not None:
        raise Refusal("--api-key-env is valid only with --url; a topology names its gateway's key itself")
    if args.header:
        raise Refusal("--header is valid only with --url; a topology names its gateway's headers itself")
    if args.max_tokens_field is not None:
        raise Refusal("--max-tokens-field is valid only with --url; a topology sets it itself")
    path = args.topology or UP
    if args.topology is None and not UP.exists():
        raise Refusal(
            "no gateway to watch: give --topology, or --url and --model; or start the embedded stack with make up first"
        )
    stack = topology.read(path)
    if stack.embedded is not None:
        path, stack = UP, _started(stack, path)
    if args.model is not None:
        stack = stack.model_copy(update={"gateway": stack.gateway.model_copy(update={"model": args.model})})
    name = stack.gateway.api_key
    if name and not os.environ.get(name) and path == UP and UP.with_name("keys").exists():
        raise Refusal(
            f"the environment variable {name} is not set; load this stack's key with: . {UP.with_name('keys')}"
        )
    return stack


def _started(embedded: Topology, path: Path) -> Topology:
    """The topology that `make up` wrote for this embedded topology."""
    if not UP.exists():
        raise Refusal(
            f"{path}: its stack is not running; start it with make up TOPOLOGY={path} and watch it from a second terminal"
        )
    found = topology.read(UP)
    if [t.name for t in found.tiers] != [t.name for t in embedded.tiers]:
        raise Refusal(
            f"{path}: another stack is running ({UP}); stop it with make down, then start this one with make up TOPOLOGY={path}"
        )
    return found


def _of_url(args: argparse.Namespace) -> Topology:
    if args.topology is not None:
        raise Refusal("--topology and --url: give one of them; a topology names its gateway's url itself")
    if args.model is None:
        raise Refusal("--url: --model is missing: the model to request, such as vllm-qwen")
    gateway: dict[str, object] = {"url": args.url, "model": args.model, "headers": _headers(args.header)}
    if args.max_tokens_field is not None:
        gateway["max_tokens_field"] = args.max_tokens_field
    if args.api_key_env is not None:
        # The value is not repeated: it may be the key itself.
        if not _NAME.fullmatch(args.api_key_env):
            raise Refusal(
                "--api-key-env: give the name of an environment variable that holds the key, never the key"
            )
        if not os.environ.get(args.api_key_env):
            raise Refusal("--api-key-env: the environment variable of that name is not set; export it first")
        gateway["api_key"] = "${" + args.api_key_env + "}"
    tier = {"name": "first", "match": {"group": args.model}}  # a topology needs one; its name is not shown
    return validate({"gateway": gateway, "tiers": [tier]}, Topology, "--url")


def _headers(given: list[str]) -> dict[str, str]:
    """A value is not repeated in an error: a shell may have substituted the secret for its name."""
    found = {}
    for header in given:
        name, colon, reference = header.partition(":")
        if not colon or not name.strip():
            raise Refusal(
                "--header: write 'NAME: ${VARIABLE}', in single quotes so that the shell does not substitute it"
            )
        if name.strip() in found:
            raise Refusal("--header: a name is given twice")
        found[name.strip()] = reference.strip()
    return found
