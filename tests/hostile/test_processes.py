"""Sundog's own processes beside a program of an image, which can neither control nor block them.

And the interpreter that they run, which may be a file of the user.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program
from tests.runtime.launcher.conftest import ENVIRONMENT, make_image

if TYPE_CHECKING:
    from tests.conftest import Runner


def attack(context: Path, attacker: Path, *words: str) -> Path:
    """Make a build context whose RUN is the attacker with ``words``."""
    context.mkdir()
    shutil.copy(attacker, context / "attacker")
    quoted = ", ".join(f'"{word}"' for word in ("/attacker", *words))
    (context / "Dockerfile").write_text(f"FROM base\nCOPY attacker /attacker\nRUN [{quoted}]\n")
    return context


@pytest.fixture
def image(tmp_path: Path, attacker: Path) -> Path:
    path = make_image(tmp_path / "image")
    shutil.copy(attacker, path / "attacker")
    return path


@pytest.fixture
def base(run_ch_image: Runner, storage: Path, busybox_tar: Path) -> Path:
    """Return a storage directory with the image ``base``."""
    run_ch_image("import", busybox_tar, "base")
    return storage


# Descriptors

# Starts a command with descriptors 3 up to a last one open, and writes down all descriptors.
INHERITING = """
import fcntl, os, socket, sys
opened = [os.open("/", os.O_RDONLY), os.open(sys.argv[1], os.O_RDONLY), os.memfd_create("m")]
opened += [*os.pipe(), *(end.detach() for end in socket.socketpair())]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in opened]
end = int(sys.argv[2]) + 1
for number in range(3, end):
    os.dup2(high[number % len(high)], number)
os.closerange(end, 200)
with open(os.path.join(sys.argv[1], "listed"), "w", closefd=True) as file:
    for number in range(end):
        print(number, os.readlink(f"/proc/self/fd/{number}"), file=file)
os.execv(sys.argv[3], sys.argv[3:])
"""
LIST = "ls -l /proc/$$/fd; true"
LISTED = re.compile(r"(\d+) -> (.*)$", re.M)


def inheriting(directory: Path, last: int, *argv: str | Path) -> list[str]:
    """Return a program that starts a command with the descriptors up to ``last`` open."""
    return [sys.executable, "-c", INHERITING, str(directory), str(last), *map(str, argv)]


@pytest.mark.parametrize("mode", ["seccomp", "notify", "none"])
def test_run_inherits_three_descriptors(mode: str, base: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM base\nRUN {LIST}\n")
    build = [*command("ch-image"), "build", f"--force={mode}", "-t", "img", str(context)]
    done = run_program(inheriting(tmp_path, 20, *build), env={"CH_IMAGE_STORAGE": str(base)})
    assert (tmp_path / "listed").read_text().count("\n") == 21
    streams = LISTED.findall(done.stdout)
    assert [(number, re.sub(r"\d+", "N", target)) for number, target in streams] == [
        ("0", "/dev/null"),
        ("1", "pipe:[N]"),
        ("2", "pipe:[N]"),
    ]


@pytest.mark.parametrize("way", [(), ("-u0",), ("--seccomp",), ("--notify",), ("-W",), ("-w",)])
def test_the_command_has_its_callers_descriptors_alone(
    way: tuple[str, ...], image: Path, tmp_path: Path
) -> None:
    """PMI_FD needs this; and the command has none of ``ch-run``'s own descriptors.

    If 3 to 9 are in use, dash keeps its script open at its number: so only 8 are open here.
    """
    argv = [*command("ch-run"), *way, str(image), "--", "/bin/sh", "-c", LIST]
    done = run_program(inheriting(tmp_path, 8, *argv))
    found = {
        number: target
        for number, target in LISTED.findall(done.stdout)
        if not re.fullmatch(r"/proc/\d+/fd", target)  # this busybox lists without a process more
    }
    expected = dict(line.split(" ", 1) for line in (tmp_path / "listed").read_text().splitlines())
    assert found.keys() == expected.keys()
    for number in set(expected) - {"0", "1", "2"}:
        # The meaning of a path differs with the root.
        assert found[number] == expected[number] or expected[number].startswith("/")


# Imports

# Modules in an image, at the place where the host's interpreter would look for its own.
TELLTALE = "import os\nos.write(2, b'IMPORTED FROM THE IMAGE\\n')\nos._exit(99)\n"
BROKEN_STEP = """
import os, sys
from sundog.runtime.steps import step
from sundog.runtime.steps.command import Step
from sundog.runtime.supervision import init
from sundog.runtime.container.root import DirectoryRoot
def broken(self, pid, proc):
    os.waitpid(pid, 0)
    raise ValueError("a bug")
init.Init.await_end = broken
root = DirectoryRoot(os.fsencode(sys.argv[1]))
before = set(sys.modules)
for name in ("traceback", "linecache", "textwrap", "tokenize", "random"):
    sys.modules.pop(name, None)
try:
    step.run_step(Step(root, [b"true"], {b"PATH": b"/bin"}, b"/"))
except RuntimeError as error:
    assert "a bug" in str(error), error
    assert "in broken" in error.__notes__[0], error.__notes__
else:
    sys.exit("no bug")
"""


def test_a_bug_beside_the_command_imports_nothing_of_the_image(busybox_tree: Path) -> None:
    for directory in {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}:
        place = busybox_tree / directory.lstrip("/")
        place.mkdir(parents=True)
        for name in sys.stdlib_module_names:
            (place / f"{name}.py").write_text(TELLTALE)
    done = run_program([sys.executable, "-c", BROKEN_STEP, busybox_tree])
    assert done.stderr == ""


def test_nothing_can_be_imported_in_a_container() -> None:
    script = (
        "import sys\n"
        "from sundog.runtime.container.enter import forbid_imports\n"
        "forbid_imports()\n"
        "import _struct, posix\n"
        "for name in 'traceback', 'sundog.runtime.steps.step', 'zipfile':\n"
        "    assert name not in sys.modules\n"
        "    try:\n"
        "        __import__(name)\n"
        "    except ImportError:\n"
        "        continue\n"
        "    sys.exit(name)\n"
    )
    run_program([sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{script}"])


# Ways to keep a process waiting


def interrupted(argv: list[str], ready: str, storage: Path, times: int) -> tuple[int, str]:
    """Interrupt a program this many times after it printed ``ready``; return how it ended."""
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while (line := process.stdout.readline()) and line.strip() != ready:
            pass
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            # Wait until the program takes the signal, so that the next one is a new one.
            while process.poll() is None and is_pending(process.pid, signal.SIGINT):
                pass
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def is_pending(pid: int, signo: int) -> bool:
    """Tell whether a process has not taken a signal yet."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    pending = re.search(r"^ShdPnd:\s*(\w+)", status, re.M)
    return bool(pending and int(pending[1], 16) >> signo - 1 & 1)


@pytest.mark.parametrize("how", ["traced=1", "stuck=fuse"])
def test_a_run_that_hangs_everything_can_be_interrupted(
    how: str, base: Path, tmp_path: Path, attacker: Path
) -> None:
    """The supervisor waits for a file system of the image, or the init for a traced process."""
    context = attack(tmp_path / "context", attacker, how, "only=dot-dot")
    argv = [*command("ch-image"), "build", "--force=notify", "-t", "img", str(context)]
    status, errors = interrupted(argv, "now", base, 3)
    assert status != 0
    assert "Traceback" not in errors
    left = subprocess.run(["pgrep", "-f", how], capture_output=True, check=False)
    assert left.stdout == b""


def test_a_run_that_waits_for_itself_gets_an_error(
    base: Path, run_ch_image: Runner, tmp_path: Path, attacker: Path
) -> None:
    """No page that userfaultfd(2) withholds can make the supervisor wait."""
    assert base.is_dir()
    context = attack(tmp_path / "context", attacker, "stuck=userfault")
    done = run_ch_image("build", "--force=notify", "-t", "img", context)
    assert "now\nanswered: " in done.stdout


# The interpreter: in many installations a file of the user, which must not change (CVE-2019-5736)

EVIL = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
__attribute__((constructor)) static void change(void)
{
    printf("executed\n");
    chmod("/proc/self/exe", 06777);
    if (open("/proc/self/exe", O_RDWR) >= 0)
        printf("open for writing\n");
    fflush(stdout);
    _exit(0);
}
"""


@pytest.fixture
def own_python(tmp_path: Path) -> Path:
    """Copy the interpreter, so that it belongs to this user."""
    path = tmp_path / "own" / "python"
    path.parent.mkdir()
    shutil.copy(os.path.realpath(sys.executable), path)
    path.chmod(0o755)
    return path


@pytest.fixture
def loader_image(image: Path, tmp_path: Path) -> Path:
    """Give the image all libraries of the host's interpreter, and those that are preloaded."""
    libraries = subprocess.run(
        ["ldd", os.path.realpath(sys.executable)], capture_output=True, text=True, check=True
    ).stdout
    for library in re.findall(r"/[^ ]+", libraries):
        place = image / library.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)
    source = tmp_path / "evil.c"
    source.write_text(EVIL)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", image / "evil.so", source], check=True)
    (image / "script").write_text("#!/proc/self/exe\n")
    (image / "spaced").write_text("#! \t/proc/thread-self/exe  x\n")
    (image / "twice").write_text("#!/script\n")
    for name in ("script", "spaced", "twice"):
        (image / name).chmod(0o755)
    (image / "link").symlink_to("/proc/self/exe")
    (image / "far").symlink_to("link")
    (image / "linked").write_text("#!/far\n")
    (image / "linked").chmod(0o755)
    return image


PROGRAMS = ("script", "spaced", "twice", "link", "far", "linked")


def with_own(python: Path, *words: str | Path) -> list[str | Path]:
    """Return an argv that runs a command of Sundog by another interpreter than this one."""
    paths = f"import sys; sys.path[:] = {sys.path!r}; sys.argv[1:1] = []\n"
    module, function = {
        "ch-run": ("sundog.runtime.launcher.main", "start(sys.argv[1:])"),
        "ch-image": ("sundog.front.cli.image", "sys.exit(main())"),
    }[str(words[0])]
    name = function.partition("(")[0] if "exit" not in function else "main"
    code = f"{paths}from {module} import {name}\n{function}\n"
    return [python, "-S", "-c", code, *words[1:]]


def test_the_command_is_never_the_hosts_interpreter(
    own_python: Path, loader_image: Path, tmp_path: Path
) -> None:
    before = own_python.stat()
    env = ENVIRONMENT | {"PYTHONHOME": sys.base_prefix, "CH_IMAGE_STORAGE": str(tmp_path / "s")}
    for program in PROGRAMS:
        for way in ([], ["-u0"], ["--notify"]):
            options = [*way, "--set-env=LD_PRELOAD=/evil.so", str(loader_image)]
            argv = with_own(own_python, "ch-run", *options, "--", f"/{program}")
            done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
            assert done.returncode != 0, (program, way, done)
            assert "executed" not in done.stdout
            assert f"can't execve(2): /{program}: Too many levels of symbolic" in done.stderr
            after = own_python.stat()
            assert (after.st_mode, after.st_ctime_ns) == (before.st_mode, before.st_ctime_ns)


@pytest.mark.parametrize("mode", ["seccomp", "notify", "none"])
def test_run_is_never_the_hosts_interpreter(
    mode: str, own_python: Path, loader_image: Path, run_ch_image: Runner, storage: Path
) -> None:
    run_ch_image("import", loader_image, "base")
    before = own_python.stat()
    env = {"PYTHONHOME": sys.base_prefix, "CH_IMAGE_STORAGE": str(storage)}
    for program in ("script", "link"):
        context = storage.parent / program
        context.mkdir()
        text = f'FROM base\nENV LD_PRELOAD=/evil.so\nRUN ["/{program}"]\n'
        (context / "Dockerfile").write_text(text)
        build = ["build", f"--force={mode}", "-t", "img", str(context)]
        argv = with_own(own_python, "ch-image", *build)
        done = run_program(argv, env=env, check=False)
        assert done.returncode == 1
        assert "executed" not in done.stdout
        assert "Too many levels of symbolic links" in done.stderr
        after = own_python.stat()
        assert (after.st_mode, after.st_ctime_ns) == (before.st_mode, before.st_ctime_ns)


def test_the_supervisor_does_not_change_the_hosts_interpreter(
    own_python: Path, image: Path, tmp_path: Path
) -> None:
    """By a link to /proc/self/exe, which is the supervisor's own if the supervisor looks it up."""
    (image / "link").symlink_to("/proc/self/exe")
    for applet in ("setpriv",):
        (image / "bin" / applet).symlink_to("busybox")
    before = own_python.stat()
    env = ENVIRONMENT | {"PYTHONHOME": sys.base_prefix, "CH_IMAGE_STORAGE": str(tmp_path / "s")}
    script = "chown :5 /link; setpriv --bounding-set -fsetid chmod 6755 /link; chmod 4755 /link"
    argv = with_own(own_python, "ch-run", "--notify", "-W", image, "--", "/bin/sh", "-c", script)
    subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert stat.S_IMODE(own_python.stat().st_mode) == stat.S_IMODE(before.st_mode)
