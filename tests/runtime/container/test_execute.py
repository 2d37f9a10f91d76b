"""A command starts as if the kernel executed it by its name, and fails as it would fail.

The table is run twice: by execve(2), with the shell of execvp(3), and by ``execute``.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sundog.runtime.container.execute import execute
from sundog.runtime.container.variables import Environment
from sundog.runtime.process.executable import expected_failure
from sundog.runtime.process.last_step import STEP_KINDS, last_step
from tests.runtime.launcher.conftest import BUSYBOX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENOEXEC = 8
PRINTS = b'echo "0=$0" "$@"; read -r name </proc/$$/comm; echo $name; cat </proc/$$/cmdline\n'
NAMES = ("busybox", "echo", "sh", "cat")


@dataclass(frozen=True)
class Outcome:
    """How a start ended: the status, the output, and the errno if there was no start."""

    status: int
    output: bytes
    number: int = 0


def outcome(place: Path, start: Callable[[], int]) -> Outcome:
    """Let a child ``start`` a program in the directory; that returns an errno if it fails."""
    output, failed = place.parent / "output", place.parent / "failed"
    for path in (output, failed):
        path.write_bytes(b"")
    child = os.fork()
    if child == 0:
        try:
            os.chdir(place)
            fd = os.open(output, os.O_WRONLY)
            os.dup2(fd, 1)
            os.dup2(fd, 2)
            failed.write_text(str(start()))
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    return Outcome(status, output.read_bytes(), int(failed.read_text() or 0))


def by_name(words: list[bytes], environment: dict[bytes, bytes]) -> int:
    """Execute a program as execvp(3) does; return the errno."""
    shell = [b"/bin/sh", words[0], *words[1:]]
    number = ENOEXEC
    for path, arguments in ((words[0], words), (b"/bin/sh", shell)):
        try:
            os.execve(path, arguments, environment)
        except OSError as error:
            number = error.errno or 0
        if number != ENOEXEC or Path(os.fsdecode(path)).read_bytes()[:4] == b"\x7fELF":
            break
    return number


def by_last_step(words: list[bytes], environment: dict[bytes, bytes]) -> int:
    """Execute a program as Sundog does; return the errno."""
    strings = [name + b"=" + value for name, value in environment.items()]
    failure = execute(words, Environment(strings), lambda late: b"\x63LATE %d" % (late.errno or 0))
    return failure.errno or 0


def is_equal(place: Path, *words: bytes) -> Outcome:
    """Assert that both starts have the same outcome; return it."""
    environment = {b"PATH": os.fsencode(place), b"ODD": b"\xff\n="}
    expected = outcome(place, lambda: by_name(list(words), environment))
    found = outcome(place, lambda: by_last_step(list(words), environment))
    if found.output.startswith(b"LATE "):  # only the kernel could tell
        found = Outcome(found.status, b"", int(found.output[5:]))
    assert found == expected, words
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory with some programs."""
    place = tmp_path / "place"
    place.mkdir()
    shutil.copy(BUSYBOX, place / "busybox")
    for name in NAMES[1:]:
        (place / name).symlink_to("busybox")
    return place


def script(place: Path, content: bytes, mode: int = 0o755, name: str = "script") -> None:
    (place / name).write_bytes(content.replace(b"PLACE", os.fsencode(place)))
    (place / name).chmod(mode)


SCRIPTS = {
    "a shell": b"#!PLACE/sh\n" + PRINTS,
    "an argument": b"#!PLACE/sh -x\n" + PRINTS,
    "several words are one argument": b"#!PLACE/echo a  b\tc\n",
    "blanks around": b"#! \t PLACE/echo \t a b \t \n",
    "a carriage return": b"#!PLACE/sh\r\n" + PRINTS,
    "a carriage return behind an argument": b"#!PLACE/echo a\r\n",
    "no newline": b"#!PLACE/echo a b",
    "no newline and no argument": b"#!PLACE/echo",
    "no newline and blanks": b"#!PLACE/echo \t ",
    "a relative interpreter": b"#!echo a\n",
    "a relative interpreter with a slash": b"#!./echo a\n",
    "an argument that is cut": b"#!PLACE/echo " + b"a" * 300 + b"\n",
    "a long line of blanks": b"#!" + b" " * 300 + b"PLACE/echo\n",
    "an interpreter that is cut": b"#!PLACE/" + b"/" * 300 + b"echo\n",
    "an interpreter behind many slashes": b"#!PLACE" + b"/" * 100 + b"echo x\n",
    "a NUL": b"#!PLACE/echo\0 a\n",
    "a NUL in the argument": b"#!PLACE/echo a\0b\n",
    "no interpreter": b"#!\necho shell\n",
    "blanks for an interpreter": b"#! \t \necho shell\n",
    "two bytes": b"#!",
    "blanks without an end": b"#! ",
    "a missing interpreter": b"#!PLACE/nowhere\n",
    "an interpreter below a file": b"#!PLACE/echo/x\n",
    "a directory": b"#!PLACE\n",
    "an interpreter that may not be executed": b"#!/proc/version\n",
    "an interpreter that is a device": b"#!/dev/null\n",
    "for the shell": PRINTS,
    "a comment": b"# !PLACE/echo\necho comment\n",
    "nothing": b"",
    "one byte": b"#",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(place: Path, name: str) -> None:
    script(place, SCRIPTS[name])
    is_equal(place, os.fsencode(place / "script"), b"a b", b"")
    is_equal(place, b"./script")


@pytest.mark.parametrize("depth", range(1, 8))
def test_scripts_of_scripts(place: Path, depth: int) -> None:
    script(place, b"#!PLACE/echo end\n", name=f"{depth}")
    for number in range(depth):
        script(place, b"#!PLACE/%d of %d\n" % (number + 1, number), name=f"{number}")
    found = is_equal(place, os.fsencode(place / "0"), b"x")
    assert (found.number == 0) == (depth <= 4)  # and the last one, 5 in all


@pytest.mark.parametrize("name", ["sh", "busybox"])
def test_the_name_in_ps(place: Path, name: str) -> None:
    """It is that of the link, and not of the file behind it."""
    words = [b"sh"] if name == "busybox" else []
    found = is_equal(place, os.fsencode(place / name), *words, b"-c", PRINTS, b"zero")
    assert found.output.splitlines()[1] == name.encode()


def test_a_program_and_its_name_may_differ(place: Path) -> None:
    found = outcome(place, lambda: by_last_step([b"echo", b"a"], {b"PATH": os.fsencode(place)}))
    assert found == Outcome(0, b"a\n")


def written(data: bytes, mode: int = 0o755) -> Callable[[Path], None]:
    """Return the function that writes a file."""

    def write(path: Path) -> None:
        path.write_bytes(data)
        path.chmod(mode)

    return write


def altered(place: int, number: int) -> bytes:
    """Return a program whose header has another number."""
    data = bytearray(Path(BUSYBOX).read_bytes()[:4096])
    data[place : place + 2] = number.to_bytes(2, sys.byteorder)
    return bytes(data)


def loaded(loader: bytes) -> bytes:
    """Return an ELF program of this machine that names a dynamic loader: elf(5)."""
    head = bytearray(Path(BUSYBOX).read_bytes()[:64])
    head[32:40] = struct.pack("=Q", 64)  # e_phoff
    head[56:58] = struct.pack("=H", 1)  # e_phnum
    return bytes(head) + struct.pack("=IIQQQQQQ", 3, 5, 120, 0, 0, len(loader), 0, 8) + loader


FILES: dict[str, Callable[[Path], object]] = {
    "missing": lambda _: None,
    "a directory": lambda path: path.mkdir(),
    "a FIFO": lambda path: os.mkfifo(path, 0o755),
    "a socket": lambda path: os.mknod(path, 0o755 | stat.S_IFSOCK),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a long name": lambda path: path.symlink_to("x" * 300),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "below a file": lambda path: path.symlink_to("busybox/x"),
    "not executable": written(b"#!/bin/sh\n", 0o644),
    "a program that may not be read": written(Path(BUSYBOX).read_bytes(), 0o111),
    "a script that may not be read": written(b"#!/bin/sh\n", 0o111),
    "another machine": written(altered(18, 0xFEFF)),
    "a library": written(altered(16, 1)),
    "the magic of ELF alone": written(b"\x7fELF"),
    "a missing loader": written(loaded(b"/no\0")),
    "a loader that is a directory": written(loaded(b"/\0")),
}


@pytest.mark.parametrize("name", FILES)
def test_files(place: Path, name: str) -> None:
    FILES[name](place / "program")
    is_equal(place, os.fsencode(place / "program"), b"x")


def test_a_program_that_is_being_written(place: Path) -> None:
    """Only the kernel knows that (ETXTBSY): so the last step reports it."""
    shutil.copy(BUSYBOX, place / "program")
    with (place / "program").open("ab"):
        found = outcome(place, lambda: by_last_step([b"./program"], {}))
    assert found == Outcome(0x63 << 8, b"LATE 0")


@given(line=st.binary(max_size=12) | st.text(" \t/ab\n\0", max_size=12).map(str.encode))
@example(line=b" \n")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_first_lines(place: Path, line: bytes) -> None:
    """What is expected of a first line is what the kernel says."""
    script(place, b"#!" + line)
    (place / "a").unlink(missing_ok=True)
    (place / "a").symlink_to("echo")
    found = outcome(place, lambda: kernel_says(b"./script"))
    expected = outcome(place, lambda: expected_failure(b"./script"))
    if found.number:
        assert expected.number in (found.number, 0)


def kernel_says(path: bytes) -> int:
    try:
        os.execve(path, [path], {})
    except OSError as error:
        return error.errno or 0


IN_A_NAMESPACE = """
import os, sys
from sundog.runtime.container.enter import enter_namespaces
from sundog.runtime.container.execute import execute
from sundog.runtime.container.variables import Environment
from sundog.base.kernel.mounts import MNT_DETACH, mount, umount2
enter_namespaces(0, 0)
{prepare}
failure = execute([os.fsencode(word) for word in sys.argv[1:]], Environment([]), lambda _: b"1late")
sys.exit(str(failure))
"""


def in_a_namespace(prepare: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    program = IN_A_NAMESPACE.format(prepare=prepare)
    command = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_proc(place: Path) -> None:
    script(place, b"#!PLACE/sh -e\necho $0 $1\n")
    hide = 'mount(b"x", b"/proc", b"tmpfs", 0, None)'
    done = in_a_namespace(hide, place / "script", "a")
    assert (done.stdout, done.stderr) == (f"{place}/script a\n", "")


def test_binfmt_misc(place: Path) -> None:
    """A program that only binfmt_misc knows: an interpreter gets its path."""
    (place / "program").write_bytes(b"MAGIC")
    (place / "program").chmod(0o755)
    register = f"""
mount(b"x", b"/proc/sys/fs/binfmt_misc", b"binfmt_misc", 0, None)
with open("/proc/sys/fs/binfmt_misc/register", "w") as file:
    file.write(":test:M::MAGIC::{place}/echo:")
"""
    done = in_a_namespace(register, place / "program", "a")
    if "mount binfmt_misc" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert (done.stdout, done.stderr) == (f"{place}/program a\n", "")


def test_memory_that_may_not_be_executed(place: Path) -> None:
    """Where vm.memfd_noexec forbids it, the program is a file without a name."""
    forbid = """
import errno, sundog.runtime.process.last_step as step
from sundog.base.kernel.libc import checked
step.memory_file = lambda name, _: checked(-errno.EACCES, "memfd_create", name)
"""
    done = in_a_namespace(forbid, place / "echo", "a")
    assert (done.stdout, done.stderr) == ("a\n", "")


# Programs for other machines


def runners() -> Iterator[tuple[str, list[str]]]:
    """Yield the ABIs whose programs can run here, and the start of a command line for each."""
    for abi in STEP_KINDS:
        emulator = shutil.which(f"qemu-{abi}")
        if abi == os.uname().machine:
            yield abi, []
        elif emulator is not None:
            yield abi, [emulator, "-0"]


@pytest.mark.parametrize(("abi", "emulator"), list(runners()))
def test_machines(place: Path, abi: str, emulator: list[str]) -> None:
    program = place / "step"
    program.write_bytes(last_step(abi, "big" if abi == "s390x" else "little"))
    program.chmod(0o755)
    script(place, b"echo $0 $*\n")

    def run(report: str, *words: str) -> tuple[int, str, str]:
        argv = [*emulator, report, str(program), *words] if emulator else [report, *words]
        executable = None if emulator else program
        done = subprocess.run(
            argv, executable=executable, cwd=place, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    assert run("1no\n", "/bin/sh", "./echo", "echo", "a") == (0, "a\n", "")
    assert run("1no\n", "/bin/sh", "./script", "zero", "a", "b") == (0, "./script a b\n", "")
    assert run("1no\n", "", "./script", "zero") == (49, "", "no\n")
    assert run("\x7fno\n", "/bin/sh", "/nowhere", "zero") == (127, "", "no\n")
    assert run("\x7f", "/bin/sh", "/nowhere", "zero") == (127, "", "")


def test_it_can_not_be_changed(place: Path) -> None:
    """The program that is /proc/self/exe of the last step is sealed."""
    from sundog.runtime.process.last_step import open_last_step

    fd = open_last_step()
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    for name in (again, fd):
        with pytest.raises(PermissionError):
            os.write(name, b"x")
        with pytest.raises(PermissionError):
            os.ftruncate(name, 0)
        assert libc.fcntl(name, 1033, 0) == -1
        os.close(name)
