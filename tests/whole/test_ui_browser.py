"""The web UI in a real browser: after Start the page shows the run and changes without a reload."""

import http.server
import re
import threading
from contextlib import contextmanager

import pytest

from contract.run import read_arrow
from contract.schemas import REQUESTS
from tests.browser import opened
from tests.chaos.stand import until
from tests.scenarios.server import Server
from tests.whole.stack import SHORT, latest
from tests.whole.test_ui import ANSWERS
from tests.whole.ui import Ui

pytestmark = pytest.mark.verify
STATUS = "xpath=//*[text()='Status']/following-sibling::*"


def shows(page, state, within_s=90):
    page.locator(STATUS, has_text=re.compile(f"^{state}$", re.I)).wait_for(timeout=within_s * 1000)


def custom(page, name, value):
    field = page.locator(f"input[name={name}]")
    if not field.is_visible():
        page.get_by_text("Custom parameters").click()
    field.fill(str(value))


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def aggregated(page):
    """The cell "# Requests" of the last row of the page."""
    cells = page.locator("tr", has_text="Aggregated").locator("td")
    return int(cells.nth(2).text_content()) if cells.count() else 0


@pytest.mark.timeout(500)
def test_start_shows_the_run_which_moves_to_its_stop_and_the_next_is_as_the_form_says(stack, tmp_path):
    (tmp_path / "short.yaml").write_text(SHORT)
    with Ui(stack.path, tmp_path / "short.yaml", tmp_path / "results") as ui, opened(ui.url) as page:
        shows(page, "ready")
        assert "no host attribute" not in page.locator("body").text_content()
        press(page, "Start")
        shows(page, "spawning")
        shows(page, "running")
        seen = until(lambda: aggregated(page), "the page counts requests", 60)
        until(lambda: aggregated(page) > seen, "the numbers move", 60)
        press(page, "Edit")
        custom(page, "seed", 7)
        press(page, "Update")
        page.get_by_role("alert").get_by_text("--seed: cannot be changed during a run").wait_for()
        page.reload()
        shows(page, "running")
        press(page, "Stop")
        shows(page, "stopped")
        first = latest(ui.results)

        stack.calm()
        press(page, "New")
        custom(page, "scenarios", "direct")
        press(page, "Start")
        shows(page, "running")
        until(lambda: aggregated(page), "the page counts requests", 60)
        # No button is pressed: the timeline ends it.
        shows(page, "stopped", 120)
        second = latest(ui.results)
        assert second != first
        assert ui.manifest()["arguments"]["scenarios"] == "direct"
        assert ui.manifest()["status"] == "finished"
        sent = [
            r for r in read_arrow(second / "requests.arrow", REQUESTS)[0].to_pylist() if r["lane"] != "warmup"
        ]
        assert {r["scenario"] for r in sent} == {"direct"}
        assert aggregated(page) == len(sent)
        assert page.errors == []


def test_a_refusal_is_shown_in_the_page(tmp_path, topology):
    (tmp_path / "t.yaml").write_text(SHORT)
    with (
        Server([ANSWERS]) as server,
        Ui(topology(server.port), tmp_path / "t.yaml", tmp_path / "results") as ui,
        opened(ui.url) as page,
    ):
        custom(page, "timeline", "/no/such.yaml")
        press(page, "Start")
        page.get_by_role("alert").get_by_text("/no/such.yaml: cannot be read").wait_for()
        custom(page, "timeline", tmp_path / "t.yaml")
        press(page, "Start")
        page.get_by_role("alert").get_by_text("kubeconfig /none: cannot be used").wait_for()
        shows(page, "ready")


ATTACK = """
<form method=post action="{url}/swarm" target=there>
  <input name=user_count value=6><input name=spawn_rate value=6><input name=without_reaper value=true>
</form>
<iframe name=there></iframe><iframe src="{url}/"></iframe><img src="{url}/assets/favicon-dark.png">
<script>
  const form = new URLSearchParams({{user_count: 6, spawn_rate: 6}});
  const tried = async (path, given) => {{
    try {{ const answer = await fetch("{url}" + path, given); return answer.type + answer.status; }} catch (e) {{ return "refused"; }}
  }};
  document.forms[0].submit();
  (async () => {{
    document.title = [
      await tried("/swarm", {{method: "POST", body: form, mode: "no-cors"}}),
      await tried("/swarm", {{method: "POST", body: form}}),
      await tried("/stop", {{method: "POST", mode: "no-cors", referrerPolicy: "no-referrer"}}),
      await tried("/stats/reset", {{method: "POST", headers: {{"x-a": "b"}}}}),
      await tried("/stats/requests"), await tried("/logs"),
    ].join(" ");
  }})();
</script>
"""


@contextmanager
def site(page):
    """A site on another port of this machine, which has one page; its url."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *given):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_page_of_another_site_in_the_same_browser_starts_nothing_and_reads_nothing(tmp_path, topology):
    (tmp_path / "t.yaml").write_text(SHORT)
    with (
        Server([ANSWERS]) as server,
        Ui(topology(server.port), tmp_path / "t.yaml", tmp_path / "results") as ui,
        site(ATTACK.format(url=ui.url)) as evil,
        opened(evil) as page,
    ):
        page.wait_for_function("document.title.split(' ').length == 6")
        _, _, _, *read = page.title().split()
        assert read == ["refused"] * 3
        assert "opaque200" not in page.title()
        until(lambda: any("403" in error for error in page.errors), "the form was refused")
        assert all(frame.locator("button").count() == 0 for frame in page.frames[1:])
        assert (ui.stats()["state"], ui.stats()["notice"], ui.runs()) == ("ready", None, [])
