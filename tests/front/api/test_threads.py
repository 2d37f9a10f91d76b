"""The API in a program with threads, with signals of its own, and with few descriptors.

Each program runs by itself: what a function leaves behind in a process must be seen there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = """
import glob, json, os, pathlib, signal, sys, threading, time
import sundog

def in_threads(function, count):
    outcomes = [None] * count
    def run(index):
        try:
            outcomes[index] = function(index)
        except BaseException as error:
            outcomes[index] = f"{type(error).__name__}: {error}"
    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes

def left():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        children = file.read().split()
    descriptors = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                   if os.path.exists(f"/proc/self/fd/{fd}")}
    return [len(os.listdir("/proc/self/fd")), children, sorted(descriptors)]

def tell(value):
    print(json.dumps(value))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    """Return a directory with a storage directory, which has the image ``base``, and a context."""
    place = tmp_path_factory.mktemp("threads")
    (place / "context").mkdir()
    (place / "context" / "file").write_text("text")
    code = f"import sundog; sundog.import_image({str(busybox_tar)!r}, 'base')"
    subprocess.run([sys.executable, "-c", code], env=variables(place), check=True)
    return place


def variables(place: Path) -> dict[str, str]:
    return os.environ | {"CH_IMAGE_STORAGE": str(place / "storage")}


def told(place: Path, code: str) -> Any:
    done = subprocess.run(
        # ^C may come between an open and its ``with``; the tests count descriptors themselves.
        [
            sys.executable,
            "-Werror",
            "-Wignore::ResourceWarning",
            "-c",
            PRELUDE + textwrap.dedent(code),
        ],
        env=variables(place),
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)


def test_a_build_in_a_thread(base: Path) -> None:
    outcomes, before, after = told(
        base,
        """
        before = left()
        text = "FROM base\\nRUN echo hello >/file\\nCOPY file /copied\\n"
        build = lambda index: sundog.build("context", f"thread{index}", text=text).name
        outcomes = in_threads(build, 1)
        tell([outcomes, before, left()])
        """,
    )
    assert outcomes == ["thread0"]
    assert before == after


def test_eight_conversions_in_eight_threads(base: Path) -> None:
    """They do not disturb one another; each thread gets the events of its own work."""
    outcomes, same, before, after = told(
        base,
        """
        def convert(index):
            events = []
            sundog.convert_image("base", f"out{index}.sqfs", progress=events.append)
            moved = [event.done for event in events if event.kind == "bytes"]
            assert moved == sorted(moved) and moved, moved
            with open(f"out{index}.sqfs", "rb") as file:
                return file.read(4).decode()
        sundog.images()
        before = left()
        outcomes = in_threads(convert, 8)
        after = left()
        sizes = {os.path.getsize(f"out{index}.sqfs") for index in range(8)}
        tell([outcomes, len(sizes), before, after])
        """,
    )
    assert outcomes == ["hsqs"] * 8
    assert same == 1
    assert before == after


def test_eight_kinds_of_work_in_eight_threads(base: Path) -> None:
    outcomes = told(
        base,
        """
        works = [
            lambda: sundog.build(None, "t1", text="FROM base\\nRUN echo 1 >/1").name,
            lambda: sundog.build(None, "t2", text="FROM base\\nRUN id >/2", force="notify").name,
            lambda: sundog.save("base", "base.tar"),
            lambda: sundog.convert_image("base", "tree", out_format="dir"),
            lambda: sundog.run("base", ["echo", "x"], capture_output=True).stdout.decode(),
            lambda: [image.name for image in sundog.images() if image.name == "base"],
            lambda: sundog.tag("base", "other").name,
            lambda: sundog.inspect("base")["name"],
        ]
        tell(in_threads(lambda index: works[index](), 8))
        """,
    )
    assert outcomes == ["t1", "t2", None, None, "x\n", ["base"], "other", "base"]


FAILURES = {
    "no Dockerfile": "sundog.build('.', 'a')",
    "a syntax": "sundog.build(None, 'a', text='FRM x')",
    "a RUN": "sundog.build('context', 'a', text='FROM base\\nCOPY file /\\nRUN exit 3')",
    "a COPY": "sundog.build('context', 'a', text='FROM base\\nCOPY nothing /')",
    "a base": "sundog.build(None, 'a', text='FROM localhost:1/nothing')",
    "a mode": "sundog.build(None, 'a', text='FROM base', force='perhaps')",
    "a context": "sundog.build('nothing', 'a', text='FROM base')",
    "an import": "sundog.import_image('nothing', 'a')",
    "a damaged tar": "sundog.import_image('context/file', 'a')",
    "a load": "sundog.load('context')",
    "a save": "sundog.save('base', '/proc/nothing')",
    "a conversion": "sundog.convert_image('base', '/proc/x.sqfs')",
    "a pull": "sundog.pull('localhost:1/nothing')",
    "a push": "sundog.push('base', 'localhost:1/nothing')",
    "a name": "sundog.remove('nothing')",
    "a path": "sundog.load('a\\0b')",
    "a variable": "sundog.run('base', env={'A=B': 'x'})",
    "no variable": "sundog.run('base', env={'': 'x'})",
    "a word": "sundog.run('base', ['a\\0b'])",
    "a callback": "sundog.save('base', 'base.tar', progress=lambda event: exec('raise OSError'))",
}


@pytest.mark.parametrize("ignores", [False, True], ids=["", "SIGCHLD ignored"])
def test_failures_leave_nothing(base: Path, *, ignores: bool) -> None:
    """Each failure is an error of the tree, or of the program's own files; ten leave nothing."""
    outcomes = told(
        base,
        f"""
        if {ignores}:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        failures = {FAILURES!r}
        sundog.images()
        outcomes = {{}}
        for name, code in failures.items():
            before = left()
            for _ in range(2):
                try:
                    eval(code)
                    outcome = "no error"
                except (sundog.errors.SundogError, OSError) as error:
                    outcome = "" if left() == before else f"{{before}} {{left()}}"
                except BaseException as error:
                    outcome = repr(error)
            outcomes[name] = outcome
        tell(outcomes)
        """,
    )
    assert outcomes == dict.fromkeys(FAILURES, "")


def test_a_program_that_ignores_sigchld(base: Path) -> None:
    outcomes = told(
        base,
        """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        before = left()
        for index in range(10):
            text = f"FROM base\\nCOPY file /{index}\\nRUN true"
            sundog.build("context", "a", text=text, cache=False)
        sundog.convert_image("base", "ignoring.sqfs")
        sundog.remove("a")
        after = left()
        try:
            sundog.run("base", ["true"])
        except sundog.errors.UsageError as error:
            tell([before == after, error.message, signal.getsignal(signal.SIGCHLD)])
        """,
    )
    assert outcomes == [
        True,
        "this program ignores SIGCHLD, so it would not learn the command's status",
        1,
    ]


def test_signals_of_the_program_stay(base: Path) -> None:
    """A handler of the program is not called in the process of the work; ^C ends the work."""
    outcomes = told(
        base,
        """
        calls = []
        def handler(number, frame):
            calls.append((number, os.getpid() == main))
        main = os.getpid()
        for number in (signal.SIGTERM, signal.SIGTSTP, signal.SIGUSR1):
            signal.signal(number, handler)
        read, write = os.pipe()
        for end in (read, write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(write)
        def later():  # when the command runs
            while not any(map(runs, glob.glob("/proc/[0-9]*/cmdline"))):
                time.sleep(0.01)
            os.kill(main, signal.SIGINT)
        def runs(path):
            try:
                return pathlib.Path(path).read_bytes().startswith(b"sleep\\00024681\\0")
            except OSError:
                return False
        def interrupt(event):
            if "RUN" in event.text:
                threading.Thread(target=later).start()
        try:
            sundog.build(None, "a", text="FROM base\\nRUN exec sleep 24681", progress=interrupt)
        except KeyboardInterrupt:
            calls.append("interrupted")
        os.kill(main, signal.SIGUSR1)
        tell([calls, os.read(read, 10).hex(), left()[1]])
        """,
    )
    assert outcomes == [["interrupted", [10, True]], "020a", []]


def test_an_interruption_in_a_destructor(base: Path) -> None:
    """Python drops what is raised there."""
    outcome = told(
        base,
        """
        from sundog.front.api.apart import apart
        class Interrupting:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.1)
        def work(report):
            Interrupting()
            time.sleep(100)
        try:
            apart(work)
        except KeyboardInterrupt:
            tell("interrupted")
        """,
    )
    assert outcome == "interrupted"


SLOW = """
import os
fd = os.open("second", os.O_CREAT | os.O_WRONLY)
if not os.fstat(fd).st_size:
    os.write(fd, b"x")
    begun.set()
    may_end.wait()
"""


def test_an_import_that_another_thread_has_begun(base: Path) -> None:
    """The process of the work does not wait for a thread that it does not have."""
    (base / "slow.py").write_text(SLOW)
    outcomes = told(
        base,
        """
        import builtins
        from sundog.front.api.apart import apart
        builtins.begun, builtins.may_end = threading.Event(), threading.Event()
        sys.path.insert(0, ".")
        thread = threading.Thread(target=__import__, args=("slow",))
        thread.start()
        begun.wait()
        outcome = apart(lambda report: __import__("slow").fd >= 0)
        may_end.set()
        thread.join()
        tell(outcome)
        """,
    )
    assert outcomes is True
