"""The fast path inside programs: it gives the answers of the supervisor, and is not to be seen."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from sundog.base.kernel.namespaces import CLONE_NEWNS
from sundog.runtime.container.fast_path import SWITCHED_OFF, SWITCHED_ON, wanted_library
from sundog.runtime.emulation.bpf import SECCOMP_RET_ALLOW
from sundog.runtime.emulation.notify.seccomp.fast_path import (
    FAST_CALLS,
    FAST_PLACE,
    FAST_POINTER,
    LIBRARY_PLACE,
    MACHINES,
    PAGE_PLACE,
)
from sundog.runtime.emulation.notify.seccomp.program import (
    SECCOMP_RET_USER_NOTIF,
    conditional_calls,
    notify_program,
)
from sundog.runtime.emulation.notify.state.page import PAGE_MAGIC, PAGE_SIZE
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_I386, NOTIFY_X86_64
from sundog.runtime.emulation.notify.tracee.tag import RLIMIT_LOCKS
from tests.runtime.emulation.bpf_interpreter import Program, SeccompData
from tests.runtime.notify.conftest import HERE, with_programs
from tests.runtime.notify.record import EXPECTED
from tests.runtime.notify.table import ROWS, row_script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.notify.conftest import Container
    from tests.runtime.notify.table import Row

FAST = ("--fast",)

# What the program does, and what others see of the files meanwhile and afterwards.
MISUSED = """mkdir -p /w; cd /w; : >owned; chown 5:6 owned; : >plain
while stat -c %u:%g owned; [ ! -e end ]; do :; done >seen & misuse {how}; : >end; wait
sort -u seen; stat -c %u:%g owned plain; chown 7:8 plain; stat -c %u:%g owned plain
find . -name "new*" ! -user 0
"""
RIGHT = ["5:6", "5:6", "0:0", "5:6", "7:8"]

needs_library = pytest.mark.skipif(
    os.uname().machine not in MACHINES, reason="the machine has no fast path"
)


def data(number: int, pointer: int, args: tuple[int, ...], arch: int) -> SeccompData:
    return SeccompData(number, arch, (*args, *(0,) * (6 - len(args))), pointer)


def test_the_filter_knows_one_instruction_for_the_printed_calls() -> None:
    """Never for a call that changes an identity, the tag, the root directory or mounts."""
    plain = Program(notify_program(NOTIFY_X86_64))
    fast = Program(notify_program(NOTIFY_X86_64, fast_path=True))
    arch, tagged = NOTIFY_X86_64.arch, (RLIMIT_LOCKS, RLIMIT_LOCKS, 1)
    changed = set()
    for number in range(600):
        for args in ((), tagged, (0, os.O_RDWR, os.O_RDWR), (CLONE_NEWNS, CLONE_NEWNS)):
            before = plain.run(data(number, FAST_POINTER, args, arch))
            after = fast.run(data(number, FAST_POINTER, args, arch))
            for pointer in (FAST_POINTER - 1, FAST_POINTER + 1, FAST_POINTER & 0xFFFFFFFF, 0):
                elsewhere = fast.run(data(number, pointer, args, arch))
                assert elsewhere.verdict == before.verdict, number
            if after.verdict != before.verdict:
                assert before.verdict == SECCOMP_RET_USER_NOTIF
                assert after.verdict == SECCOMP_RET_ALLOW
                changed.add(number)
            elif before.verdict != SECCOMP_RET_USER_NOTIF:
                # What the kernel knows of calls that are always allowed stays the same.
                assert after.loads == before.loads, number
    assert changed == {NOTIFY_X86_64.numbers[call] for call in FAST_CALLS}
    forbidden = {
        *("setrlimit", "prlimit64", "setns", "chroot", "pivot_root", "mount", "umount2"),
        *("unshare", "clone", "setuid", "setgroups", "capset", "prctl", "execveat"),
    }
    assert not forbidden & {*FAST_CALLS}
    assert "getrlimit" in conditional_calls(NOTIFY_X86_64)


def test_a_32_bit_call_has_no_fast_path() -> None:
    fast = Program(notify_program(NOTIFY_X86_64, fast_path=True))
    plain = Program(notify_program(NOTIFY_X86_64))
    for number in range(600):
        call = data(number, FAST_POINTER, (), NOTIFY_I386.arch)
        assert fast.run(call).verdict == plain.run(call).verdict


@needs_library
def test_the_library_is_what_filter_and_supervisor_expect() -> None:
    path = wanted_library(SWITCHED_ON, strict=False)
    assert path, "without a C compiler at installation there is none"
    assert wanted_library(SWITCHED_ON, strict=True) == b""
    for unset in (None, b""):
        assert wanted_library(unset, strict=False) == b""
        assert wanted_library(unset, strict=False, by_default=True) == path
    assert wanted_library(SWITCHED_OFF, strict=False, by_default=True) == b""
    with open(path, "rb") as file:
        contents = file.read()
    after = FAST_POINTER - LIBRARY_PLACE
    assert contents[after - 2 : after + 1] == b"\x0f\x05\xc3"  # syscall; ret
    assert contents.count(b"\x0f\x05\xc3") == 1
    assert FAST_PLACE < FAST_POINTER < PAGE_PLACE
    page = PAGE_PLACE - LIBRARY_PLACE
    assert contents[page : page + len(PAGE_MAGIC)] == PAGE_MAGIC
    assert f"PAGE_SIZE {PAGE_SIZE:#x}\n" in (HERE / "programs" / "library.h").read_text()
    shown = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True, check=True)
    assert "(NEEDED)" not in shown.stdout
    assert "TEXTREL" not in shown.stdout


@needs_library
@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.base == "debian" and not row.strict],
    ids=lambda row: row.name,
)
def test_prints_what_it_prints_for_real_root(row: Row, debian: Container) -> None:
    assert debian.sh(row_script(row), *FAST) == (EXPECTED / f"{row.name}.txt").read_text()


# Files of other users; one stands for a device.
RECORDED = """
    : >owned; chmod 640 owned; chown 5:6 owned; ln -s owned link; chown -h 9 link
    mknod null c 1 3; chown 7 null
"""


@needs_library
@pytest.mark.parametrize("script", ["hurried calls 1000", f"{RECORDED}hurried recorded 1000"])
def test_most_calls_ask_nobody(dynamic: Container, script: str) -> None:
    def notified(*options: str) -> int:
        place = f"mkdir /w{len(options)}; cd /w{len(options)}; {script}"
        done = dynamic.run("sh", "-c", place, options=("--stats", *options))
        assert done.stdout == "ok\n"
        found = [line for line in done.stderr.splitlines() if "notifications" in line]
        return int(found[0].split()[1])

    plain, fast = notified("--no-fast"), notified(*FAST)
    assert plain > 9_000
    assert fast < plain / 20


@needs_library
def test_a_file_with_the_number_of_an_earlier_one_is_roots(dynamic: Container) -> None:
    assert dynamic.sh("hurried reuse 300", *FAST) == "0 wrong\n"


HOSTILE = ("calls", "write", "cover", "move", "reuse", "identity", "die", "poke")


@needs_library
@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_program_deceives_itself_alone(dynamic: Container, how: str) -> None:
    """Another process gets the right answers meanwhile, and afterwards."""
    done = dynamic.run("sh", "-c", MISUSED.format(how=how), options=FAST)
    assert done.stdout.splitlines() == ["done", *RIGHT]


@needs_library
def test_a_static_program_deceives_itself_alone(busybox: Container) -> None:
    """It needs no library to make calls from the instruction's address."""
    done = busybox.run("sh", "-c", MISUSED.format(how="plant"), options=FAST)
    assert done.stdout.splitlines() == ["done", *RIGHT]


@needs_library
def test_a_program_that_writes_the_page_deceives_its_own_container_alone(
    dynamic: Container, tmp_path: Path
) -> None:
    """It may mount things, as over any other file.  The records are the supervisor's."""
    prepare = "mkdir /w; cd /w; : >owned; chown 5:6 owned"
    assert dynamic.sh(f"{prepare}; misuse remount; chown 7:8 owned", *FAST) == "done\n"
    later = dynamic.next_layer(tmp_path / "later")
    assert later.sh("stat -c %u:%g /w/owned", *FAST) == "7:8\n"


@needs_library
def test_a_container_that_gets_the_file_of_another_one_deceives_itself_alone(
    debian_layer: Container, dynamic_programs: Path, tmp_path: Path
) -> None:
    name = f"fast-path-{os.getpid()}"
    one, other = (
        with_programs(debian_layer.on_overlay(tmp_path / name), dynamic_programs)
        for name in ("one", "other")
    )
    argv = one.argv("sh", "-c", MISUSED.format(how=f"give {name}"), options=FAST)
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, cwd=CHECKOUT, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "ready\n"
        took = other.sh(MISUSED.format(how=f"take {name}"), *FAST).splitlines()
        output, _ = process.communicate()
    assert took == ["done", *RIGHT]
    assert output.splitlines() == ["done", *RIGHT]


@needs_library
def test_a_container_knows_nothing_of_another_one(debian_layer: Container, tmp_path: Path) -> None:
    """They have the same lower layer, and so the same inode numbers."""
    one, other = (debian_layer.on_overlay(tmp_path / name) for name in ("one", "other"))
    script = "chown 5:6 /etc/passwd; stat -c %u:%g /etc/passwd; read line"
    argv = one.argv("sh", "-c", script, options=FAST)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, cwd=CHECKOUT, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "5:6\n"
        look = "stat -c %u:%g /etc/passwd; chown 7 /etc/group; stat -c %u:%g /etc/passwd /etc/group"
        assert other.sh(look, *FAST).split() == ["0:0", "0:0", "7:0"]
        process.communicate("\n")
    assert process.returncode == 0


@needs_library
def test_programs_that_can_not_bear_the_library_do_without(dynamic: Container) -> None:
    # While a process has another identity, the library asks for the process's own.
    prepare = "mkdir /w; cd /w; : >plain; misuse identity"
    shown = dynamic.sh(f"{prepare}; hurried loaded; checked loaded; hurried filter", *FAST)
    assert shown.splitlines() == ["done", "loaded", "not loaded", "ok", "not loaded"]


@needs_library
def test_a_program_that_uses_none_of_the_functions_starts_without_the_library(
    dynamic: Container,
) -> None:
    """As soon as the C library is there, one that is preloaded is there, too."""
    script = """
        mkfifo f; for run in "sleep 600" "cat f"; do
            $run & name=${run% *}
            until grep -q ^$name /proc/$!/comm && grep -q libc.so /proc/$!/maps; do :; done
            grep -c fast-path /proc/$!/maps; kill $!
        done
    """
    assert [count != "0" for count in dynamic.sh(script, *FAST).split()] == [False, True]


@needs_library
def test_a_program_that_writes_a_title_over_its_environment_hands_none_of_it_on(
    dynamic: Container,
) -> None:
    assert dynamic.sh("hurried title /usr/bin/env", *FAST) == ""


@needs_library
def test_a_child_of_threads_waits_for_no_lock_of_the_loader(dynamic: Container) -> None:
    assert dynamic.sh("forked", *FAST) == "No such file or directory\n"


@needs_library
def test_a_file_that_is_made_for_another_user_never_seems_roots(dynamic: Container) -> None:
    script = "mkdir -m 777 /w; cd /w; hurried race 2000"
    assert dynamic.sh(script, *FAST) == "0 wrong\n"


@needs_library
def test_a_user_namespace_has_ids_of_its_own(dynamic: Container) -> None:
    script = ": >plain; stat -c %u plain; unshare -U stat -c %u plain; stat -c %u plain"
    assert dynamic.sh(script, *FAST).split() == ["0", "65534", "0"]


@needs_library
def test_no_program_sees_the_variable_or_a_message(dynamic: Container) -> None:
    """Children have the library all the same, unless their root directory lacks it."""
    loaded = "grep -c fast-path /proc/self/maps"
    script = f"""
        exec 2>&1; env | grep -c PRELOAD; perl -e 'print exists $ENV{{LD_PRELOAD}} ? 1 : 0, "\\n"'
        for run in "" "env" "env -i PATH=$PATH" "sh -c 'exec \\"\\$@\\"' sh" "nice"; do
            eval $run {loaded} >/n; [ "$(cat /n)" -gt 0 ] && echo loaded
        done
        mkdir -p /r/bin /r/lib /r/lib64; cp /bin/true /bin/sh /r/bin; cp -L /lib64/ld-* /r/lib64
        cp -L /lib/x86_64-linux-gnu/libc.so.6 /r/lib; chroot /r /bin/sh -c '/bin/true; echo in'
        LD_PRELOAD=/nonexistent/x.so /bin/true
    """
    *shown, message = dynamic.sh(script, *FAST).splitlines()
    assert shown == ["0", "0", *["loaded"] * 5, "in"]
    assert "/nonexistent/x.so" in message
