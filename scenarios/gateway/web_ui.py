"""Adapts Locust's web UI: a start is checked before it is accepted, and the page shows the state of the run.

Locust's page polls only while the state is "spawning" or "running"; in any other state it is not updated until it is
reloaded. So a run that is opening is shown as "spawning", and one that is closing as "running".
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
from scenarios.gateway.web_access import Access, Guarded

BANNER = Path(__file__).with_name("banner.html").read_bytes()
"""Shows the notice of `/stats/requests`, which Locust's page does not display."""
FORM_MOST = 1024 * 1024  # bytes
USERS, SPAWN_RATE, HOST, RUN_TIME, PROFILE = "user_count", "spawn_rate", "host", "run_time", "profile"
_NUMBERS = (USERS, SPAWN_RATE)
_NAME_MOST = 80


class Runs(Protocol):
    """The runs that the page starts, stops and shows."""

    notice: str | None  # shown in the page: why a start failed or an edit was refused

    def state(self) -> str:
        """A runner state of Locust."""

    def users(self) -> int:
        """The default number of users in the form."""

    def is_on(self) -> bool:
        """Whether a run is open and not closing, so that a posted form is an edit. Raises Refusal if neither a start nor an
        edit is possible now."""

    def check_start(self, options: argparse.Namespace, users: int) -> int:
        """Read and check all inputs. Returns the initial number of users. Raises Refusal, also while another run is opened,
        open or closed."""

    def cancel_check(self) -> None:
        """The start that is being checked, if there is one, will be refused."""

    def check_edit(self) -> None:
        """Raises Refusal if a shape sets the number of users."""

    def take_start(self) -> None:
        """Locust starts the run that was checked last."""

    def drop_start(self) -> None:
        """The checked start is discarded."""


class Page:
    """Wraps Locust's web UI."""

    def __init__(self, environment: Environment, runs: Runs) -> None:
        self._environment, self._runs, self._web_ui = environment, runs, environment.web_ui
        self._shown = set(ui_extra_args_dict())
        app, options = self._web_ui.app, environment.parsed_options
        app.wsgi_app = Guarded(app.wsgi_app, Access(self._web_ui.host, options.web_origin))
        app.config["MAX_CONTENT_LENGTH"] = FORM_MOST
        views = app.view_functions
        self._swarm, self._update = views["locust.swarm"], self._web_ui.update_template_args
        views["locust.swarm"] = self._web_ui.auth_required_if_enabled(self._post)
        self._stop, views["locust.stop"] = (
            views["locust.stop"],
            self._web_ui.auth_required_if_enabled(self._post_stop),
        )
        views["locust.update_user"] = _refuse_user
        self._web_ui.update_template_args = self._update_template_args
        app.after_request(self._complete)
        # Fields in the order of their declaration.
        app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}

    def _update_template_args(self) -> None:
        self._update()
        self._web_ui.template_args |= {"state": self._runs.state(), "num_users": self._runs.users()}

    def _complete(self, answer: Response) -> Response:
        """Add the current state and notice: Locust caches the answer of /stats/requests for two seconds."""
        if request.endpoint == "locust.request_stats" and answer.is_json:
            stats = answer.get_json() | {"state": self._runs.state(), "notice": self._runs.notice}
            return jsonify(stats)
        if request.endpoint == "locust.index" and answer.status_code == 200:
            answer.set_data(answer.get_data().replace(b"</head>", BANNER + b"</head>"))
        return answer

    def _post(self) -> Any:
        """POST /swarm: Start in the form, and Update in the edit dialog."""
        try:
            # The whole form is read first: while its bytes are awaited, other requests are processed.
            chosen = self._chosen()
            return self._edit(chosen) if self._runs.is_on() else self._start(chosen)
        except Refusal as e:
            # The edit dialog closes whatever the answer is, so the page shows the refusal as a notice.
            if self._runs.state() in (STATE_SPAWNING, STATE_RUNNING):
                self._runs.notice = str(e)
            return jsonify({"success": False, "message": str(e), "host": self._environment.host})

    def _post_stop(self) -> Any:
        """POST /stop. Locust does not know of a start that is being checked, and would begin it later."""
        self._runs.cancel_check()
        return self._stop()

    def _start(self, chosen: dict[str, Any]) -> Any:
        options = self._environment.parsed_options
        users = whole(request.form.get(USERS, ""), "users")
        self._runs.notice = None
        begin_with = self._runs.check_start(argparse.Namespace(**vars(options) | chosen), users)
        before, taken = dict(vars(options)), False
        vars(options).update(chosen | {"run_time": None})
        plain = {SPAWN_RATE, RUN_TIME} & set(request.form)
        try:
            answer = self._locusts({USERS: str(begin_with)} | {name: request.form[name] for name in plain})
            taken = answer.get_json()["success"]
        finally:
            if not taken:
                vars(options).update(before)
                self._runs.drop_start()
        if taken:
            self._runs.take_start()
        return answer

    def _edit(self, chosen: dict[str, Any]) -> Any:
        options = vars(self._environment.parsed_options)
        for name, value in chosen.items():
            if value != options[name]:
                raise Refusal(f"{option(name)}: cannot be changed during a run; stop it and start another")
        if request.form.get(RUN_TIME):
            raise Refusal("run time: cannot be changed during a run; stop it and start another")
        self._runs.check_edit()
        # Locust cancels the run time at each edit.
        limit, self._web_ui._run_time_greenlet = self._web_ui._run_time_greenlet, None
        answer = self._locusts({n: request.form[n] for n in (USERS, SPAWN_RATE) if n in request.form})
        self._web_ui._run_time_greenlet = limit
        body = answer.get_json()
        self._runs.notice = None if body["success"] else body["message"]
        return answer

    def _locusts(self, form: dict[str, str]) -> Response:
        """The response of Locust's own view to this form."""
        request.form = ImmutableMultiDict(form)
        return self._swarm()

    def _chosen(self) -> dict[str, Any]:
        """The options in the posted form, by name. Raises Refusal for a field that would have no effect."""
        options, found = vars(self._environment.parsed_options), {}
        for name, texts in request.form.lists():
            text = texts[0]
            if len(texts) > 1:
                raise Refusal(f"{name[:_NAME_MOST]!r}: is given {len(texts)} times; give it once")
            if name in self._shown:
                found[name] = typed(name, text, options[name])
            elif name == HOST:
                if text.strip().rstrip("/") not in ("", str(self._environment.host).rstrip("/")):
                    raise Refusal(
                        f"host: the topology sets the gateway's url, {self._environment.host}; do not change it"
                    )
            elif name == PROFILE:
                if text:
                    raise Refusal("profile: is not used; leave it empty")
            elif name == RUN_TIME:
                _span(text)
            elif name in options and name not in _NUMBERS:
                raise Refusal(f"{option(name)}: is set on the command line and cannot be changed here")
            elif name not in _NUMBERS:
                raise Refusal(f"{name[:_NAME_MOST]!r}: is not a field of the form; remove it")
        return found


def _refuse_user() -> Any:
    """POST /user: Locust's class picker, which changes user classes in place, is not used."""
    why = "refused: user classes cannot be changed here; choose scenarios in the form\n"
    return Response(why, status=403, mimetype="text/plain")


def option(name: str) -> str:
    """The option's name on the command line."""
    return f"--{name.replace('_', '-')}"


def whole(text: str, what: str) -> int:
    """A whole number above 0. Raises Refusal."""
    try:
        value = int(text)
    except ValueError:
        raise Refusal(f"{what}: {text!r} is not a whole number") from None
    if value < 1:
        raise Refusal(f"{what}: {value} gives no load; give 1 or more")
    return value


def typed(name: str, text: str, like: object) -> Any:
    """The text of a field, converted to the type of `like`. Raises Refusal."""
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
