"""The identity of a process, and whether /proc shows it."""

import os
import subprocess
import sys

from sundog.base.kernel.living_process import is_hidden


def test_a_process_that_is_shown_or_dead_is_not_hidden() -> None:
    assert not is_hidden(os.getpid())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not is_hidden(ended.pid)
    assert not is_hidden(1 << 40)


def test_a_process_that_proc_does_not_show() -> None:
    """Without /proc, this process shows none."""
    module = "sundog.base.kernel.living_process"
    program = f"from {module} import is_hidden; print(is_hidden(1), is_hidden(99))"
    words = ["unshare", "--map-root-user", "--mount", "--pid", "--fork", "sh", "-c"]
    script = 'mount -t tmpfs none /proc && "$0" -c "$1"; exit $?'
    done = subprocess.run(
        [*words, script, sys.executable, program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True False\n", done.stderr
