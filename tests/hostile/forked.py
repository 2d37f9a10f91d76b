"""``ch-image`` again and again from one process that has imported it: one fork for each command.

Reads requests from standard input, one JSON object a line, and answers in the same form.  Attempts
are not paused: pauses are counted, not made.
"""

from __future__ import annotations

import encodings.idna
import json
import os
import signal
import sys
import tempfile
import time
import tomllib
from typing import Any

_SECONDS = 30

pauses: list[float] = []
time.sleep = pauses.append  # type: ignore[assignment]  # before any module imports it

from sundog.front.cli import (  # noqa: E402
    image_command,
    image_login,
    image_pull,
    image_push,
)
from sundog.image.registry import (  # noqa: E402
    download,
    options,
    pull,
    push,
    session,
    transport,
    upload,
)
from sundog.image.store import tree_work  # noqa: E402
from sundog.image.transfer import arrivals, fetch, layers  # noqa: E402

# What the commands import when they need it: here once, not in each fork.
IMPORTED = (
    *(image_login, image_pull, image_push, pull, push, session),
    *(arrivals, download, encodings.idna, fetch, layers, options, tomllib, tree_work),
)


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), file=answers, flush=True)


def _run(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            _become(request, out.fileno(), err.fileno())
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    return {"status": status, "out": texts[0], "err": texts[1]}


def _defaults(kind: Any) -> dict[str, Any]:
    """Return the defaults of a class's arguments, which can be changed."""
    found: dict[str, Any] = kind.__init__.__kwdefaults__
    return found


def _become(request: dict[str, Any], out: int, err: int) -> None:
    """Run the command in this process, and end."""
    status = 70
    try:
        signal.alarm(_SECONDS)
        os.dup2(out, 1)
        os.dup2(err, 2)
        null = os.open(request["input"] or os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        os.environ.clear()
        os.environ.update(request["env"])
        if seconds := request["read_seconds"]:
            transport.READ_SECONDS = seconds
        if chunk := request["chunk"]:
            _defaults(upload.Uploader)["chunk"] = chunk
        status = image_command.run(request["argv"])
        if any(pause > 60 for pause in pauses):
            print("a pause of more than a minute", file=sys.stderr)
            status = 71
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
