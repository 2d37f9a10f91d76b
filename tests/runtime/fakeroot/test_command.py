"""``sundog-fakeroot`` and ``sundog root``: options, errors, statuses, signals, the terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program, until

if TYPE_CHECKING:
    from tests.runtime.fakeroot.conftest import MockRoot


def test_mock_root(root: MockRoot) -> None:
    script = "id -u; touch f; chown 1:2 f; mknod n c 1 3; stat -c '%u %g %F' f n; pwd; echo $0"
    done = root("--", "sh", "-c", script)
    expected = f"0\n1 2 regular empty file\n0 0 character special file\n{root.directory}\nsh\n"
    assert done.stdout == expected
    assert done.stderr == ""
    assert (root.directory / "n").is_file()
    assert (root.directory / "n").stat().st_uid == os.getuid()


def test_the_environment_passes_through(root: MockRoot, ours: MockRoot) -> None:
    given = {"A": "1", "LC_ALL": "C", "SHELL": "/bin/sh"}
    for program, more in ((root, set()), (ours, {"FAKEROOTKEY"})):
        words = ["env", "-i", *(f"{name}={value}" for name, value in given.items())]
        seen = run_program([*words, *program.words, "--", "/usr/bin/env", "-0"]).stdout
        variables = dict(text.split("=", 1) for text in seen.split("\0")[:-1])
        assert {name for name in variables if name not in given} == more
        assert variables.items() >= given.items()


def test_without_a_command_the_shell_runs(ours: MockRoot, root: MockRoot) -> None:
    for program in (ours, root):
        done = subprocess.run(
            program.words,
            input=b"echo shell $0; id -u; exit 5\n",
            env=os.environ | {"SHELL": "/bin/dash"},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (5, b"shell /bin/dash\n0\n", b"")


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["sh", "-c", "exit 7"], 7, ""),
        (["sh", "-c", "kill -TERM $$"], -signal.SIGTERM, ""),
        (["no-such-program"], 127, "can't execute no-such-program: No such file or directory"),
        (["/etc/passwd"], 126, "can't execute /etc/passwd: Permission denied"),
        (["-z"], 1, "option -z is unknown"),
        (["-s"], 1, "option -s needs an argument"),
        (["--fd", "x", "true"], 1, "-b x: not the number of a descriptor"),
        (["-i", "/", "true"], 1, "can't read the state file /: Is a directory"),
        (["-s", "/no/such/x", "true"], 1, "can't save the state in /no/such/x: No such file"),
        (["-s", "", "true"], 1, "can't save the state in : No such file"),
        (["-s", "/proc/x", "true"], 1, "can't save the state in /proc/x: "),
        (["-i", "missing", "true"], 0, "warning: no such state file, so nothing is recorded"),
        (["-l", "lib", "--faked=f", "-b", "5", "true"], 0, ""),
    ],
)
def test_statuses_and_messages(ours: MockRoot, words: list[str], status: int, text: str) -> None:
    done = ours(*words, check=False)
    assert done.returncode == status
    assert text in done.stderr
    assert bool(text) == bool(done.stderr)
    assert "hint: " in done.stderr or not done.stderr or status in (0, 1)
    assert "Traceback" not in done.stderr


def test_statuses_of_sundog(root: MockRoot) -> None:
    assert root("no-such-program", check=False).returncode == 127
    assert root("/etc/passwd", check=False).returncode == 126
    failed = root("--state", "/no/such/x", "true", check=False)
    assert failed.returncode == 125
    assert failed.stderr.startswith("sundog[")
    assert root("sh", "-c", "kill -9 $$", check=False).returncode == -signal.SIGKILL


def test_help_and_version(ours: MockRoot, root: MockRoot) -> None:
    assert "--unknown-is-real" in ours("-h").stdout
    assert ours("--version").stdout.startswith("sundog-fakeroot version ")
    assert "--state FILE" in root("--help").stdout
    lines = run_program([*command("sundog"), "--help"]).stdout.splitlines()
    assert "root run a command as mock root" in [" ".join(line.split()) for line in lines]


def test_nested_calls_say_how_to_go_on(ours: MockRoot, root: MockRoot, oracle: MockRoot) -> None:
    hint = "hint: run COMMAND itself: it is mock root already\n"
    for outer, inner in ((ours, ours), (ours, oracle), (root, ours), (root, root), (oracle, ours)):
        done = outer("--", *inner.words, "true", check=False)
        assert done.returncode in (1, 125)
        if inner is not oracle:
            assert done.stderr.endswith(hint)
    # Debian's fakeroot needs no supervisor, so it works under sundog root.
    assert root("--", *oracle.words, "id", "-u").stdout == "0\n"


def test_no_user_namespaces(ours: MockRoot) -> None:
    # In a chroot, Linux allows no user namespaces.
    probe = (
        "mkdir -p t; mount --rbind / t; mount -t tmpfs x t/tmp 2>/dev/null; "
        f"exec chroot t /usr/bin/env -C / {' '.join(command('sundog-fakeroot'))} true"
    )
    done = run_program(["unshare", "-rm", "sh", "-c", probe], check=False, cwd=ours.directory)
    assert done.returncode == 1
    assert "sundog-fakeroot[" in done.stderr
    assert "can't unshare" in done.stderr or "mock root is not possible" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_state_of_sundog_root(root: MockRoot) -> None:
    first = root(
        "--state", "s", "--", "sh", "-c", "touch f; chown 1:2 f; mknod n b 7 1", check=True
    )
    assert "no such state file" in first.stderr
    root("--state", "s", "--", "chown", ":5", "f")
    shown = root("--state=s", "--", "stat", "-c", "%n %u %g %F", "f", "n")
    assert (shown.stdout, shown.stderr) == (
        "f 1 5 regular empty file\nn 0 0 block special file\n",
        "",
    )
    assert root("--", "stat", "-c", "%u", "f").stdout == "0\n"


SET_ATTRIBUTE = "import os; os.setxattr('f', 'trusted.a', b'text')"
SHOW_ATTRIBUTE = "import os; print(os.listxattr('f'), os.getxattr('f', 'trusted.a'))"


def test_attributes_and_births_are_kept(root: MockRoot) -> None:
    """The file system refuses the attributes, and an inode number is used again."""
    (root.directory / "f").touch()
    root("--state", "s", "--", sys.executable, "-c", SET_ATTRIBUTE)
    shown = root("--state", "s", "--", sys.executable, "-c", SHOW_ATTRIBUTE).stdout
    assert shown == "['trusted.a'] b'text'\n"
    root("--state", "s", "--", "sh", "-c", "touch g; chown 1 g")
    inode = (root.directory / "g").stat().st_ino
    (root.directory / "g").unlink()
    made = []
    for number in range(64):  # ext4 takes the lowest free number, tmpfs never uses one again
        made.append(root.directory / f"n{number}")
        made[-1].touch()
        if made[-1].stat().st_ino == inode:
            break
    owners = root("--state", "s", "--", "stat", "-c", "%u", *made).stdout.split()
    assert set(owners) == {"0"}


def test_a_full_disk_keeps_the_old_state(root: MockRoot, ours: MockRoot) -> None:
    script = (
        "mkdir m; mount -t tmpfs -o size=16k x m; touch m/f; cd m; "
        "printf old >state; head -c 20000 /dev/zero >filler 2>/dev/null; "
        "rc=0; " + " ".join(ours.words) + " -s state chown 1 f || rc=$?; cat state; ls; exit $rc"
    )
    done = run_program(["unshare", "-rm", "sh", "-c", script], check=False, cwd=ours.directory)
    assert done.returncode == 1
    assert "can't save the state in state: No space left on device" in done.stderr
    assert done.stdout == "oldf\nfiller\nstate\n"


def test_a_state_file_with_a_long_name(ours: MockRoot) -> None:
    name = "x" * 255
    ours("-s", name, "sh", "-c", "touch f; chown 1 f")
    assert "uid=1" in (ours.directory / name).read_text()
    assert sorted(os.listdir(ours.directory)) == ["f", name]


def test_a_state_file_behind_a_link_and_in_a_device(ours: MockRoot) -> None:
    place = ours.directory
    (place / "there").mkdir()
    (place / "link").symlink_to("there/state")
    ours("-s", "link", "sh", "-c", "touch f; chown 1 f; cd /")
    assert (place / "link").is_symlink()
    assert "uid=1" in (place / "there" / "state").read_text()
    assert "uid=1" in ours("-s", "/dev/stdout", "-i", "link", "true").stdout
    assert os.listdir(place / "there") == ["state"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("garbage\n", "line 1: not a line of fakeroot's format"),
        ("dev=1,ino=1,mode=100644,uid=0,gid=0,nlink=1,rdev=0\ndev=1\n", "line 2: "),
        (
            "dev=1,ino=-1,mode=100644,uid=0,gid=0,nlink=1,rdev=0\n",
            "line 1: ino is no number of base 10",
        ),
        (
            "dev=1,ino=1,mode=644,uid=0,gid=0,nlink=1,rdev=0\n",
            "line 1: mode 644 has no type of file",
        ),
        (
            "dev=1,ino=1,mode=100644,uid=4294967296,gid=0,nlink=1,rdev=0\n",
            "line 1: uid is too large",
        ),
        ("sundog,dev=1,ino=1,birth=3\n", "line 1: no line before it is about the same inode"),
    ],
)
def test_a_damaged_state_file(ours: MockRoot, content: str, fault: str) -> None:
    (ours.directory / "state").write_text(content)
    done = ours("-i", "state", "touch", "ran", check=False)
    assert done.returncode == 1
    assert f"damaged state file: state: {fault}" in done.stderr
    assert "hint: " in done.stderr
    assert not (ours.directory / "ran").exists()


def test_a_background_process_ends_with_the_command(ours: MockRoot) -> None:
    started = time.monotonic()
    ours("sh", "-c", "sleep 60 & echo $! >pid")
    assert time.monotonic() - started < 30
    process = (ours.directory / "pid").read_text().strip()
    until(lambda: not Path("/proc", process).exists(), "the background process lives on")


def test_signals_reach_the_command(ours: MockRoot) -> None:
    script = "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen([*ours.words, "sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.read() == b"caught\n"
    assert process.returncode == 9


def on_terminal(words: list[str], typed: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """Run a command on a terminal; type each text when the one before it has come out."""
    process, terminal = pty.fork()
    if process == 0:
        os.execvp(words[0], words)
    seen, place = b"", 0
    for awaited, text in typed:
        while awaited not in seen[place:]:
            seen += os.read(terminal, 1024)
        place = seen.index(awaited, place) + len(awaited)
        os.write(terminal, text)
    try:
        while chunk := os.read(terminal, 1024):
            seen += chunk
    except OSError:
        pass  # the last process has closed the terminal
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    return status, seen


def test_interrupts_and_jobs_on_a_terminal(ours: MockRoot, root: MockRoot) -> None:
    for program in (ours, root):
        words = [*program.words, "--", "bash", "--norc", "--noprofile", "-i"]
        status, seen = on_terminal(
            words,
            [
                (b"# ", b"PS1='-> '; echo go\n"),
                (b"\ngo\r\n", b""),
                (b"-> ", b"sh -c 'echo st''arted; exec sleep 60'\n"),
                (b"\nstarted\r\n", b"\x03"),
                (b"-> ", b"echo $?\n"),
                (b"\n130\r\n", b""),
                (b"-> ", b"sh -c 'echo st''arted; exec sleep 61'\n"),
                (b"\nstarted\r\n", b"\x1a"),
                (b"Stopped", b""),
                (b"-> ", b"jobs; kill %1; wait; id -u; exit 4\n"),
            ],
        )
        assert os.waitstatus_to_exitcode(status) == 4, seen
        assert b"\r\n0\r\n" in seen


def test_an_interrupt_ends_the_command(ours: MockRoot) -> None:
    words = [*ours.words, "sh", "-c", "echo go; exec sleep 60"]
    status, seen = on_terminal(words, [(b"go\r\n", b"\x03")])
    assert os.WTERMSIG(status) == signal.SIGINT
    assert b"Traceback" not in seen


def test_a_tracer_works(root: MockRoot) -> None:
    (root.directory / "f").touch()
    traced = root("--", "strace", "-f", "-e", "trace=fchownat", "chown", "1:2", "f")
    assert ' "f", 1, 2' in traced.stderr
    assert "= 0" in traced.stderr


def test_descriptors_pass_through(ours: MockRoot) -> None:
    script = "import os, sys; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
    expected = run_program([sys.executable, "-S", "-c", script]).stdout
    assert ours(sys.executable, "-S", "-c", script).stdout == expected
