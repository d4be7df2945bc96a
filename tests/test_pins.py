"""Every pinned package is available as a wheel for each Python and machine that the README names."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64")


@pytest.mark.verify  # it queries the package registry
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("pins", sorted(p.name for p in ROOT.glob("requirements*.txt")))
def test_an_environment_installs_without_a_compiler(pins, python, machine):
    command = [
        ".venv/bin/uv", "pip", "compile", "--quiet", "--only-binary", ":all:", "--python-version", python,
        "--python-platform", f"{machine}-unknown-linux-gnu", "--output-file", "/dev/null", pins,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
