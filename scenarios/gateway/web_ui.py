"""Locust's web UI as a run needs it: Start is checked before it is taken, and the page shows the state of the run.

The page of Locust polls only while the state is "spawning" or "running"; after any other state it shows nothing new
until it is reloaded. So a run that is being opened is "spawning" here, and one that is being closed is "running".
"""

import argparse
from pathlib import Path
from typing import Any, Protocol

from flask import Response, jsonify, request
from locust.argument_parser import ui_extra_args_dict
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING
from locust.util.timespan import parse_timespan
from werkzeug.datastructures import ImmutableMultiDict

from contract.refusal import Refusal

BANNER = Path(__file__).with_name("banner.html").read_bytes()
"""What shows the notice of `/stats/requests`, for which the page itself has no place."""
USERS, SPAWN_RATE, HOST, RUN_TIME, PROFILE = "user_count", "spawn_rate", "host", "run_time", "profile"


class Runs(Protocol):
    """What the page starts, stops and shows."""

    notice: str | None  # shown in the page: why there is no run, or why an edit was refused

    def state(self) -> str:
        """One of Locust's states of a runner."""

    def users(self) -> int:
        """How many the form proposes."""

    def is_on(self) -> bool:
        """A run is open, and not being closed: what is posted is an edit of it. Raises Refusal where neither a start
        nor an edit can be taken now."""

    def check_start(self, options: argparse.Namespace, users: int) -> int:
        """Read and check all inputs; how many users Locust begins with. Raises Refusal."""

    def check_edit(self) -> None:
        """Raises Refusal where a shape sets the number of users."""

    def take_start(self) -> None:
        """Locust starts what was checked last."""

    def drop_start(self) -> None:
        """The checked start is not taken."""


class Page:
    """Puts itself between Locust's web UI and its runner."""

    def __init__(self, environment: Environment, runs: Runs) -> None:
        self._environment, self._runs, self._web_ui = environment, runs, environment.web_ui
        self._shown = set(ui_extra_args_dict())
        views = self._web_ui.app.view_functions
        self._swarm, self._update = views["locust.swarm"], self._web_ui.update_template_args
        views["locust.swarm"] = self._web_ui.auth_required_if_enabled(self._post)
        self._web_ui.update_template_args = self._update_template_args
        self._web_ui.app.after_request(self._complete)
        # Fields in the order of their declaration.
        self._web_ui.app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}

    def _update_template_args(self) -> None:
        self._update()
        self._web_ui.template_args |= {"state": self._runs.state(), "num_users": self._runs.users()}

    def _complete(self, answer: Response) -> Response:
        """Adds state and notice as they are now: Locust keeps an answer of /stats/requests for two seconds."""
        if request.endpoint == "locust.request_stats" and answer.is_json:
            stats = answer.get_json() | {"state": self._runs.state(), "notice": self._runs.notice}
            return jsonify(stats)
        if request.endpoint == "locust.index" and answer.status_code == 200:
            answer.set_data(answer.get_data().replace(b"</head>", BANNER + b"</head>"))
        return answer

    def _post(self) -> Any:
        """POST /swarm: the form's Start, and Update of the dialog that edits a run."""
        try:
            return self._edit() if self._runs.is_on() else self._start()
        except Refusal as e:
            # The dialog of an edit closes whatever the answer is.
            if self._runs.state() in (STATE_SPAWNING, STATE_RUNNING):
                self._runs.notice = str(e)
            return jsonify({"success": False, "message": str(e), "host": self._environment.host})

    def _start(self) -> Any:
        options = self._environment.parsed_options
        chosen = self._chosen()
        self._runs.notice = None
        try:
            users = whole(request.form.get(USERS, ""), "users")
            begin_with = self._runs.check_start(argparse.Namespace(**vars(options) | chosen), users)
        except BaseException:
            self._runs.drop_start()
            raise
        before = dict(vars(options))
        vars(options).update(chosen | {"run_time": None})
        plain = {SPAWN_RATE, RUN_TIME} & set(request.form)
        answer = self._locusts({USERS: str(begin_with)} | {name: request.form[name] for name in plain})
        if answer.get_json()["success"]:
            self._runs.take_start()
        else:
            vars(options).update(before)
            self._runs.drop_start()
        return answer

    def _edit(self) -> Any:
        options = vars(self._environment.parsed_options)
        for name, value in self._chosen().items():
            if value != options[name]:
                raise Refusal(f"{option(name)}: cannot be changed during a run; stop it and start another")
        if request.form.get(RUN_TIME):
            raise Refusal("run time: cannot be changed during a run; stop it and start another")
        self._runs.check_edit()
        # Locust cancels the run time at each edit.
        limit, self._web_ui._run_time_greenlet = self._web_ui._run_time_greenlet, None
        answer = self._locusts({n: request.form[n] for n in (USERS, SPAWN_RATE) if n in request.form})
        self._web_ui._run_time_greenlet = limit
        said = answer.get_json()
        self._runs.notice = None if said["success"] else said["message"]
        return answer

    def _locusts(self, form: dict[str, str]) -> Response:
        """What Locust's own view answers to this form."""
        request.form = ImmutableMultiDict(form)
        return self._swarm()

    def _chosen(self) -> dict[str, Any]:
        """The options in the posted form, by name. Raises Refusal where something is posted that would do nothing."""
        options, found = vars(self._environment.parsed_options), {}
        for name, text in request.form.items():
            if name in self._shown:
                found[name] = typed(name, text, options[name])
            elif name == HOST:
                if text.strip().rstrip("/") not in ("", str(self._environment.host).rstrip("/")):
                    raise Refusal(
                        f"host: is the gateway's url in the topology, {self._environment.host}; leave it as it is"
                    )
            elif name == PROFILE:
                if text:
                    raise Refusal("profile: is not used; leave it empty")
            elif name == RUN_TIME:
                _span(text)
            elif name not in (USERS, SPAWN_RATE) and text != str(options.get(name)):
                raise Refusal(f"{option(name)}: is given on the command line; it cannot be changed here")
        return found


def option(name: str) -> str:
    """As it is written on the command line."""
    return f"--{name.replace('_', '-')}"


def whole(text: str, what: str) -> int:
    """A whole number above 0. Raises Refusal."""
    try:
        value = int(text)
    except ValueError:
        raise Refusal(f"{what}: {text!r} is not a whole number") from None
    if value < 1:
        raise Refusal(f"{what}: {value} makes no load; give 1 or more")
    return value


def typed(name: str, text: str, like: object) -> Any:
    """The text of a field as a value of the same type. Raises Refusal."""
    if isinstance(like, bool):
        return text == "true"
    kind = type(like)
    if kind not in (int, float):
        return text
    try:
        return kind(text)
    except ValueError:
        raise Refusal(f"{option(name)}: {text!r} is not a {'whole ' * (kind is int)}number") from None


def _span(text: str) -> None:
    try:
        if text:
            parse_timespan(text)
    except ValueError:
        raise Refusal(f"run time: {text!r} is not a duration; write it like 90s, 3m or 1h20m") from None
