"""The tree worker: it is root over the user's files, returns errors, and ends in time."""

import importlib
import inspect
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from sundog.base.record.layer_path import LayerPath
from sundog.errors import DockerfileError, EndsEarly, KernelError, StoreError, UnreachableError
from sundog.image.store import worker_protocol
from sundog.image.store.worker import TreeWorker


@pytest.fixture(autouse=True)
def tasks_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker do what is defined here."""
    for function in (raise_error, raise_bug, die, unsendable, nap, read_secret, own_uid, own_pid):
        monkeypatch.setitem(worker_protocol.TASKS, function.__name__, __name__)
    monkeypatch.setitem(worker_protocol.TASKS, "append", __name__)


@pytest.fixture
def worker() -> Generator[TreeWorker]:
    worker = TreeWorker()
    yield worker
    worker.close()


ERRORS = {
    "OSError": FileNotFoundError(2, "No such file or directory", b"/\xff"),
    "two names": OSError(18, "Invalid cross-device link", "/a", None, "/b"),
    "message and hint": StoreError("a message", "a hint"),
    "kernel": KernelError("mount", "/x", 1, "can't mount /x", "a hint"),
    "Dockerfile": DockerfileError(
        "wrong", path="Dockerfile", line=3, excerpt="FROM", hint="a hint"
    ),
    "registry": UnreachableError("no answer", permanent=True),
    "own constructor": EndsEarly(),
}


def test_a_pipe_of_its_parent_ends_when_the_parent_closes_it(worker: TreeWorker) -> None:
    read, write = os.pipe()
    try:
        worker.call(own_uid)
        os.close(write)
        assert select.select([read], [], [], 60)[0]
        assert os.read(read, 1) == b""
    finally:
        os.close(read)


def raise_error(name: str) -> None:
    raise ERRORS[name]


def raise_bug() -> None:
    raise ZeroDivisionError("a bug")


def die(signo: int) -> None:
    os.kill(os.getpid(), signo)


def unsendable() -> object:
    return lambda: None


def own_uid() -> int:
    return os.getuid()


def own_pid() -> int:
    return os.getpid()


def append(data: bytes, more: bytes) -> bytes:
    return data + more


def nap(seconds: int) -> str:
    time.sleep(seconds)
    return "rested"


def read_secret(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def test_worker_is_root_over_the_users_files(worker: TreeWorker, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"contents")
    secret.chmod(0)
    assert worker.call(read_secret, os.fsencode(secret)) == b"contents"
    assert worker.call(own_uid) == 0
    assert secret.stat().st_mode & 0o777 == 0
    assert os.getuid() == secret.stat().st_uid


def test_one_process_serves_all_calls(worker: TreeWorker) -> None:
    assert worker.call(own_pid) == worker.call(own_pid) != os.getpid()


def test_large_arguments_and_values_pass(worker: TreeWorker) -> None:
    data = os.urandom(3 << 20)
    assert worker.call(append, data, b"!") == data + b"!"


@pytest.mark.parametrize("name", ERRORS)
def test_errors_come_back_whole(worker: TreeWorker, name: str) -> None:
    error = ERRORS[name]
    with pytest.raises(type(error)) as raised:
        worker.call(raise_error, name)
    assert str(raised.value) == str(error)
    assert vars(raised.value) == vars(error)
    assert worker.call(own_uid) == 0


def test_a_bug_shows_where_it_is(worker: TreeWorker) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a bug") as raised:
        worker.call(raise_bug)
    assert "in raise_bug" in raised.value.__notes__[0]


def test_a_value_that_cannot_be_sent_is_an_error_and_not_the_end(worker: TreeWorker) -> None:
    with pytest.raises(RuntimeError, match="may not cross between processes"):
        worker.call(unsendable)
    assert worker.call(own_uid) == 0


def test_the_worker_does_what_is_listed_and_nothing_else(worker: TreeWorker) -> None:
    assert worker.call(own_uid) == 0
    for function in (os.system, eval, LayerPath):
        with pytest.raises(RuntimeError, match="may not cross between processes"):
            worker.call(function, b"true")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="may not cross between processes"):
        worker.call(append, Path("/"), b"")  # type: ignore[arg-type]


def test_every_task_and_value_is_there() -> None:
    for name in worker_protocol.TASKS:
        assert callable(worker_protocol.task(name))
    for name, module in worker_protocol.VALUES.items():
        kind = getattr(importlib.import_module(module), name)
        assert kind.__slots__ == tuple(inspect.signature(kind).parameters)


def test_worker_killed_in_a_call_gives_one_clear_error_and_is_replaced(
    worker: TreeWorker,
) -> None:
    with pytest.raises(StoreError, match=r"died during die: killed by signal 9$"):
        worker.call(die, signal.SIGKILL)
    assert worker.call(own_uid) == 0


def test_worker_killed_between_calls_gives_one_clear_error(worker: TreeWorker) -> None:
    pid = worker.call(own_pid)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(StoreError, match="killed by signal 9"):
        worker.call(own_uid)
    assert worker.call(own_uid) == 0


def test_interrupted_call_does_not_answer_the_next_one(worker: TreeWorker) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        worker.call(own_uid)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            worker.call(nap, 60)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert worker.call(own_uid) == 0


def test_close_ends_the_worker_even_while_a_later_child_holds_its_pipes(
    worker: TreeWorker,
) -> None:
    other = TreeWorker()
    pid = worker.call(own_pid)
    other.call(own_pid)  # forked with the ends of the first one's pipes
    worker.close()
    assert not os.path.exists(f"/proc/{pid}")
    other.close()


def test_worker_dies_with_its_parent() -> None:
    program = (
        "import os, sys\n"
        "from sundog.image.store import worker_protocol\n"
        "from sundog.image.store.worker import TreeWorker\n"
        "worker_protocol.TASKS.update(getpid='os', read='os')\n"
        "worker = TreeWorker()\n"
        "print(worker.call(os.getpid), flush=True)\n"
        "worker.call(os.read, os.pipe()[0], 1)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    watch = os.pidfd_open(pid)
    try:
        parent.kill()
        parent.wait()
        # A pidfd is readable once the process is gone.
        import select

        assert select.select([watch], [], [], 10)[0]
    finally:
        os.close(watch)
        parent.stdout.close()
