"""Run commands in a virtual machine for the machine that runs it. Standard library only.

Each line of the port is a JSON object: `id`, `argv`, `env`, `user`, `cwd`, `input`. The answer is a
line with `id`, `status`, `stdout` and `stderr`. Commands run at the same time. Their output is
text; bytes that are no UTF-8 are replaced.
"""

from __future__ import annotations

import json
import pwd
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

# A port of virtio has a name, but only udev makes a device file of that name.
PORTS = Path("/sys/class/virtio-ports")
NAME = "agent"
PATIENCE = 120.0  # seconds


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Run a command to its end."""
    user = pwd.getpwnam(order["user"])
    try:
        done = subprocess.run(
            order["argv"],
            env=order["env"],
            cwd=order["cwd"],
            input=order["input"].encode(),
            capture_output=True,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[user.pw_gid],
            umask=0o022,
            start_new_session=True,
            check=False,
        )
    except OSError as error:
        return {"status": 127, "stdout": "", "stderr": str(error)}
    return {
        "status": done.returncode,
        "stdout": done.stdout.decode(errors="replace"),
        "stderr": done.stderr.decode(errors="replace"),
    }


def serve(port: BinaryIO) -> None:
    """Answer the lines of the port until its other end is closed; send a greeting first."""
    writing = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        rest = json.dumps(message).encode() + b"\n"
        with writing:
            while rest:  # the driver takes 32 KiB at once
                rest = rest[port.write(rest) :]

    def work(order: dict[str, Any]) -> None:
        send({"id": order["id"], **answer(order)})

    send({"id": 0})
    buffer = b""
    while data := port.read(1 << 16):
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            threading.Thread(target=work, args=(json.loads(line),), daemon=True).start()


def find() -> str:
    """Return the name of the port's device; it may appear after the driver."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for port in PORTS.glob("*/name"):
            if port.read_text().strip() == NAME:
                return port.parent.name
        time.sleep(0.1)
    raise SystemExit(f"no port has the name {NAME}: {list(PORTS.glob('*'))}")


def main() -> None:
    """Find the port, and serve."""
    with open(f"/dev/{find()}", "r+b", buffering=0) as stream:
        serve(stream)


if __name__ == "__main__":
    main()
