"""Record what the programs of the Container Device Interface make of the cases in ``cases.py``.

    python -m tests.runtime.cdi.oracle.record VERSION PROGRAM

PROGRAM is ``main.go``, compiled with the CDI package of that version.  For 0.8.0, with Debian's
packages golang-go and golang-tags.cncf-container-device-interface-dev:

    GO111MODULE=off GOPATH=/usr/share/gocode go build -o PROGRAM tests/runtime/cdi/oracle/main.go

For a newer version, in a checkout of it: put ``main.go`` into a new directory below ``cmd``.

The answers are kept in files beside this one, because the compilation takes 20 s of CPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.runtime.cdi.cases import joint_cases, judged_files

HERE = Path(__file__).parent


def main(version: str, program: str) -> None:
    """Ask the program about all cases, and write its answers."""
    judged = judged_files()
    joint = joint_cases()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        groups = {}
        for group, files in judged.items():
            asked = [
                request(root / group.replace("/", "") / str(number), {"1": {name: text}}, [])
                for number, (name, text) in enumerate(files)
            ]
            groups[group] = "".join("01"[bool(answer["Devices"])] for answer in ask(program, asked))
        asked = [
            request(root / f"joint{number}", case["files"], case["devices"])
            for number, case in enumerate(joint)
        ]
        answers = [tidy(answer) for answer in ask(program, asked)]
    write("joint", joint)
    write(f"joint-{version}", answers)
    write(f"usable-{version}", groups)


def write(name: str, value: object) -> None:
    """Write a file beside this one."""
    text = json.dumps(value, indent=0, ensure_ascii=False, sort_keys=True)
    (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def request(place: Path, files: dict[str, dict[str, str]], devices: list[str]) -> dict[str, Any]:
    """Write the files of a case; return the request about them."""
    for directory, texts in files.items():
        (place / directory).mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (place / directory / name).write_text(text, encoding="utf-8")
    return {"Directories": [str(place / "1"), str(place / "2")], "Devices": devices}


def ask(program: str, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the program's answers."""
    lines = "".join(json.dumps(asked) + "\n" for asked in requests)
    done = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def tidy(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without the directory of its case, and without what is always the same."""
    errors = sorted("/".join(Path(path).parts[-2:]) for path in answer["Errors"] or ())
    tidied = {"devices": answer["Devices"] or [], "errors": errors}
    edited = answer["Edited"]
    if edited is None:
        return tidied
    process, linux = edited.get("process", {}), edited.get("linux", {})
    return tidied | {
        "env": process.get("env", []),
        "deviceNodes": [[node["path"], node["minor"]] for node in linux.get("devices", [])],
        "mounts": [[mount["destination"], mount["source"]] for mount in edited.get("mounts", [])],
        "hooks": {
            name: [hook["args"][0] for hook in hooks]
            for name, hooks in edited.get("hooks", {}).items()
        },
        "additionalGids": process.get("user", {}).get("additionalGids", []),
        "intelRdt": linux.get("intelRdt", {}).get("closID", ""),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
