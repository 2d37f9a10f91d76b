"""Sundog on another architecture, as an ordinary user of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.machines.conftest import KIND

if TYPE_CHECKING:
    from tests.machines.conftest import Guest

DOCKERFILE = """\
FROM base
COPY f /f
RUN uname -m && cat /f
RUN echo more >>/f && mkdir -p /d/e
USER 60
RUN id -u
"""
# Root's steps; all that they make is at these paths.
STEPS = """
    echo user:x:104:106::/home/user:/bin/sh >>/etc/passwd
    mkdir /home/user; chown 104:106 /home/user; chmod 2750 /home/user
    echo x >/a; chown 5:6 /a; chmod 4755 /a; mv /a /b; ln /b /c; chown -h 7:8 /bin/sh
    mknod /n c 1 3; mknod /m b 7 300; mkfifo /p; chown 9:10 /p
    su user -c 'id; cd; touch y; mkdir z; chown 0 y'
"""
PATHS = "/home/user /home/user/y /home/user/z /b /c /bin/sh /n /m /p"
LOOK = f"stat -c '%u:%g %a %h %F %t:%T %n' {PATHS}"


def test_the_machine_is_of_its_kind(guest: Guest) -> None:
    said = guest.run("uname", "-srm").stdout + guest.run("python3", "--version").stdout
    print(f"started in {guest.boot:.0f} s: {said}")
    assert guest.run("uname", "-m").stdout == f"{KIND}\n"
    assert guest.run("id", "-u").stdout == "1000\n"


@pytest.mark.parametrize("mode", ["none", "seccomp", "notify"])
def test_images_are_built_and_run(guest: Guest, mode: str) -> None:
    options = ["--no-fallback"] if mode == "notify" else []
    done = guest.build(mode, DOCKERFILE, *options)
    lines = done.stdout.splitlines()
    assert lines == [KIND, "hello", "60" if mode == "notify" else "0"]
    assert guest.run("ch-run", mode, "--", "cat", "/f").stdout == "hello\nmore\n"


def test_ch_run_is_the_compiled_one(guest: Guest) -> None:
    with_start = ("env", "SUNDOG_START=compiled")
    done = guest.run(*with_start, "ch-run", "base", "--", "uname", "-m", check=False)
    assert (done.stdout, done.returncode) == (f"{KIND}\n", 0), done.stderr


def test_seccomp_says_done(guest: Guest) -> None:
    script = "chown 5:6 /f && mknod /n c 1 3 && stat -c %u:%g /f"
    done = guest.build("seccomp", f"FROM base\nCOPY f /f\nRUN {script}\n")
    assert done.stdout == "0:0\n"


def keeps_attributes(guest: Guest) -> bool:
    """Tell whether a tmpfs of the machine has user.* attributes: Linux 6.6."""
    script = "import os; os.setxattr(os.memfd_create(''), 'user.a', b'')"
    return guest.run("python3", "-c", script, check=False).returncode == 0


def test_a_writable_overlay(guest: Guest) -> None:
    # The overlay's upper directory is on a tmpfs.  To replace a directory takes an attribute.
    name = "/home" if keeps_attributes(guest) else "/mine"
    script = f"echo x >>/etc/passwd; rm -r /home; mkdir {name}; touch /new; ls -d {name} /new"
    for option in ([], ["--seccomp"], ["--notify"]):
        done = guest.run("ch-run", "-W", *option, "base", "--", "sh", "-c", script)
        assert done.stdout == f"{name}\n/new\n"
    assert guest.run("ch-run", "base", "--", "ls", "/new", check=False).returncode == 1


def test_notify_makes_what_real_root_makes(guest: Guest) -> None:
    steps = "; ".join(line.strip() for line in STEPS.strip().splitlines())
    expected = guest.as_root(f"exec 2>&1; {steps}; {LOOK}")
    assert "5:6 4755 2 regular file 0:0 /b" in expected
    done = guest.build("notify", f"FROM base\nRUN exec 2>&1; {steps}; {LOOK}\n", "--no-fallback")
    assert done.stdout == expected
    # The image has kept it.
    looked = guest.run("ch-run", "--notify", "notify", "--", "sh", "-c", LOOK)
    assert looked.stdout.splitlines() == expected.splitlines()[-len(PATHS.split()) :]


def test_ch_run_notify(guest: Guest) -> None:
    script = "chown 5:6 /f; chmod 4755 /f; mknod /n c 1 3; stat -c '%u:%g %a %F %t:%T' /f /n"
    expected = guest.as_root(f"touch /f; {script}")
    done = guest.run("ch-run", "--notify", "-W", "base", "--", "sh", "-c", f"touch /f; {script}")
    assert (done.stdout, done.stderr) == (expected, "")
