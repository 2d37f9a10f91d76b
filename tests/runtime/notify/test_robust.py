"""Programs that could exhaust or break a supervisor; and a supervisor that fails."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.emulation.notify.seccomp.listener import SECCOMP_IOCTL_NOTIF_ADDFD, Listener
from sundog.runtime.emulation.notify.tracee.call import ANSWERED
from tests.runtime.notify.conftest import Container

if TYPE_CHECKING:
    from pathlib import Path


def test_interrupted_calls_were_not_done(busybox: Container) -> None:
    assert busybox.sh("mkdir w; cd w; exec stress signals") == "0 wrong\n"


def test_a_child_that_ends_interrupts_no_call(busybox: Container) -> None:
    assert busybox.sh("exec stress children 2000") == "0 interrupted\n"


@pytest.mark.parametrize("options", [(), ("--strict",)], ids=["", "strict"])
def test_a_file_that_another_user_makes_is_never_roots(
    busybox: Container, options: tuple[str, ...]
) -> None:
    script = "mkdir w; chmod 777 w; cd w; exec stress made 500"
    assert busybox.sh(script, *options) == "0 wrong\n"


def test_the_first_file_of_another_user_is_never_roots(busybox: Container) -> None:
    """Its name was looked for before there was another user, and the kernel may look later."""
    shown = [busybox.sh("mkdir -p w; chmod 777 w; cd w; exec stress first") for _ in range(4)]
    assert shown == ["0 wrong\n"] * 4


def test_starts_of_set_id_programs_among_signals(busybox: Container) -> None:
    """Each is told that it is one, or its execve fails; nothing waits, and no process is left."""
    made = (
        "cp /bin/stress s; printf '\\177ELF' >bad; chown 107 s bad; chmod 4755 s bad; chmod 777 ."
    )
    assert busybox.sh(f"mkdir w; cd w; {made}; exec stress starts 40 ./s ./bad") == "0 wrong\n"


@pytest.mark.parametrize("timer", [signal.SIGPROF, signal.SIGVTALRM])
def test_a_timer_of_cpu_time_interrupts_no_call(busybox: Container, timer: signal.Signals) -> None:
    """A profiler's handler without SA_RESTART: such a timer stands still in a call that waits."""
    assert busybox.sh(f"exec stress prodded {timer:d}") == "0 interrupted\n"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the machine runs no i386 programs")
def test_handlers_of_32_bit_programs(busybox: Container) -> None:
    """Calls start again after SIGCHLD, but not after SIGALRM."""
    shown = busybox.sh(f"stress narrow {signal.SIGCHLD:d}; stress narrow {signal.SIGALRM:d}")
    assert shown == "restarts: 1\nrestarts: 0\n"


def test_signals_at_the_supervisor_cost_no_answer(busybox: Container) -> None:
    # The supervisor makes d/g itself, and gives a descriptor to the caller.
    script = "mkdir w; cd w; : >f; chown 5:6 f; mkdir d; chown 0:7 d; chmod g+s d; echo x >d/g"
    shown = "id -u; stat -c %u:%g f d/g .; cat d/g"
    done = busybox.run("sh", "-c", f"{script}; {shown}", options=("--interrupt",))
    assert done.stdout == "0\n5:6\n0:7\n0:0\nx\n"
    assert done.stderr == ""


def test_reply_with_a_descriptor_that_was_interrupted_late_is_the_only_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures = [InterruptedError(errno.EINTR, ""), BlockingIOError(errno.EINPROGRESS, "")]

    def ioctl(_: int, request: int, __: object) -> None:
        if request == SECCOMP_IOCTL_NOTIF_ADDFD:
            raise failures.pop(0)

    monkeypatch.setattr("sundog.runtime.emulation.notify.seccomp.listener.ioctl", ioctl)
    reading, writing = os.pipe()
    try:
        assert Listener(reading).reply_with_descriptor(writing, 0) == ANSWERED
    finally:
        os.close(reading)
        os.close(writing)
    assert not failures


# The kernel uses process IDs again after a few hundred, if it has a limit per namespace.
SMALL = "echo 400 2>/dev/null >/proc/sys/kernel/pid_max; exec "


def test_a_fifo_in_place_of_the_device_is_not_opened(busybox: Container) -> None:
    """Opening it would wait for a reader for ever."""
    script = "mknod null c 1 3; mount -t tmpfs none /dev; mkfifo /dev/null"
    assert busybox.sh(f"{script}; echo x >null; umount /dev; wc -c <null") == "0\n"


def test_a_fifo_in_place_of_limits_is_not_opened(busybox: Container) -> None:
    """The supervisor reads the file to learn whose the other files of a process are."""
    script = "mkfifo f; mount -o bind f /proc/$$/limits; stat -c %u:%g /proc/$$/status"
    done = busybox.run("sh", "-c", script, timeout=30)
    assert done.stdout == "0:0\n"


def test_a_link_called_status_shows_its_target(busybox: Container) -> None:
    assert busybox.sh("ln -s /proc/self/comm status; read x <status; echo $x") == "sh\n"


@pytest.mark.slow
def test_short_lives_leave_nothing_to_those_who_get_their_numbers(busybox: Container) -> None:
    within = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "sh", "-c")
    done = busybox.run(
        *("sh", "-c", "mkdir w; cd w; exec stress short 3000"), within=(*within, f'{SMALL}"$@"', "")
    )
    assert done.stdout == "0 wrong\n"


@pytest.mark.slow
def test_fork_bomb_ends_at_the_limit(busybox: Container) -> None:
    done = busybox.run("sh", "-c", "cd tmp; exec stress bomb 3")
    assert done.stdout == "refused: 1, 0 wrong\n"


SOURCE = '#include <stdio.h>\n#include <stdlib.h>\nint main(void) { return puts("x") < 0; }\n'


@pytest.mark.slow
def test_64_compilers_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text(SOURCE)
    script = f"""
        cd {tmp_path} || exit
        for i in $(seq 64); do
            {{ mkdir $i && cc -O2 -o $i/x x.c && chown $i:$((i + 1)) $i/x && $i/x; }} &
        done
        wait
        stat -c '%u:%g' */x | sort -n
    """
    printed = Container(["/"]).sh(script).splitlines()
    assert printed == ["x"] * 64 + [f"{i}:{i + 1}" for i in range(1, 65)]


def test_failing_handler_leaves_the_call_to_the_kernel(busybox: Container) -> None:
    script = "echo >f; chown 5:6 f; echo $?; stat -c %u:%g f; id -u; echo still there"
    done = busybox.run("sh", "-c", script, options=("--fault",), check=False)
    assert done.stdout == "1\n0:0\n0\nstill there\n"
    assert "notify: chown: RuntimeError('injected') at" in done.stderr
    assert done.returncode == 125  # the sandbox returns 125 after incidents


def test_incidents_are_all_counted_but_few_are_told(busybox: Container) -> None:
    script = "i=0; echo >f; while [ $i -lt 300 ]; do chown 5 f 2>/dev/null; i=$((i + 1)); done"
    done = busybox.run("sh", "-c", script, options=("--fault", "--stats"), check=False)
    told = [line for line in done.stderr.splitlines() if "injected" in line]
    assert 0 < len(told) < 100
    assert "notify: the supervisor could not answer 300 calls" in done.stderr


def test_many_files_in_one_directory(busybox: Container, tmp_path: Path) -> None:
    script = "mkdir w; cd w; i=0; while [ $i -lt 3000 ]; do : >$i; i=$((i + 1)); done"
    overlay = busybox.on_overlay(tmp_path / "overlay")
    overlay.sh(f"{script}; chown -R 5:6 .")
    after = overlay.next_layer(tmp_path / "next")
    assert after.sh("find w ! -user 5 | wc -l; find w | wc -l").split() == ["0", "3001"]
