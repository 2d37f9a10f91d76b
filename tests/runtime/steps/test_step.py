from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.base.kernel.libc import libc_call
from sundog.errors import KernelError, SundogError
from sundog.runtime.container.root import DirectoryRoot, OverlayRoot
from sundog.runtime.steps.command import Step, StepOptions
from sundog.runtime.steps.mounts import TreeMount
from sundog.runtime.steps.step import guarded, in_root, pid_namespace_obstacle, run_step

if TYPE_CHECKING:
    from collections.abc import Sequence

PATH = {b"PATH": b"/bin"}


@pytest.fixture(params=["own_pids", "adopted"])
def own_pids(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "own_pids")


def root_of(tree: Path) -> DirectoryRoot:
    return DirectoryRoot(os.fsencode(tree))


def shell(
    tree: Path,
    script: str,
    *,
    own_pids: bool = True,
    binds: Sequence[tuple[bytes, bytes, bool]] = (),
    **more: object,
) -> tuple[int, str]:
    """Run ``script`` as a step in ``tree``; return its status and its output."""
    output = tree.parent / "output"
    with output.open("wb") as file:
        step = Step(
            root_of(tree),
            [b"sh", b"-c", script.encode()],
            PATH,
            b"/",
            StepOptions(binds=binds, stdout=file.fileno(), stderr=file.fileno()),
            **more,  # type: ignore[arg-type]
        )
        status, _ = guarded(step, own_pids=own_pids)
    return status, output.read_text()


def test_status_and_output_come_back(busybox_tree: Path, own_pids: bool) -> None:
    assert shell(busybox_tree, "echo out; exit 7", own_pids=own_pids) == (7, "out\n")


def test_death_by_a_signal_comes_back_as_such(busybox_tree: Path, own_pids: bool) -> None:
    assert shell(busybox_tree, "kill -USR1 $$", own_pids=own_pids) == (-signal.SIGUSR1, "")


def test_nothing_survives_the_command(busybox_tree: Path, own_pids: bool) -> None:
    # The child has closed everything and left the session: only a kill can stop it.
    script = "setsid sh -c 'while :; do :; done' <&- >&- 2>&- & echo $!"
    marker = f"survivor-{os.getpid()}-{own_pids}"
    status, _ = shell(
        busybox_tree, script.replace("while", f": {marker}; while"), own_pids=own_pids
    )
    assert status == 0
    alive = subprocess.run(["pgrep", "-f", marker], capture_output=True, check=False)
    assert alive.stdout == b""


def test_a_mount_over_proc_stops_no_process_of_sundog(
    busybox_tree: Path, tmp_path: Path, own_pids: bool
) -> None:
    """Python looks at /proc/self/stat when it forks; here that waits for ever."""
    (tmp_path / "own/self").mkdir(parents=True)
    os.mkfifo(tmp_path / "own/self/stat")
    binds = [(os.fsencode(tmp_path / "own"), b"/proc", False)]
    with pytest.raises(KernelError, match="/proc/self/uid_map"):
        shell(busybox_tree, "echo out", own_pids=own_pids, binds=binds)


def test_orphans_of_orphans_do_not_survive(busybox_tree: Path, own_pids: bool) -> None:
    seconds = 10_000 + os.getpid()  # no other process has it
    sleepers = f"sleep {seconds} & sleep {seconds} & wait"
    script = f"for i in 1 2 3 4 5; do (setsid sh -c '{sleepers}' &) ; done; true"
    status, _ = shell(busybox_tree, script, own_pids=own_pids)
    assert status == 0
    alive = subprocess.run(
        ["pgrep", "-U", str(os.getuid()), "-fx", f"sleep {seconds}"],
        capture_output=True,
        check=False,
    )
    assert alive.stdout == b""


def test_a_late_write_never_happens(busybox_tree: Path) -> None:
    status, _ = shell(busybox_tree, "(sleep 5; echo late >/late) & true")
    assert status == 0
    # Every process that could write is dead by now; the tests above prove that.
    assert not (busybox_tree / "late").exists()


def test_proc_shows_the_step_alone(busybox_tree: Path) -> None:
    assert shell(busybox_tree, "cd /proc; echo [0-9]*; echo $$") == (0, "1 2\n2\n")


def test_pid_namespaces_refused_is_no_obstacle(busybox_tree: Path) -> None:
    """A site sets user.max_pid_namespaces to 0; here the test does so in its own user namespace."""
    script = textwrap.dedent("""
        import os, sys
        from sundog.runtime.container.enter import enter_namespaces
        from sundog.runtime.container.root import DirectoryRoot
        from sundog.runtime.steps.step import run_step
        from sundog.runtime.steps.command import Step
        enter_namespaces(0, 0)
        with open("/proc/sys/user/max_pid_namespaces", "w") as limit:
            limit.write("0")
        argv = [b"sh", b"-c", b"sleep 1000 & exit 3"]
        step = Step(DirectoryRoot(os.fsencode(sys.argv[1])), argv, {b"PATH": b"/bin"}, b"/")
        assert run_step(step) == 3
    """)
    subprocess.run([sys.executable, "-c", script, busybox_tree], check=True, timeout=60)


MASKED_PROC = """
import os, sys
from sundog.base.kernel.mounts import MS_BIND, mount
from sundog.runtime.container.enter import enter_namespaces
from sundog.runtime.container.root import DirectoryRoot
from sundog.runtime.steps.command import Step
from sundog.runtime.steps.step import (
    PidNamespaceRefused, guarded, pid_namespace_obstacle, run_step
)
enter_namespaces(0, 0)
mount(b"/dev/null", b"/proc/version", None, MS_BIND, None)
argv = [b"sh", b"-c", b"sleep 1003 & exit 3"]
step = Step(DirectoryRoot(os.fsencode(sys.argv[1])), argv, {b"PATH": b"/bin"}, b"/")
try:
    guarded(step, own_pids=True)
except PidNamespaceRefused as error:
    print(error, "/", pid_namespace_obstacle())
assert run_step(step) == 3
"""


def test_a_masked_proc_is_no_obstacle(busybox_tree: Path) -> None:
    """bwrap and others leave /proc like this: the kernel then refuses a new one."""
    done = subprocess.run(
        [sys.executable, "-c", MASKED_PROC, busybox_tree],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    first, second = done.stdout.strip().split(" / ")
    assert "mount proc" in first
    assert second.startswith("can't mount proc")
    assert second.endswith("Operation not permitted")
    alive = subprocess.run(
        ["pgrep", "-U", str(os.getuid()), "-fx", "sleep 1003"], capture_output=True, check=False
    )
    assert alive.stdout == b""


def test_a_pid_namespace_is_possible() -> None:
    assert pid_namespace_obstacle() == ""


def test_an_interrupt_that_is_ignored_stays_so(busybox_tree: Path) -> None:
    """A script's & ignores SIGINT and SIGQUIT; so the command of a build does, too."""
    inherited = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _, output = shell(busybox_tree, "exec grep SigIgn /proc/self/status")
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert int(output.split()[1], 16) >> signal.SIGINT - 1 & 1


def test_the_working_directory_is_made(busybox_tree: Path) -> None:
    step = Step(root_of(busybox_tree), [b"sh", b"-c", b"test $PWD = /a/b"], PATH, b"/a/b")
    assert run_step(step) == 0
    assert (busybox_tree / "a" / "b").is_dir()


def test_a_working_directory_may_be_deep(busybox_tree: Path) -> None:
    path = b"/d" * 1500
    step = Step(root_of(busybox_tree), [b"sh", b"-c", b"pwd | wc -c"], PATH, path)
    assert run_step(step) == 0
    subprocess.run(["rm", "-r", busybox_tree / "d"], check=True)


def test_stdin_is_empty(busybox_tree: Path) -> None:
    assert shell(busybox_tree, "cat; readlink /proc/self/fd/0") == (0, "/dev/null\n")


def test_the_commands_signals_are_ordinary(busybox_tree: Path) -> None:
    none = "0000000000000000"
    inherited = signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # nohup ignores it
    # The shell itself ignores SIGQUIT; exec makes the program's own state visible.
    _, output = shell(busybox_tree, "trap - QUIT; exec grep -E 'Sig(Ign|Blk)' /proc/self/status")
    signal.signal(signal.SIGQUIT, inherited)
    assert output.split() == ["SigBlk:", none, "SigIgn:", none]


def test_the_command_has_the_standard_descriptors_alone(busybox_tree: Path, own_pids: bool) -> None:
    """This holds for all descriptors of this process, inheritable or not."""
    with Path(os.devnull).open("rb") as ours:
        kinds = [fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC] * 5
        more = [fcntl.fcntl(ours, kind, 200) for kind in kinds]  # numbers that are free
        _, output = shell(
            busybox_tree, "for fd in /proc/$$/fd/*; do readlink $fd; done", own_pids=own_pids
        )
        for fd in more:
            os.close(fd)
    null, *pipes = output.splitlines()
    assert null == "/dev/null"
    assert [pipe.partition(":")[0] for pipe in pipes] == ["pipe", "pipe"]


def test_the_processes_above_cannot_be_looked_into(busybox_tree: Path, own_pids: bool) -> None:
    script = "cd /proc/$PPID; cat cmdline environ mem; for x in fd root cwd; do ls $x/; done"
    _, output = shell(busybox_tree, script, own_pids=own_pids)
    assert output.replace("\0", "").count("ermission denied") == 5 == output.count("\n")
    _, output = shell(busybox_tree, "kill -9 $PPID", own_pids=own_pids)
    assert "ermi" in output


def test_devices_are_few_and_terminals_are_none(busybox_tree: Path) -> None:
    _, output = shell(busybox_tree, "ls /dev /dev/pts /dev/shm; : > /dev/tty")
    shown = set(output.split("/dev/pts:")[0].split())
    assert {"null", "zero", "full", "random", "urandom", "fd", "pts", "shm", "ptmx"} <= shown
    assert not [name for name in shown if name.startswith(("tty1", "sd", "vd", "mem", "console"))]
    assert output.endswith("/dev/pts:\nptmx\n\n/dev/shm:\n") or "No such device" in output


def test_what_is_printed_arrives_where_it_is_to(busybox_tree: Path, tmp_path: Path) -> None:
    """In one pipe, and so in order, if both streams lead to one file; otherwise in two."""
    script = "for i in 1 2 3; do echo o$i; echo e$i >&2; done; (sleep 1000 &)"
    assert shell(busybox_tree, script) == (0, "o1\ne1\no2\ne2\no3\ne3\n")
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        step = Step(
            root_of(busybox_tree),
            [b"sh", b"-c", script.encode()],
            PATH,
            b"/",
            StepOptions(stdout=out.fileno(), stderr=err.fileno()),
        )
        assert run_step(step) == 0
    assert (tmp_path / "out").read_text() == "o1\no2\no3\n"
    assert (tmp_path / "err").read_text() == "e1\ne2\ne3\n"


def test_much_is_printed(busybox_tree: Path) -> None:
    status, output = shell(busybox_tree, "yes 0123456789abcde | head -c 20000000")
    assert (status, len(output)) == (0, 20_000_000)


def test_mounts_cannot_be_undone(busybox_tree: Path, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    mount = TreeMount(DirectoryRoot(os.fsencode(tmp_path / "context")), b"", b"/context")
    script = """
        for path in /context /sys /etc/hosts; do mount -o remount,bind,rw $path; done
        for path in /context /sys /dev /proc /etc/hosts /dev/null; do umount $path; done
        echo x > /context/written; mkdir /sys/x; unshare -Urm mount -o remount,bind,rw /context
        echo x > /context/written
    """
    shell(busybox_tree, script, mounts=[mount])
    assert os.listdir(tmp_path / "context") == []
    assert shell(busybox_tree, "umount /dev; ls /dev/null", mounts=[mount])[1].endswith("null\n")


def test_command_that_cannot_run_is_an_error_of_ours(busybox_tree: Path) -> None:
    step = Step(root_of(busybox_tree), [b"/no/such"], PATH, b"/")
    with pytest.raises(SundogError, match=r"can't execve\(2\): /no/such: No such file"):
        run_step(step)


def test_a_working_directory_that_cannot_be_is_an_error_of_ours(busybox_tree: Path) -> None:
    step = Step(root_of(busybox_tree), [b"true"], PATH, b"/bin/busybox/sub")
    with pytest.raises(SundogError, match="can't cd to /bin/busybox/sub: Not a directory"):
        run_step(step)


def test_missing_root_is_an_error_of_ours(tmp_path: Path) -> None:
    step = Step(root_of(tmp_path / "none"), [b"true"], PATH, b"/")
    with pytest.raises(SundogError, match="No such file or directory"):
        run_step(step)


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param("rm -f etc/resolv.conf", id="missing"),
        pytest.param("ln -sf ../run/none/stub.conf etc/resolv.conf", id="dangling"),
        pytest.param("ln -sf /etc/passwd etc/resolv.conf", id="absolute symlink"),
        pytest.param("ln -sf resolv.conf etc/resolv.conf", id="loop"),
    ],
)
def test_host_network_files_are_seen_and_leave_no_trace(busybox_tree: Path, prepare: str) -> None:
    subprocess.run(["sh", "-c", prepare], cwd=busybox_tree, check=True)
    before = sorted(
        (entry.name, os.readlink(entry) if entry.is_symlink() else entry.read_bytes())
        for entry in (busybox_tree / "etc").iterdir()
    )
    _, output = shell(busybox_tree, "cat /etc/resolv.conf")
    assert output == Path("/etc/resolv.conf").read_text()
    after = sorted(
        (entry.name, os.readlink(entry) if entry.is_symlink() else entry.read_bytes())
        for entry in (busybox_tree / "etc").iterdir()
    )
    assert after == before


def test_host_network_files_cannot_be_changed(busybox_tree: Path) -> None:
    status, output = shell(busybox_tree, "echo x >> /etc/hosts")
    assert status
    assert "Read-only file system" in output or "Permission denied" in output


def test_binds_are_made_for_the_step_only(busybox_tree: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("host\n")
    binds = [(os.fsencode(tmp_path / "data"), b"/new/deep/place", False)]
    script = "cat /new/deep/place/file; touch /kept; >/new/deep/place/file || echo refused"
    _, output = shell(busybox_tree, f"({script}) 2>/dev/null", binds=binds)
    assert output == "host\nrefused\n"
    assert (busybox_tree / "kept").exists()
    assert not (busybox_tree / "new").exists()


def test_tmp_is_the_images_own(busybox_tree: Path) -> None:
    shell(busybox_tree, "echo mine > /tmp/mine")
    assert (busybox_tree / "tmp/mine").read_text() == "mine\n"


def test_root_is_emulated_on_demand(busybox_tree: Path) -> None:
    assert shell(busybox_tree, "touch /f; chown 5:6 /f", seccomp=True) == (0, "")
    status, output = shell(busybox_tree, "chown 5:6 /f")
    assert status
    assert "Invalid argument" in output


def test_syncs_are_faked_on_demand(busybox_tree: Path) -> None:
    # No file system answers syncfs(2) for a file descriptor that is not open.
    for fake_sync, expected in ((True, 0), (False, -errno.EBADF)):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            from sundog.base.kernel.process import set_no_new_privs
            from sundog.runtime.emulation.filter import install_fake_root

            set_no_new_privs()
            install_fake_root(fake_sync=fake_sync)
            os.write(writer, b"%d" % libc_call("syncfs", -1))
            os._exit(0)
        os.waitpid(pid, 0)
        assert int(os.read(reader, 20)) == expected
        os.close(reader)
        os.close(writer)


KILLED = """
import os, sys
from sundog.runtime.container.root import DirectoryRoot
from sundog.runtime.steps.mounts import TreeMount
from sundog.runtime.steps.step import guarded
from sundog.runtime.steps.command import Step
argv = [b"sh", b"-c", b"echo started; exec sleep " + sys.argv[3].encode()]
step = Step(DirectoryRoot(os.fsencode(sys.argv[1])), argv, {b"PATH": b"/bin"}, b"/")
guarded(step, own_pids=sys.argv[2] == "True")
"""


@pytest.mark.parametrize("signo", [signal.SIGKILL, signal.SIGINT], ids=["KILL", "INT"])
def test_the_builders_death_ends_the_command(
    busybox_tree: Path, own_pids: bool, signo: int
) -> None:
    seconds = str(20_000 + os.getpid())  # no other process has it
    builder = subprocess.Popen(
        [sys.executable, "-c", KILLED, busybox_tree, str(own_pids), seconds],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert builder.stdout
    with builder.stdout as output:
        assert output.readline() == b"started\n"
        builder.send_signal(signo)
        assert output.read() == b""
    assert builder.wait(60) != 0
    deadline = time.monotonic() + 30
    sleeper = ["pgrep", "-U", str(os.getuid()), "-fx", f"sleep {seconds}"]
    while subprocess.run(sleeper, capture_output=True, check=False).stdout:
        assert time.monotonic() < deadline, "the command is still there"
        time.sleep(0.01)


def test_in_root_is_mock_root_with_the_tree(busybox_tree: Path) -> None:
    (busybox_tree / "closed").mkdir(mode=0)

    def look(roots: list[int]) -> tuple[int, list[str]]:
        return os.getuid(), os.listdir(os.open("closed", os.O_RDONLY, dir_fd=roots[0]))

    assert in_root([root_of(busybox_tree)], look) == (0, [])
    (busybox_tree / "closed").chmod(0o755)


def test_in_root_merges_layers_and_writes_to_the_upper(tmp_path: Path) -> None:
    for name in ("low/a", "high/b", "upper", "work", "other/c"):
        (tmp_path / name).mkdir(parents=True)
    overlay = OverlayRoot(os.fsencode(tmp_path), [b"high", b"low"], b"upper", b"work")

    def change(roots: list[int]) -> list[list[str]]:
        os.mkdir("new", dir_fd=roots[0])
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir("new", dir_fd=roots[1])
        return [sorted(os.listdir(root)) for root in roots]

    assert in_root([overlay, root_of(tmp_path / "other")], change) == [["a", "b", "new"], ["c"]]
    assert os.listdir(tmp_path / "upper") == ["new"]


def test_in_root_raises_what_the_function_raises(tmp_path: Path) -> None:
    def fail(_roots: list[int]) -> None:
        raise SundogError("what", "a hint")

    with pytest.raises(SundogError, match="what") as caught:
        in_root([root_of(tmp_path)], fail)
    assert caught.value.hint == "a hint"


def test_in_root_killed_is_one_clear_error(tmp_path: Path) -> None:
    def die(_roots: list[int]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(SundogError, match="was killed by signal 9"):
        in_root([root_of(tmp_path)], die)
