"""A double of systemctl, systemd-run and ssh: keeps its units in a JSON file, logs every call.

What it prints and how it exits was seen on systemd 252.38; the same tests run on a real one (make verify).
Usage: systemd.py FOLDER NAME ARGUMENT…, NAME being which of the three it is called as.
"""

import fcntl
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ABSENT = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "CanFreeze": "yes"}
RUNNING = {"ActiveState": "active", "SubState": "running", "FreezerState": "running", "Result": "success"}


class Answer(NamedTuple):
    """The result of a command."""

    code: int = 0
    out: str = ""
    err: str = ""


def main(folder: Path, name: str, given: list[str]) -> int:
    if name == "ssh":
        log(folder, name, given)
        # As a real ssh: the remote shell gets one line, and an empty standard input.
        return subprocess.run(["sh", "-c", given[-1]], stdin=subprocess.DEVNULL).returncode
    found = answer(folder, name, given)
    print(found.out, end="")
    print(found.err, end="", file=sys.stderr)
    return found.code


def log(folder: Path, name: str, given: list[str]) -> None:
    with open(folder / "calls.jsonl", "a") as f:
        f.write(json.dumps([name, *given]) + "\n")


def answer(folder: Path, name: str, given: list[str]) -> Answer:
    """Of systemctl or systemd-run, also for tests that start no process for it."""
    log(folder, name, given)
    options = [a for a in given if a.startswith("-")]
    plain = [a for a in given if not a.startswith("-")]
    # One at a time, as a manager does: a call must not overwrite another call's changes.
    with open(folder / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        units = json.loads((folder / "units.json").read_text())
        found = (
            run(units, options) if name == "systemd-run" else systemctl(units, plain[0], plain[1], options)
        )
        fresh = folder / "units.fresh"
        fresh.write_text(json.dumps(units))
        fresh.rename(folder / "units.json")
    return found


def run(units: dict, options: list[str]) -> Answer:
    given = dict(o[2:].split("=", 1) for o in options if "=" in o)
    if given["unit"] in units:
        return failed(
            f"Failed to start transient timer unit: Unit {given['unit']} was already loaded or has a fragment file."
        )
    units[given["unit"]] = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "waiting",
        "Description": given.get("description", ""),
    }
    return Answer()


def systemctl(units: dict, verb: str, name: str, options: list[str]) -> Answer:
    unit = units.get(name)
    if verb == "show":
        names = next(o for o in options if o.startswith("--property=")).partition("=")[2].split(",")
        known = unit or ABSENT
        return Answer(out="".join(f"{key}={known[key]}\n" for key in names if key in known))
    if unit is None:
        return failed(f"Failed to {verb} {name}: Unit {name} not loaded.", 5)
    if verb in unit.get("refuses", ()):
        return failed(f"Failed to {verb} {name}: Access denied", 4)
    if verb == "stop":
        if name.endswith(".timer"):
            del units[name]  # a transient one is forgotten
        else:
            unit |= {"ActiveState": "inactive", "SubState": "dead", "FreezerState": "running"}
    elif verb == "start" and unit["ActiveState"] != "active":
        unit |= RUNNING | {"InvocationID": later(unit["InvocationID"])}
        if unit.get("broken"):
            unit |= {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"}
    elif verb == "restart":
        unit |= RUNNING | {"InvocationID": later(unit["InvocationID"])}
    elif verb == "kill":
        unit |= {"ActiveState": "failed", "SubState": "failed", "Result": "signal"}
        if unit["Restart"] == "always":
            unit |= RUNNING | {"InvocationID": later(unit["InvocationID"])}
    elif verb in ("freeze", "thaw"):
        if unit["ActiveState"] != "active":
            return failed(f"Failed to {verb} unit {name}: Unit is inactive.")
        unit["FreezerState"] = "frozen" if verb == "freeze" else "running"
    elif verb == "reset-failed" and unit["ActiveState"] == "failed":
        unit |= {"ActiveState": "inactive", "SubState": "dead"}
    return Answer()


def failed(words: str, code: int = 1) -> Answer:
    return Answer(code, err=words + "\n")


def later(invocation: str) -> str:
    return re.sub(r"\d+", lambda n: str(int(n[0]) + 1), invocation)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
