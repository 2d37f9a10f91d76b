"""``container.hooks``: programs of the runtime's caller."""

from __future__ import annotations

import sys

from tests.conftest import run_program

# ch-run has the default action for SIGPIPE while it runs hooks.
CODE = """
import signal
from types import SimpleNamespace
from sundog.runtime.container.hooks import run_hook
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
args = [b"sh", b"-c", b"exec <&-; exit 3"]
hook = SimpleNamespace(path=b"/bin/sh", args=args, env=[], timeout=None)
print(run_hook(hook, bytes(1 << 20), b"/"))
print(signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL)
"""


def test_a_hook_that_reads_no_state() -> None:
    done = run_program([sys.executable, "-c", CODE])
    assert done.stdout == "exit status 3\nTrue\n"
