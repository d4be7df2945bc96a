"""report.html in a real browser: it draws, answers to the pointer and to the keyboard, asks the network for nothing."""

import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager

import pytest
import websocket

from analysis.__main__ import main
from tests.synthetic import three_tier

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.verify,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]
OPTIONS = (
    "--headless", "--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-quic", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip


class Tab:
    """One page over the DevTools protocol. `events`: what the browser told meanwhile."""

    def __init__(self, url):
        self.socket = websocket.create_connection(url, timeout=60)
        self.events, self.number = [], 0

    def call(self, method, **given):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": given}))
        while True:
            told = json.loads(self.socket.recv())
            if told.get("id") == self.number:
                return told["result"]
            self.events.append(told)

    def js(self, text):
        told = self.call("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait(self, text):
        until = time.monotonic() + 60
        while not self.js(text):
            assert time.monotonic() < until, text
            time.sleep(0.05)

    def told(self, method):
        return [e["params"] for e in self.events if e["method"] == method]


@contextmanager
def tab(page, folder, width, dark=False):
    browser = subprocess.Popen(
        [CHROMIUM, *OPTIONS, f"--user-data-dir={folder}", f"--window-size={width},900", "about:blank"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = next(x for x in browser.stderr if "DevTools listening on" in x)
        port = line.split("://")[1].split("/")[0].rsplit(":", 1)[1]
        tabs = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        opened = Tab(next(t["webSocketDebuggerUrl"] for t in tabs if t["type"] == "page"))
        for domain in ("Page", "Runtime", "Network", "Log"):
            opened.call(f"{domain}.enable")
        opened.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        if dark:
            opened.call(
                "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
            )
        opened.call("Page.navigate", url=f"file://{page}")
        opened.wait("document.getElementById('plot')?.dataset.ready === 'yes'")
        yield opened
    finally:
        browser.terminate()
        browser.wait()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    made = three_tier(tmp_path_factory.mktemp("three"))
    assert main(["report", str(made.path), "--quiet"]) == 0
    return made.path / "report" / "report.html"


def test_why_a_run_failed_and_on_which_gateway_is_seen_without_scrolling(tmp_path):
    """Even where every other expectation has a reason of its own, at 1280×800."""
    expect = {
        "cloud_only_in_need": {"id": "NFR68"},
        "overhead": {"max_ms": 100},
        "cuts": {"max_per_trial": 0},
        "recovery": {"max_s": 0.01},
    }
    made = three_tier(
        tmp_path, shunned=[("ollama", 48, 88)], gateway={"1.106.2": 1, "1.108.7": 9}, pairs=2, expect=expect
    )
    assert main(["report", str(made.path), "--quiet"]) == 1
    with tab(made.path / "report" / "report.html", tmp_path / "browser", 1280) as t:
        for selector, words in (
            (".reasons .fail", "answers of the cloud were not needed: tier ollama was verified serving all along"),
            (".reasons li:last-child", "overhead: unknown"), (".run", "1.108.7 (9 answers)"),
        ):  # fmt: skip
            assert words in t.js(f"document.querySelector('{selector}').textContent")
            assert 0 <= t.js(f"document.querySelector('{selector}').getBoundingClientRect().bottom") <= 800


POINT = """(() => {
  const plot = timeline.plot, set = timeline.sets.find(s => s.kind === "cut");
  plot.scrollIntoView({block: "center", behavior: "instant"});
  const box = plot.querySelector(".xy .bg, .nsewdrag[data-subplot='xy']").getBoundingClientRect(), {xaxis, yaxis} = plot._fullLayout;
  return {x: box.left + xaxis.d2p(set.x[0]), y: box.top + yaxis.d2p(set.y[0]), id: timeline.data.records.id[set.i[0]]};
})()"""


def test_an_answer_that_is_pointed_at_shows_its_record(page, tmp_path):
    with tab(page, tmp_path, 1280) as t:
        point = t.js(POINT)
        for step in (4, 0):
            t.call("Input.dispatchMouseEvent", type="mouseMoved", x=point["x"] + step, y=point["y"])
            time.sleep(0.1)
        t.wait("!document.getElementById('tip').hidden")
        assert point["id"] in t.js("document.getElementById('tip').textContent")
        assert "outcomecut" in t.js("document.getElementById('tip').textContent")


def test_the_keyboard_walks_from_answer_to_answer(page, tmp_path):
    with tab(page, tmp_path, 1280) as t:
        t.js("timeline.plot.focus()")
        seen = []
        for key in ("Home", "ArrowRight", "ArrowRight", "ArrowLeft"):
            t.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key)
            seen.append(t.js("document.querySelector('#record dd').textContent"))
        assert len(set(seen)) == 3
        assert seen[3] == seen[1]


def test_a_trials_name_shows_it_in_the_timeline(page, tmp_path):
    with tab(page, tmp_path, 1280) as t:
        t.js("document.querySelector('#trials a[data-from]').click()")
        t.wait("timeline.plot.layout.xaxis.range[0] > 5")
        start, end = t.js("timeline.plot.layout.xaxis.range")
        assert start < 40 < 150 < end


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_the_page_fits_and_asks_the_network_for_nothing(page, tmp_path, width, dark):
    with tab(page, tmp_path, width, dark) as t:
        t.js("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert t.js("document.documentElement.scrollWidth") <= width
        paper = t.js("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(22, 23, 24)") == dark
        asked = [r["request"]["url"] for r in t.told("Network.requestWillBeSent")]
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
        assert t.told("Runtime.exceptionThrown") == []
        assert [e for e in t.told("Log.entryAdded") if e["entry"]["level"] == "error"] == []
