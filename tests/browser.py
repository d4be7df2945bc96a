"""A real browser for the tests: Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip


@contextmanager
def opened(url: str, **context: Any) -> Iterator[Any]:
    """A Playwright page at this address. `context`: as `Browser.new_context` takes it.

    Without a browser the test fails: it must not be skipped unnoticed. `page.requested`: the addresses that it requested;
    `page.errors`: errors of its console and its scripts.
    """
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("there is no chromium on this machine; apt-get install chromium")
    from playwright.sync_api import sync_playwright  # imported here: only tests with a browser need it

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        try:
            page = browser.new_context(**context).new_page()
            page.set_default_timeout(60_000)
            requested: list[str] = []
            errors: list[str] = []
            page.on("request", lambda request: requested.append(request.url))
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
            page.goto(url)
            known: Any = page  # Playwright's own class has no place for them
            known.requested, known.errors = requested, errors
            yield known
        finally:
            browser.close()
