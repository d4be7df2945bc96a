"""The tests' browser: where it is missing, that is a failure which names the package."""

import pytest

from tests.browser import opened


def test_a_missing_browser_is_a_failure_that_names_the_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"), opened("about:blank"):
        pass
