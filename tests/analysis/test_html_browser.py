"""report.html in a real browser: it draws, reacts to the pointer and the keyboard, and sends no network request."""

from contextlib import contextmanager

import pytest

from analysis.__main__ import main
from tests.browser import opened
from tests.synthetic import three_tier

pytestmark = pytest.mark.verify


@contextmanager
def tab(path, width, dark=False):
    scheme = "dark" if dark else "light"
    with opened(f"file://{path}", viewport={"width": width, "height": 900}, color_scheme=scheme) as found:
        found.wait_for_function("document.getElementById('plot')?.dataset.ready === 'yes'")
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    made = three_tier(tmp_path_factory.mktemp("three"))
    assert main(["report", str(made.path), "--quiet"]) == 0
    return made.path / "report" / "report.html"


def test_why_a_run_failed_and_on_which_gateway_is_seen_without_scrolling(tmp_path):
    """Even if every other expectation has its own reason, at 1280×800."""
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
    with tab(made.path / "report" / "report.html", 1280) as t:
        for selector, words in (
            (".reasons .fail", "answers of the cloud were not needed: tier ollama was verified serving all along"),
            (".reasons li:last-child", "overhead: unknown"), (".run", "1.108.7 (9 answers)"),
        ):  # fmt: skip
            assert words in t.evaluate(f"document.querySelector('{selector}').textContent")
            assert (
                0 <= t.evaluate(f"document.querySelector('{selector}').getBoundingClientRect().bottom") <= 800
            )


POINT = """(() => {
  const plot = timeline.plot, set = timeline.sets.find(s => s.kind === "cut");
  plot.scrollIntoView({block: "center", behavior: "instant"});
  const box = plot.querySelector(".xy .bg, .nsewdrag[data-subplot='xy']").getBoundingClientRect(), {xaxis, yaxis} = plot._fullLayout;
  return {x: box.left + xaxis.d2p(set.x[0]), y: box.top + yaxis.d2p(set.y[0]), id: timeline.data.records.id[set.i[0]]};
})()"""


def test_an_answer_that_is_pointed_at_shows_its_record(page):
    with tab(page, 1280) as t:
        point = t.evaluate(POINT)
        t.mouse.move(point["x"] + 4, point["y"])
        t.mouse.move(point["x"], point["y"], steps=4)
        tip = t.locator("#tip")
        tip.wait_for()
        assert point["id"] in tip.text_content()
        assert "outcomecut" in tip.text_content()


def test_the_arrow_keys_go_from_answer_to_answer(page):
    with tab(page, 1280) as t:
        t.evaluate("timeline.plot.focus()")
        seen = []
        for key in ("Home", "ArrowRight", "ArrowRight", "ArrowLeft"):
            t.keyboard.press(key)
            seen.append(t.locator("#record dd").first.text_content())
        assert len(set(seen)) == 3
        assert seen[3] == seen[1]


def test_a_trials_name_shows_it_in_the_timeline(page):
    with tab(page, 1280) as t:
        t.locator("#trials a[data-from]").first.click()
        t.wait_for_function("timeline.plot.layout.xaxis.range[0] > 5")
        start, end = t.evaluate("timeline.plot.layout.xaxis.range")
        assert start < 40 < 150 < end


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_the_page_fits_and_sends_no_network_request(page, width, dark):
    with tab(page, width, dark) as t:
        t.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert t.evaluate("document.documentElement.scrollWidth") <= width
        paper = t.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(22, 23, 24)") == dark
        assert [url for url in t.requested if not url.startswith(("file:", "data:", "blob:"))] == []
        assert t.errors == []
