"""Commands of Sundog without their start: forks of one process that has imported them.

More than half of a short command's work is to start an interpreter and to import modules, and tests
run thousands of short commands.  A fork has the arguments, the environment, the directory, the
umask and the output of its own; then it is the command's entry point.  The process imports all that
these commands import at any time, and has one thread.  What starts do is tested with starts: those
of the tests in ``front``, and all that do not come from the fixtures for commands.

A request is one byte with three descriptors: standard output, standard error, and a stream.  From
the stream the fork reads what it is; on it the server answers two lines, its PID and its status.
"""

from __future__ import annotations

import contextlib
import encodings.idna
import gc
import importlib
import io
import json
import os
import pkgutil
import re
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from scripts.place import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODULES = {"ch-convert": "sundog.front.cli.convert", "ch-image": "sundog.front.cli.image"}
_LATE = (encodings.idna, tomllib)  # what functions import

# The interpreter and the C library look at these variables once.
_ONCE = ("GLIBC_", "LANG", "LC_", "LD_", "MALLOC_", "PYTHON", "TZ")

# The command line of the server, and so of a fork that is left, ends with this word.
MARK = f"for-the-tests-of-{os.getpid()}"


def can_be(name: str, environment: Mapping[str, str]) -> bool:
    """Tell whether a fork can be the command ``name`` in that environment."""
    return name in MODULES and _read_once(environment) == _SERVED


def _read_once(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key.startswith(_ONCE)}


_SERVED = _read_once(os.environ)


class Forks:
    """The process that forks, and what asks it."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.forked", MARK],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd=CHECKOUT,
            )

    def close(self) -> None:
        """End the process; commands that run go on."""
        self._channel.close()
        self._server.wait()

    def run(
        self,
        name: str,
        words: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        timeout: float,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with arguments, as subprocess.run() does with pipes and text."""
        argv = [str(Path(sys.executable).with_name(name)), *words]
        request = {"argv": argv, "env": dict(environment), "cwd": str(cwd), "umask": _umask()}
        ends = [os.pipe(), os.pipe()]
        stream, theirs = socket.socketpair()
        with stream, stream.makefile() as answers:
            socket.send_fds(self._channel, [b"x"], [*(write for _, write in ends), theirs.fileno()])
            theirs.close()
            for _, write in ends:
                os.close(write)
            stream.sendall(json.dumps(request).encode())
            stream.shutdown(socket.SHUT_WR)
            pid = int(answers.readline())
            try:
                said = _read([read for read, _ in ends], timeout)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(argv, timeout) from None
            status = int(answers.readline())
        out, err = (io.TextIOWrapper(one, errors="surrogateescape").read() for one in said)
        return subprocess.CompletedProcess(argv, status, out, err)


def _umask() -> int:
    """Read the umask and change it for no moment: other threads may make files."""
    (umask,) = re.findall(r"^Umask:\s*(\d+)$", Path("/proc/self/status").read_text(), re.M)
    return int(umask, 8)


def _read(streams: Sequence[int], timeout: float) -> list[io.BytesIO]:
    """Read streams to their ends, side by side, and close them; raise TimeoutError."""
    end = time.monotonic() + timeout
    texts = {stream: io.BytesIO() for stream in streams}
    try:
        with selectors.DefaultSelector() as ready:
            for stream in streams:
                ready.register(stream, selectors.EVENT_READ)
            while ready.get_map():
                found = ready.select(max(0, end - time.monotonic()))
                if not found:
                    raise TimeoutError
                for key, _ in found:
                    part = os.read(key.fd, 65536)
                    texts[key.fd].write(part)
                    if not part:
                        ready.unregister(key.fd)
    finally:
        for stream in streams:
            os.close(stream)
    for text in texts.values():
        text.seek(0)
    return [*texts.values()]


_made: list[Forks] = []
_lock = threading.Lock()  # tests run commands in threads, too


def forks() -> Forks:
    """Return what forks for this process; make it if it is not there."""
    with _lock:
        if not _made:
            _made.append(Forks())
        return _made[0]


def end() -> None:
    """End what forks for this process, if it is there."""
    with _lock:
        while _made:
            _made.pop().close()


# The process


def main() -> None:
    """Serve until the socket that is standard input is closed."""
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    _import_all()
    gc.freeze()
    running: dict[int, tuple[int, int]] = {}  # by pidfd: the PID, and the stream
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in running:
                pid, stream = running.pop(descriptor)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                poll.unregister(descriptor)
                _answer(stream, status)
                os.close(stream)
                os.close(descriptor)
                continue
            asked, given, *_ = socket.recv_fds(channel, 1, 3)
            if not asked:
                return
            out, err, stream = given
            pid = os.fork()
            if not pid:
                _become(out, err, stream)
            os.close(out)
            os.close(err)
            _answer(stream, pid)
            pidfd = os.pidfd_open(pid)
            running[pidfd] = pid, stream
            poll.register(pidfd, select.POLLIN)


def _import_all() -> None:
    """Import what the commands import, at their start and later."""
    import sundog.front.cli
    import sundog.image

    for found in pkgutil.iter_modules(sundog.front.cli.__path__, "sundog.front.cli."):
        if found.name.startswith(("sundog.front.cli.convert", "sundog.front.cli.image")):
            importlib.import_module(found.name)
    for found in pkgutil.walk_packages(sundog.image.__path__, "sundog.image."):
        importlib.import_module(found.name)


def _answer(stream: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # the asker has waited too long
        os.write(stream, b"%d\n" % number)


def _become(out: int, err: int, stream: int) -> NoReturn:
    """Be the command that the stream tells, and end."""
    status = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        text = b""
        while part := os.read(stream, 65536):
            text += part
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        request: dict[str, Any] = json.loads(text)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        os.umask(request["umask"])
        sys.argv = request["argv"]
        name = os.path.basename(sys.argv[0])
        with open("/proc/self/comm", "w") as file:
            file.write(name)
        status = importlib.import_module(MODULES[name]).main()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
