"""Stands in for systemctl, systemd-run and ssh: keeps its units in a JSON file, logs every call.

What it prints and how it exits was seen on systemd 252.38; the same tests run on a real one (make verify).
Usage: systemd.py FOLDER NAME ARGUMENT…, NAME being which of the three it is called as.
"""

import fcntl
import json
import re
import subprocess
import sys
from pathlib import Path

ABSENT = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "CanFreeze": "yes"}
RUNNING = {"ActiveState": "active", "SubState": "running", "FreezerState": "running", "Result": "success"}


def main(folder: Path, name: str, given: list[str]) -> int:
    with open(folder / "calls.jsonl", "a") as f:
        f.write(json.dumps([name, *given]) + "\n")
    if name == "ssh":
        # What a real one does with it: the other side's shell gets one line, and nothing on its standard input.
        return subprocess.run(["sh", "-c", given[-1]], stdin=subprocess.DEVNULL).returncode
    options = [a for a in given if a.startswith("-")]
    plain = [a for a in given if not a.startswith("-")]
    # One at a time, as a manager does them: what is looked at must not be written back over what another has changed.
    with open(folder / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        units = json.loads((folder / "units.json").read_text())
        code = run(units, options) if name == "systemd-run" else systemctl(units, plain[0], plain[1], options)
        fresh = folder / "units.fresh"
        fresh.write_text(json.dumps(units))
        fresh.rename(folder / "units.json")
    return code


def run(units: dict, options: list[str]) -> int:
    told = dict(o[2:].split("=", 1) for o in options if "=" in o)
    if told["unit"] in units:
        print(
            f"Failed to start transient timer unit: Unit {told['unit']} was already loaded or has a fragment file.",
            file=sys.stderr,
        )
        return 1
    units[told["unit"]] = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "waiting",
        "Description": told.get("description", ""),
    }
    return 0


def systemctl(units: dict, verb: str, name: str, options: list[str]) -> int:
    unit = units.get(name)
    if verb == "show":
        wanted = next(o for o in options if o.startswith("--property=")).partition("=")[2].split(",")
        for key in wanted:
            if key in (unit or ABSENT):
                print(f"{key}={(unit or ABSENT)[key]}")
        return 0
    if unit is None:
        print(f"Failed to {verb} {name}: Unit {name} not loaded.", file=sys.stderr)
        return 5
    if verb in unit.get("refuses", ()):
        print(f"Failed to {verb} {name}: Access denied", file=sys.stderr)
        return 4
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
            print(f"Failed to {verb} unit {name}: Unit is inactive.", file=sys.stderr)
            return 1
        unit["FreezerState"] = "frozen" if verb == "freeze" else "running"
    elif verb == "reset-failed" and unit["ActiveState"] == "failed":
        unit |= {"ActiveState": "inactive", "SubState": "dead"}
    return 0


def later(invocation: str) -> str:
    return re.sub(r"\d+", lambda n: str(int(n[0]) + 1), invocation)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
