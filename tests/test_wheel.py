"""The wheel: one package, whatever the names of the repository's folders."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Names of the files in the wheel."""
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = out.iterdir()
    return set(zipfile.ZipFile(wheel).namelist())


def test_a_wheel_has_one_package_and_no_other_top_level_name(names):
    assert {name.split("/")[0] for name in names} == {"brownout", "brownout-0.dev0.dist-info"}


@pytest.mark.parametrize(
    "name",
    [
        "locustfile.py", "chaos/kube/cluster.py", "chaos/timelines/three_tier.yaml", "analysis/notebooks/compare.ipynb",
        "analysis/html/page.html.j2", "scenarios/gateway/banner.html", "topologies/embedded.yaml", "embedded/engine/__main__.py",
    ],
)  # fmt: skip
def test_what_a_run_reads_is_in_it(names, name):
    assert f"brownout/{name}" in names


def test_no_test_and_no_result_is_in_it(names):
    assert not [name for name in names if name.split("/")[1] in ("tests", "results", "docs", "benchmarks")]
