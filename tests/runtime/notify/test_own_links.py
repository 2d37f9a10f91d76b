"""Links that lead each process to its own files lead the supervisor to the caller's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner
    from tests.runtime.notify.conftest import Container

USER = "echo user:x:104:106::/tmp:/bin/sh >>/etc/passwd; chmod 777 ."
# A directory whose files are of its group, because the supervisor makes them.
GROUP = "mkdir group; chgrp 7 group; chmod 2777 group"

# By what works: a script that has an empty working directory, and what it prints.  ``f`` is a file.
WORKS = {
    # As the image of nginx has them.
    "chown by a link to /dev/stdout": (
        "ln -s /dev/stdout log; chown 5:6 log >f; stat -c %u:%g f",
        "5:6",
    ),
    "chmod by a link to /dev/stderr": (
        "ln -s /dev/stderr log; chmod 640 log 2>f; stat -c %a f",
        "640",
    ),
    "open by a link to /dev/stdout": ("ln -s /dev/stdout log; (echo x >log) >f; cat f", "x"),
    "open by a link to /dev/stdin": ("ln -s /dev/stdin log; echo x >f; cat log <f", "x"),
    "open as a user": (
        f"{USER}; ln -s /dev/stdout log; su user -c 'echo x >log' >f; stat -c %u f; cat f",
        "0 x",
    ),
    "chown as the owner": (
        f"{USER}; chown user f; su user -c 'chown :106 /dev/fd/7' 7>f; stat -c %u:%g f",
        "104:106",
    ),
    # As bash makes them of <(...) and >(...).
    "read a pipe": ("echo x | (exec 8<&0; cat /dev/fd/8)", "x"),
    "write to a pipe": ("(echo x >/dev/fd/9) 9>&1 | cat", "x"),
    "read a pipe as a user": (f"{USER}; echo x | (exec 8<&0; su user -c 'cat /dev/fd/8')", "x"),
    "write to a pipe as a user": (f"{USER}; (su user -c 'echo x >/dev/fd/9') 9>&1 | cat", "x"),
    "chown by /dev/fd": ("chown 5:6 /dev/fd/7 7>f; stat -c %u:%g f", "5:6"),
    "chown by a link to a descriptor": (
        "ln -s /proc/self/fd/7 seven; chown 5:6 seven 7>f; stat -c %u:%g f",
        "5:6",
    ),
    "chown by a chain of links": (
        "ln -s /proc/self me; ln -s me/fd fds; chown 5:6 fds/7 7>f; stat -c %u:%g f",
        "5:6",
    ),
    "chown by thread-self": (
        "ln -s /proc/thread-self/fd fds; chown 5:6 fds/7 7>f; stat -c %u:%g f",
        "5:6",
    ),
    "chown by other spellings": (
        "chown 5:6 /proc/./self/fd/7 7>f; chown 8:9 //proc//self//fd//7 7>g; stat -c %u:%g f g",
        "5:6 8:9",
    ),
    "chmod by a link to a descriptor": (
        "ln -s /proc/self/fd/7 seven; chmod 4751 seven 7>f; stat -c %a f",
        "4751",
    ),
    "chown below /proc": ("w=$PWD; (cd /proc; chown 5:6 self/fd/7 7>$w/f); stat -c %u:%g f", "5:6"),
    "chown in /proc/PID/fd": (
        "sh -c 'exec 7>f; (cd /proc/$$/fd; chown 5:6 7)'; stat -c %u:%g f",
        "5:6",
    ),
    "chown by another process": (
        "sh -c 'exec 7>f; (chown 5:6 /proc/$$/fd/7)'; stat -c %u:%g f",
        "5:6",
    ),
    "chown by a working directory": ("chown 5:6 /proc/$$/cwd/f; stat -c %u:%g f", "5:6"),
    "chmod by a root directory": ("chmod 640 /proc/$$/root$PWD/f; stat -c %a f", "640"),
    "open in a working directory": (
        f"{GROUP}; echo x >/proc/$$/cwd/group/g; stat -c %g group/g",
        "7",
    ),
    "create in a root directory": (
        f"{GROUP}; : >/proc/$$/root$PWD/group/g; stat -c %g group/g",
        "7",
    ),
    "create below a descriptor": (
        f"{GROUP}; ln -s /proc/self/fd/7 7; (: >7/g; mkdir 7/d) 7<group; stat -c %g group/*",
        "7 7",
    ),
    "create by a link that leads nowhere": (
        f"{GROUP}; ln -s /proc/self/cwd/group/g dangling; : >dangling; stat -c %g group/g",
        "7",
    ),
    "stat by a link to a descriptor": (
        "chown 5:6 f; ln -s /proc/self/fd n; stat -Lc %u n/7 /dev/fd/7 7<f; stat -Lc %u n/0 <f",
        "5 5 5",
    ),
    "chroot to /proc": (
        "chroot /proc /$$/root/bin/busybox grep ^Name: /self/status",
        "Name: busybox",
    ),
    "a status of its own": (
        "ln -s /proc/self me; grep -h ^Name: me/status /proc/self/status",
        "Name: grep Name: grep",
    ),
    "the number in the status": (
        "sh -c 'echo $$; exec sed -n s/^Pid:.//p /proc/self/status' | uniq | wc -l",
        "1",
    ),
    # Refused, as the kernel does.
    "links of other processes": (
        "chown 5 /proc/1/fd/99 /proc/$$/ns/mnt /proc/self/fd/99 2>/dev/null || echo no",
        "no",
    ),
}


def script_of(name: str) -> str:
    """Return the script that prints what ``name`` prints, on one line after the name."""
    script, _ = WORKS[name]
    return (
        f"rm -rf w; mkdir w; cd w; : >f; out=$( {script} ); "
        f"printf '%s: %s\\n' '{name}' \"$(echo $out)\"; cd ..\n"
    )


SCRIPT = "".join(map(script_of, WORKS))
PRINTED = "".join(
    f"{name}: {' '.join(expected.split())}\n" for name, (_, expected) in WORKS.items()
)


@pytest.mark.parametrize("options", [(), ("--strict",)], ids=["plain", "strict"])
def test_in_a_pid_namespace(busybox: Container, options: tuple[str, ...]) -> None:
    assert busybox.sh(SCRIPT, *options) == PRINTED


@pytest.mark.parametrize("options", ["--notify", "--notify=strict"])
def test_among_the_processes_of_the_host(
    busybox_tree: Path, run_ch_run: Runner, options: str
) -> None:
    words = (options, "-W", "-t", busybox_tree, "--", "sh", "-c", SCRIPT)
    assert run_ch_run(*words).stdout == PRINTED
