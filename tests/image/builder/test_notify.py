"""``--force=notify``: the owners that a RUN saw hold for later RUNs, and in the tar."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tarfile
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.image.store.store import Store
from sundog.runtime.emulation.notify.seccomp.fast_path import MACHINES
from sundog.runtime.emulation.notify.seccomp.trial import HAS_SUPERVISOR
from tests.image.builder.conftest import announced
from tests.image.builder.test_failures import left_behind

if TYPE_CHECKING:
    from tests.image.builder.conftest import Workshop

MADE = """\
FROM bb
RUN echo a >/a && chown 5:6 /a && mkdir /d && chown 7:8 /d && chmod 2750 /d && echo b >/d/b \
    && ln -s a /l && chown -h 9:10 /l && mknod /null c 1 3 && chmod 666 /null && ln /a /hard
"""
EXPECTED = """\
5:6 644 regular file /a
7:8 2750 directory /d
0:8 644 regular file /d/b
9:10 777 symbolic link /l
0:0 666 character special file /null
5:6 644 regular file /hard
"""
LOOK = "stat -c '%u:%g %a %F %n' /a /d /d/b /l /null /hard"


def notify(workshop: Workshop, dockerfile: str, *options: str, check: bool = True) -> str:
    """Build and return the whole output."""
    done = workshop.build(dockerfile, "--force=notify", *options, check=check)
    return done.stdout + done.stderr


def test_the_command_sees_what_it_did(workshop: Workshop) -> None:
    assert EXPECTED in notify(workshop, MADE.rstrip() + f" && {LOOK}\n")


@pytest.mark.skipif(os.uname().machine not in MACHINES, reason="the machine has no fast path")
def test_the_fast_path_is_there_by_default_and_leaves_no_trace(workshop: Workshop) -> None:
    """BusyBox is static, so it gets no variable: it would show it to its children."""
    look = "echo $(ls -A /dev | grep -c fast-path) $(env | grep -c PRELOAD) $(ls -A /run | wc -l)"
    dockerfile = f"FROM bb\nRUN mkdir -p /run && {look}\n"
    options = "--force=notify", "--no-cache"
    for value, shown in (("yes", "1 0 0"), ("", "1 0 0"), ("no", "0 0 0")):
        done = workshop.build(dockerfile, *options, env={"SUNDOG_FAST_PATH": value})
        assert shown in done.stdout.splitlines()
    strict = workshop.build(
        dockerfile, "--force=notify,strict", "--no-cache", env={"SUNDOG_FAST_PATH": "yes"}
    )
    assert "0 0 0" in strict.stdout.splitlines()
    wrong = workshop.build(dockerfile, *options, check=False, env={"SUNDOG_FAST_PATH": "ja"})
    assert wrong.returncode == 2
    assert "$SUNDOG_FAST_PATH is neither yes nor no: ja" in wrong.stderr
    left = "FROM img\nRUN echo left: $(find / -xdev -name '*fast-path*')\n"
    assert "left:" in workshop.build(left, "--force=notify", tag="again").stdout.splitlines()


def test_later_runs_see_it_too(workshop: Workshop) -> None:
    assert EXPECTED in notify(workshop, MADE + f"RUN {LOOK}\n")


def test_later_builds_see_it_too(workshop: Workshop) -> None:
    notify(workshop, MADE)
    workshop.ch_image("delete", "bb")
    assert EXPECTED in notify(workshop, f"FROM img\nRUN {LOOK}\n", "-t", "again")


def test_changes_keep_owners_and_replacements_lose_them(workshop: Workshop) -> None:
    printed = notify(
        workshop,
        MADE + "RUN echo more >>/d/b && touch /d/c && rm /l && echo new >/l\n"
        "RUN stat -c '%u:%g %n' /a /d /d/b /d/c /l\n",
    )
    assert "5:6 /a\n7:8 /d\n0:8 /d/b\n0:8 /d/c\n0:0 /l\n" in printed


def test_identity_is_consistent(workshop: Workshop) -> None:
    script = "su nobody -s /bin/sh -c 'id -u; id -g; touch /tmp/x'"
    printed = notify(workshop, f"FROM bb\nRUN {script}; stat -c %u:%g /tmp/x; id -u\n")
    assert "65534\n65534\n65534:65534\n0\n" in printed


def test_layers_leave_as_real_root_would_have_made_them(workshop: Workshop, tmp_path: Path) -> None:
    notify(workshop, MADE)
    storage = workshop.ch_image("gestalt", "storage-path").stdout.strip()
    with Store.open(storage) as store:
        layers = store.images.get("img").layers
        store.layers.write_tar(layers[-1], bytes(tmp_path / "layer.tar"))
    with tarfile.open(tmp_path / "layer.tar") as archive:
        members = {member.name.strip("/"): member for member in archive}
    found = {name: (member.uid, member.gid) for name, member in members.items()}
    assert found.items() >= {
        ("a", (5, 6)),
        ("d", (7, 8)),
        ("d/b", (0, 8)),
        ("l", (9, 10)),
        ("null", (0, 0)),
        ("hard", (5, 6)),
    }
    assert members["null"].ischr()
    assert (members["null"].devmajor, members["null"].devminor) == (1, 3)
    assert members["d"].mode == 0o2750
    assert members["a"].islnk() != members["hard"].islnk()


def test_a_directory_that_ch_run_wrote_to_keeps_its_owners(
    workshop: Workshop, busybox_tree: Path, tmp_path: Path
) -> None:
    made = MADE.partition("RUN ")[2].replace("\\\n", "").strip()
    script = f"{made} && cp /bin/busybox /su && chmod 4755 /su && {LOOK}"
    assert (
        workshop.ch_run("--notify", "-w", busybox_tree, "--", "sh", "-c", script).stdout == EXPECTED
    )
    workshop.ch_image("import", busybox_tree, "img")
    look = f"{LOOK} /su; test -e /ch/owners || echo none"
    expected = f"{EXPECTED}0:0 4755 regular file /su\nnone\n"
    assert workshop.ch_run("--notify", "img", "--", "sh", "-c", look).stdout == expected
    assert expected in notify(workshop, f"FROM img\nRUN {look}\n", "-t", "next")
    archive = tmp_path / "saved.tar"
    workshop.ch_image("save", "--compression=none", "-o", archive, "img")
    members = saved_members(archive)
    for path, uid, gid, mode, kind in (
        ("a", 5, 6, 0o644, tarfile.REGTYPE),
        ("d", 7, 8, 0o2750, tarfile.DIRTYPE),
        ("l", 9, 10, 0o777, tarfile.SYMTYPE),
        ("null", 0, 0, 0o666, tarfile.CHRTYPE),
        ("su", 0, 0, 0o4755, tarfile.REGTYPE),
    ):
        member = members[path]
        found = (member.uid, member.gid, member.mode, member.type)
        assert found == (uid, gid, mode, kind), path
    assert "ch/owners" not in members


def saved_members(archive: Path) -> dict[str, tarfile.TarInfo]:
    """Return the contents of the one layer in an archive of ``ch-image save``."""
    with tarfile.open(archive) as outer:
        blobs = [outer.extractfile(member) for member in outer if "blobs/" in member.name]
        for blob in filter(None, blobs):
            with contextlib.suppress(tarfile.ReadError), tarfile.open(fileobj=blob) as layer:
                return {member.name.strip("/"): member for member in layer}
    raise AssertionError("no layer")


def test_the_mode_is_part_of_the_key(workshop: Workshop) -> None:
    dockerfile = "FROM bb\nRUN touch /a && chown 5:6 /a\n"
    assert workshop.statuses(dockerfile) == "*."
    assert workshop.statuses(dockerfile, "--force=notify") == "*."
    assert workshop.statuses(dockerfile, "--force=notify") == "**"
    done = workshop.build(dockerfile, "--force=notify")
    assert announced(done)[1][2].startswith("RUN.C ")


def test_a_failed_run_leaves_nothing(workshop: Workshop) -> None:
    printed = notify(workshop, MADE.rstrip() + " && kill -KILL $$\n", check=False)
    assert "RUN command was killed by signal 9 (SIGKILL)" in printed
    assert workshop.ch_image("list").stdout == "bb\n"


def test_background_processes_do_not_outlive_the_run(workshop: Workshop) -> None:
    printed = notify(workshop, "FROM bb\nRUN (sleep 1000; chown 1:1 /late)& true\nRUN ls /\n")
    assert "late" not in printed.split("RUN.C ls /")[1]


def test_statistics_at_v(workshop: Workshop) -> None:
    assert "in the supervisor" in notify(workshop, MADE, "-v")


def test_dead_supervisor_takes_the_container_with_it(workshop: Workshop, storage: Path) -> None:
    """It dies while it records owners; the fast path is there, and leaves nothing either."""
    recording = "while :; do : >/owned; chown 5:6 /owned; rm /owned; done"
    token = str(uuid.uuid4())
    killer = threading.Thread(target=kill_supervisor, args=[token])
    killer.start()
    done = workshop.build(
        f"FROM bb\nRUN ({recording}) & exec tail -f /dev/null {token}\n",
        "--force=notify",
        check=False,
    )
    killer.join()
    assert done.returncode == 1
    (error,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "was killed by signal 9" in error
    deadline = time.monotonic() + 30
    while running(token) and time.monotonic() < deadline:
        time.sleep(0.01)  # the kernel ends them one after the other
    assert not running(token)
    assert left_behind(storage) == []
    assert str(storage) not in Path("/proc/self/mountinfo").read_text()
    assert "img" not in workshop.ch_image("list").stdout.split()


def running(token: str) -> list[Path]:
    """Return the /proc directories of processes with ``token`` among their arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if token.encode() in process.joinpath("cmdline").read_bytes().split(b"\0"):
                found.append(process)
        except OSError:
            continue  # it has just ended
    return found


def kill_supervisor(token: str) -> None:
    """Kill the parent of the init of the process with ``token`` among its arguments."""
    while not (processes := running(token)):
        time.sleep(0.01)
    process = processes[0]
    while True:
        lines = process.joinpath("status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        parent = status["PPid"].strip()
        if status["NSpid"].split()[-1] == "1":
            os.kill(int(parent), signal.SIGKILL)
            return
        process = Path("/proc", parent)


FAULTY = """
from sundog.runtime.emulation.notify.handlers.chown import OwnerHandlers
def injected(self, thread, args):
    raise RuntimeError("injected")
OwnerHandlers.chown = injected
"""


@pytest.mark.parametrize("option", [(), ("-v",)], ids=["", "verbose"])
def test_calls_that_could_not_be_answered_are_counted(
    any_workshop: Workshop, option: tuple[str, ...]
) -> None:
    """The build goes on with the kernel's own answer."""
    dockerfile = any_workshop.context.parent / "Dockerfile"
    dockerfile.write_text("FROM bb\nRUN for i in 1 2 3; do chown 5:6 /bin 2>&1; done; id -u\n")
    done = any_workshop.prepared(
        FAULTY, "build", *option, "--force=notify", "-f", str(dockerfile), "-t", "img", "."
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("chown: /bin: Invalid argument\n") == 3
    assert done.stdout.endswith("0\n")
    warning = "warning: root emulation failed to answer 3 calls"
    assert warning in done.stderr
    told = done.stderr.count("notify: chown: RuntimeError('injected')")
    assert told == (3 if option else 0), done.stderr


def test_auto_is_notify_or_seccomp(workshop: Workshop) -> None:
    """$CH_IMAGE_FORCE counts without --force.  The kernel allows no second supervisor."""
    dockerfile = workshop.context.parent / "Dockerfile"
    dockerfile.write_text("FROM bb\nRUN chown 5:6 /etc/passwd\n")
    words = ("build", "-t", "img", "-f", str(dockerfile), str(workshop.context))
    done = workshop.ch_image(*words, env={"CH_IMAGE_FORCE": "auto"})
    assert "RUN.C chown" in done.stderr
    done = workshop.ch_image(*words, "--force=auto", "--force-cmd=chown,-v")
    assert "RUN.S chown" in done.stderr
    assert "--force=auto: using seccomp, because --force-cmd belongs to it\n" in done.stderr
    done = workshop.under_a_listener(*words, "--force=auto", "--no-fallback")
    assert done.returncode == 0
    reason = HAS_SUPERVISOR
    told = f"--force=auto: using seccomp, because notify is not possible: {reason}"
    assert done.stderr.splitlines().count(told) == 1
    assert "RUN.S chown" in done.stderr
    assert "warning" not in done.stderr


@pytest.mark.parametrize(("option", "status"), [((), 0), (("--no-fallback",), 1)])
def test_under_another_supervisor_it_falls_back_or_fails(
    workshop: Workshop, option: tuple[str, ...], status: int
) -> None:
    """A build in a process below another listener: the kernel says EBUSY."""
    (workshop.context.parent / "Dockerfile").write_text("FROM bb\nRUN chown 5:6 /etc/passwd\n")
    done = workshop.under_a_listener(
        *("build", "--force=notify", *option, "-t", "img"),
        *("-f", str(workshop.context.parent / "Dockerfile"), str(workshop.context)),
    )
    assert done.returncode == status
    fault = "--force=notify is not possible here"
    reason = HAS_SUPERVISOR
    if status:
        hint = "hint: use --force=seccomp (ch-checkns --all says more)"
        assert f"error: {fault}: {reason}\n{hint}\n" in done.stderr
    else:
        assert f"warning: {fault}, using seccomp: {reason}\n" in done.stderr
        assert "RUN.S chown" in done.stderr


def test_a_run_has_ports_of_its_own_below_1024(workshop: Workshop) -> None:
    script = "echo page >/index.html; httpd -p 80 -h /; wget -q -O - http://127.0.0.1/"
    assert "page\n" in notify(workshop, f"FROM bb\nRUN {script}\n")
    with socket.socket() as own, contextlib.suppress(OSError):
        own.bind(("", 80))
        return  # this host lets everybody
    done = workshop.ch_run("--notify", "img", "--", "httpd", "-p", "80", check=False)
    assert "bind: Permission denied" in done.stderr
