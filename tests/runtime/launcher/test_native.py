"""The compiled ``ch-run`` hands over the starts that it can't serve, without other effects."""

import os
import re
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from sundog.base.record.names import canonical_name, name_to_directory
from sundog.base.record.stack import USE_FRESH, ImageStack, pack_stack
from tests.conftest import children_of
from tests.runtime.launcher.compiled import NATIVE, Argument, Compiled, leave_accounts
from tests.runtime.launcher.conftest import BUSYBOX, ENVIRONMENT
from tests.runtime.launcher.storages import add_image, fill_storage, make_storage

pytestmark = pytest.mark.slow  # no Python is in it

Completed = subprocess.CompletedProcess[bytes]
Both = Callable[..., tuple[Completed, Completed]]


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage with images and the accounts of the tests' user."""
    storage = fill_storage(make_storage(tmp_path / "storage"))
    leave_accounts(storage, os.geteuid(), os.getegid())
    return storage


def start(
    command: Path,
    arguments: Sequence[Argument],
    storage: Path,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run a ``ch-run`` in the directory that contains the storage."""
    return subprocess.run(
        [command, *arguments],
        env=ENVIRONMENT | {"CH_IMAGE_STORAGE": str(storage)} | dict(env or {}),
        cwd=storage.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def only(compiled: Compiled, storage: Path) -> Callable[..., Completed]:
    """Run the compiled start without a hand-over: it prints its reason to decline."""

    def run(*arguments: Argument, env: Mapping[str, str] | None = None) -> Completed:
        return start(
            compiled.command, arguments, storage, {"SUNDOG_START": "compiled"} | dict(env or {})
        )

    return run


@pytest.fixture
def both(compiled: Compiled, storage: Path) -> Both:
    """Run the launcher in Python, and the compiled start, which may hand over."""

    def run(*arguments: Argument, **env: str) -> tuple[Completed, Completed]:
        return (
            start(compiled.stub, arguments, storage, env),
            start(compiled.command, arguments, storage, env),
        )

    return run


def outcome(done: Completed) -> tuple[int, bytes, list[bytes]]:
    """Return the status, the output and the messages without process IDs."""
    lines = [line.partition(b"]: ")[2] or line for line in done.stderr.splitlines()]
    return done.returncode, done.stdout, lines


def test_it_is_small() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in NATIVE.glob("*.[ch]")}
    assert sum(lengths.values()) <= 2090
    assert max(lengths.values()) <= 400


@pytest.mark.parametrize("image", ["app", "tree"])
def test_served(only: Callable[..., Completed], image: str) -> None:
    assert outcome(only(image, "--", "cat", "/ch/environment"))[0] == 0
    assert only(image).stdout == b"default\n/mnt\n"


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_start_notes_the_use_of_an_image(
    compiled: Compiled, storage: Path, *, is_compiled: bool
) -> None:
    stack = storage / "images" / name_to_directory(canonical_name("app")) / "stack"
    command = compiled.command if is_compiled else compiled.stub
    env = {"SUNDOG_START": "compiled"} if is_compiled else {}
    for age, is_noted in ((USE_FRESH - 60, False), (USE_FRESH + 60, True)):
        then = time.time() - age
        os.utime(stack, (then, then))
        before = stack.stat()
        assert start(command, ["app", "--", "true"], storage, env).returncode == 0
        after = stack.stat()
        assert (after.st_mtime > before.st_mtime) == is_noted
        assert after.st_mtime <= time.time()
        assert after.st_mode == before.st_mode


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_storage_that_is_read_only_has_no_notes(
    compiled: Compiled, storage: Path, *, is_compiled: bool
) -> None:
    stack = storage / "images" / name_to_directory(canonical_name("app")) / "stack"
    os.utime(stack, (0, 0))
    command = compiled.command if is_compiled else compiled.stub
    back = f"unshare --map-user={os.geteuid()} --map-group={os.getegid()}"
    script = f'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec {back} "$@"'
    done = subprocess.run(
        ["unshare", "-r", "-m", "sh", "-c", script, storage, command, "app", "--", "true"],
        env=ENVIRONMENT | {"CH_IMAGE_STORAGE": str(storage)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert stack.stat().st_mtime == 0


def test_an_image_with_guessed_owners_is_served(
    only: Callable[..., Completed], storage: Path
) -> None:
    stack = ImageStack([b"top", b"base"], b"", [b"/bin/cat", b"/below"], [], b"/", guesses=b"g-")
    add_image(storage, "marked", stack)
    assert only("marked").stdout == b"top\n"


# Starts that it hands over


def test_more_words_than_it_has_memory_for(both: Both) -> None:
    words = [str(number) for number in range(100_000)]
    for done in both("app", "--", "sh", "-c", "echo $#", "sh", *words):
        assert done.stdout == b"100000\n", done


@pytest.mark.parametrize("pattern", ["*x", "?x"])
def test_its_memory_may_be_full_to_the_last_byte(both: Both, pattern: str) -> None:
    """Many patterns and many variables fill the memory of the program."""
    changes = [f"--unset-env={pattern}"] * 900
    variables = {f"V{number}": "1" for number in range(200)}
    python, compiled = both(*changes, "app", "--", "env", **variables)
    assert python.returncode == 0
    assert outcome(compiled) == outcome(python)


def test_more_variables_than_it_counts(both: Both) -> None:
    python, compiled = both("app", "--", "env", **{f"V{number}": "1" for number in range(5000)})
    assert python.returncode == 0
    assert outcome(compiled) == outcome(python)


def test_it_says_so_though_the_variable_is_gone(only: Callable[..., Completed]) -> None:
    done = only("--unset-env=*", "app", "--", "not-there")
    assert done.returncode == 31
    assert done.stderr.endswith(b"]: error: declined: a command that is not there\n")


def test_64_digits_name_no_image(both: Both, storage: Path) -> None:
    add_image(storage, "library/" + "0" * 64, ImageStack([b"top", b"base"]))
    python, compiled = both("0" * 64, "--", "true")
    assert python.returncode == 31
    assert outcome(compiled) == outcome(python)


def test_a_file_of_variables_in_proc(both: Both) -> None:
    """proc(5) reports the size 0 for a file that has contents."""
    file = f"--set-env0=/proc/{os.getpid()}/environ"
    python, compiled = both(file, "--unset-env=CH_*", "app", "--", "/bin/env")
    assert len(python.stdout.splitlines()) > len(ENVIRONMENT)
    assert outcome(compiled) == outcome(python)


def test_a_file_of_variables_that_is_a_fifo(compiled: Compiled, storage: Path) -> None:
    """The writer waits until a reader opens the FIFO, and it writes only once."""
    fifo = storage.parent / "fifo"
    os.mkfifo(fifo)
    for command in (compiled.stub, compiled.command):
        writer = threading.Thread(target=fifo.write_text, args=("A=1\n",))
        writer.start()
        done = start(command, ["--set-env=fifo", "app", "--", "sh", "-c", "echo $A"], storage)
        writer.join()
        assert done.stdout == b"1\n"


def test_a_bind_of_its_own_process(both: Both) -> None:
    python, compiled = both("-b", "/proc/self:/mnt", "app", "--", "cat", "/mnt/comm")
    assert python.stdout == b"cat\n"
    assert outcome(compiled) == outcome(python)


# Programs that execve(2) refuses


def elf(kind: int = 2, loader: bytes = b"", count: int = 1) -> bytes:
    """Make an ELF program for this machine with a header that looks valid: elf(5)."""
    machine = Path(BUSYBOX).read_bytes()[18:20]
    header = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<H", kind) + machine
    header += struct.pack("<IQQQIHHHHHH", 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 3 if loader else 1, 5, 120, 0, 0, len(loader), 0, 8)
    return header + segment + loader


PROGRAMS = {
    "relocatable": {"program": elf(kind=1)},
    "core": {"program": elf(kind=4)},
    "no end": {"program": elf(loader=b"/bin/busybox")},
    "no loader": {"program": elf(loader=b"/nowhere\0")},
    "a script as loader": {"program": elf(loader=b"/1\0"), "1": b"#!/bin/sh\n"},
    "a long first line": {"program": b"#!/bin/sh" + b"/" * 300},
    "a first line without an end": {"program": b"#!/bin/sh -e"},
    "nothing in the first line": {"program": b"#! \n"},
    "nothing": {"program": b""},
    "text": {"program": b"echo text\n"},
    "a directory": {},
    **{
        f"{depth} scripts": {"program": b"#!/1\n"}
        | {str(one): b"#!/%d\n" % (one + 1) for one in range(1, depth)}
        | {str(depth): b"#!/bin/true\n"}
        for depth in (3, 4, 5, 6, 7)
    },
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_a_program_that_may_not_be_one(both: Both, storage: Path, case: str) -> None:
    tree = storage / "layers" / "top" / "tree"
    for name, data in PROGRAMS[case].items():
        (tree / name).write_bytes(data)
        (tree / name).chmod(0o755)
    if not PROGRAMS[case]:
        (tree / "program").mkdir()
    for command in ("/program", "program"):
        python, compiled = both("app", "--", command, PATH="/:/bin")
        assert outcome(compiled) == outcome(python)


def test_a_name_that_a_terminal_would_obey(only: Callable[..., Completed], storage: Path) -> None:
    """The image's command has this name.  It looks like a program, but the kernel refuses it."""
    name = "\x1b]0;title\x07\n\xff"
    add_image(storage, "odd", ImageStack([b"top", b"base"], b"", [b"/" + os.fsencode(name)]))
    program = storage / "layers" / "top" / "tree" / name
    program.write_bytes(elf(count=0))
    program.chmod(0o755)
    done = only("odd")
    assert done.returncode in (31, 49)
    assert b"can't execve(2)" in done.stderr
    assert all(0x20 <= byte < 0x7F for byte in done.stderr.rstrip(b"\n"))


# A replaced storage


def test_a_storage_that_is_swapped_in_between(compiled: Compiled, storage: Path) -> None:
    """The swap happens after the check of the owner, and before the container opens the storage.

    In the container all owners except one have the same ID.
    """
    other = fill_storage(make_storage(storage.parent / "other"))
    link = storage.parent / "link"
    link.symlink_to(storage)
    log = storage.parent / "log"
    # The second openat(2) opens the sysctl for terminals; the program makes the namespaces later.
    swap = "inject=openat:signal=SIGSTOP:when=2"
    process = subprocess.Popen(
        ["strace", "-o", log, "-e", swap, compiled.command, "-s", link, "app", "--", "true"],
        env=ENVIRONMENT | {"SUNDOG_START": "compiled"},
        stderr=subprocess.PIPE,
    )
    try:
        until_it_says(log, b"--- stopped by SIGSTOP ---")
        link.unlink()
        link.symlink_to(other)
        (traced,) = children_of(process.pid)
        os.kill(traced, signal.SIGCONT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 31
    assert stderr.endswith(b"]: error: declined: a storage that was replaced\n")


def until_it_says(log: Path, text: bytes) -> None:
    """Wait until a file contains a text."""
    deadline = time.monotonic() + 60
    while not log.exists() or text not in log.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Unusual callers


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("options", ["-W -c/mnt --seccomp app", "-u0 -g0 tree"])
def test_closed_standard_files(
    compiled: Compiled, storage: Path, closed: str, options: str
) -> None:
    """Descriptors of the program get the numbers 0 to 2, but the command does not inherit them."""
    leave_accounts(storage, 0, 0)
    (storage.parent / "t").mkdir()
    found = []
    for kind in ("python", "compiled"):
        script = f'"$0" {options} -- sh -c "ls -l /proc/self/fd >/tmp/fds; exit 7" {closed}'
        done = subprocess.run(
            ["sh", "-c", script, compiled.command],
            env=ENVIRONMENT
            | {
                "TMPDIR": str(storage.parent / "t"),
                "CH_IMAGE_STORAGE": str(storage),
                "SUNDOG_START": kind,
            },
            cwd=storage.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 7
        assert b"ch-run" not in done.stderr  # but ls(1) reports its closed descriptor
        lines = (storage.parent / "t" / "fds").read_text().splitlines()
        words = [line.split()[-3:] for line in lines if "->" in line]
        found.append([(fd, re.sub(r"\d+", "N", target)) for fd, _, target in words])
    assert found[1] == found[0]


@pytest.mark.parametrize("inner", ["python", "compiled"])
@pytest.mark.parametrize("outer", ["python", "compiled"])
def test_one_in_the_other(
    compiled: Compiled, storage: Path, image: Path, outer: str, inner: str
) -> None:
    """The outer image is the host's root."""
    second = f"SUNDOG_START={inner}"
    done = start(
        compiled.command,
        ["/", "--", "env", second, compiled.command, image, "--", "sh", "-c", "id -u; ls /"],
        storage,
        {"SUNDOG_START": outer},
    )
    assert done.stderr == b""
    assert done.stdout.startswith(b"%d\nbin\n" % os.getuid())


# Hostile images

EXECUTABLES: dict[str, str | bytes] = {
    "a link": "/proc/self/exe",
    "a link by number": "/proc/thread-self/exe",
    "a script": b"#!/proc/self/exe\n",
    "a script with blanks": b"#! \t/proc/self/exe  x\n",
    "a script of a script": b"#!/bin/first\n",
    "a loader": elf(loader=b"/proc/self/exe\0"),
    "a loader by a link": elf(loader=b"/bin/exe\0"),
    "a FIFO": b"",
}


@pytest.mark.parametrize("case", EXECUTABLES)
def test_it_executes_nothing_of_the_hosts(both: Both, storage: Path, case: str) -> None:
    programs = storage / "layers" / "base" / "tree" / "bin"
    (programs / "first").write_bytes(b"#!/proc/self/exe\n")
    (programs / "first").chmod(0o755)
    (programs / "exe").symlink_to("/proc/self/exe")
    content = EXECUTABLES[case]
    if isinstance(content, str):
        (programs / "program").symlink_to(content)
    elif content:
        (programs / "program").write_bytes(content)
        (programs / "program").chmod(0o755)
    else:
        os.mkfifo(programs / "program", 0o755)
    add_image(storage, "bad", ImageStack([b"top", b"base"], b"", [b"program", b"--version"]))
    for words in (["bad"], ["app", "--", "program", "--version"], ["app", "--", "/bin/program"]):
        python, compiled = both(*words)
        assert python.returncode == 49
        assert outcome(compiled) == outcome(python)


# More descriptors than the program opens.
DESCRIPTORS = range(3, 48)


def test_no_descriptor_leads_out(only: Callable[..., Completed], storage: Path) -> None:
    """An image chooses the working directory and the file of variables, perhaps as symlinks."""
    top = storage / "layers" / "top" / "tree"
    stack = ImageStack([b"top", b"base"], b"", [b"/bin/pwd"], [], b"/way")
    image = add_image(storage, "bad", stack)
    for number in DESCRIPTORS:
        (top / "way").unlink(missing_ok=True)
        (top / "way").symlink_to(f"/proc/self/fd/{number}")
        assert b"error: declined: -c\n" in only("bad").stderr
        assert b"error: declined: -c\n" in only("-c/way/..", "app", "--", "pwd").stderr
    (image / "stack").write_bytes(pack_stack(ImageStack([b"top", b"base"], b"", [b"/bin/env"])))
    variables = image / "root" / "ch" / "environment"
    for number in (0, *DESCRIPTORS):
        variables.unlink()
        variables.symlink_to(f"/proc/self/fd/{number}")
        assert b"error: declined: a file of variables\n" in only("bad").stderr


@pytest.mark.parametrize("options", [[], ["-W"]])
def test_mount_points_that_are_descriptors(
    only: Callable[..., Completed], storage: Path, options: list[str]
) -> None:
    """The program mounts nothing on the host and nothing outside the container's root."""
    etc = storage / "layers" / "top" / "tree" / "etc"
    etc.mkdir()
    points = ["--", "busybox", "cut", "-d ", "-f5", "/proc/self/mountinfo"]
    usual = set(only(*options, "app", *points).stdout.splitlines())
    for number in DESCRIPTORS:
        (etc / "passwd").unlink(missing_ok=True)
        (etc / "passwd").symlink_to(f"/proc/self/fd/{number}")
        done = only(*options, "app", *points)
        if done.returncode:
            assert b"error: declined: /etc/passwd\n" in done.stderr
        else:
            assert set(done.stdout.splitlines()) <= usual, number
    assert os.fsencode(storage) not in Path("/proc/self/mountinfo").read_bytes()
