"""A signal comes in the middle of a fork."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import sundog

FORKING = """
import os, signal, sys
from sundog.base.kernel.process import fork

os.register_at_fork(**{sys.argv[1]: lambda: os.kill(os.getpid(), signal.SIGINT)})
try:
    child = fork()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        os._exit(0)
if child == 0:
    signal.pause()
_, status = os.waitpid(child, 0)
print("died of", os.WTERMSIG(status), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""
# What has no handlers of Python: the launcher, and processes that it forks.
WITHOUT_HANDLERS = re.compile(r"launcher|emulation/notify|kernel/process\.py")


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("before", "interrupted\n"),
        ("after_in_parent", "interrupted\n"),
        ("after_in_child", "died of 2 set()\n"),
    ],
)
def test_no_handler_raises_in_the_middle(when: str, said: str) -> None:
    """os.fork prints "Exception ignored in", and goes on in a child that was interrupted."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING, when],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_nothing_with_handlers_forks_otherwise() -> None:
    package = Path(sundog.__file__).parent
    found = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "os.fork()" in path.read_text()
        and not path.name.startswith(("ch_run", "sundog_fakeroot"))
    ]
    assert [name for name in found if not WITHOUT_HANDLERS.search(name)] == []
