"""``--force=notify`` in another container, whose /proc is masked as podman's and Docker's.

The kernel then refuses a new /proc, so RUN has no PID namespace of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.image.builder.test_notify import running

if TYPE_CHECKING:
    from tests.conftest import RootHelper
    from tests.image.builder.conftest import Workshop

# Docker's defaults (oci/defaults.go), as far as this machine has the files.
MASKED = """
import os
from sundog.runtime.container.enter import enter_namespaces
from sundog.base.kernel.mounts import MS_BIND, MS_RDONLY, mount
MS_REMOUNT = 32  # linux/mount.h
enter_namespaces(os.geteuid(), os.getegid())
for name in (b"acpi", b"asound", b"kcore", b"keys", b"latency_stats", b"timer_list", b"scsi"):
    path = b"/proc/" + name
    if os.path.isdir(path):
        mount(b"tmpfs", path, b"tmpfs", MS_RDONLY, None)
    elif os.path.exists(path):
        mount(b"/dev/null", path, None, MS_BIND, None)
for name in (b"bus", b"fs", b"irq", b"sys", b"sysrq-trigger"):
    path = b"/proc/" + name
    if os.path.exists(path):
        mount(path, path, None, MS_BIND, None)
        mount(None, path, None, MS_BIND | MS_REMOUNT | MS_RDONLY, None)
"""
DOCKERFILE = """\
FROM bb
RUN echo 'user:x:104:106::/tmp:/bin/sh' >>/etc/passwd
RUN chmod 777 /srv && touch /a && chown 5:6 /a && mknod /c c 1 3 && mv /a /b
RUN stat -c '%u:%g %F %n' /b /c; su user -c 'id -u; touch /tmp/u'; stat -c %u:%g /tmp/u
USER 60:61
RUN id -u; id -g; touch /srv/y; stat -c %u:%g /srv/y; chown 0 /srv/y || echo refused
"""
SEEN = ["5:6 regular empty file /b", "0:0 character special file /c", "104", "104:106", "60", "61"]
LEFT = ["60:61", "refused"]


def masked(workshop: Workshop, dockerfile: str, *options: str) -> tuple[int, str]:
    """Build; return the exit status and all that was printed."""
    path = workshop.context.parent / "Dockerfile"
    path.write_text(dockerfile)
    words = ("build", "--no-cache", "-t", "img", "-f", str(path), *options, str(workshop.context))
    done = workshop.prepared(MASKED, *words)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["notify", "auto"])
def test_notify_works(workshop: Workshop, mode: str) -> None:
    status, said = masked(workshop, DOCKERFILE, f"--force={mode}", "--no-fallback")
    assert status == 0, said
    assert "seccomp" not in said
    lines = said.splitlines()
    assert [line for line in lines if line in {*SEEN, *LEFT}] == [*SEEN, *LEFT], said
    kept = workshop.ch_run("--notify", "img", "--", "stat", "-c", "%u:%g %F", "/b", "/c", "/srv/y")
    found = ["5:6 regular empty file", "0:0 character special file", "60:61 regular empty file"]
    assert kept.stdout.splitlines() == found


def test_nothing_survives_the_command(any_workshop: Workshop) -> None:
    """Some wait for the supervisor, some have left the session, some have another identity."""
    token = str(uuid.uuid4())
    busy = f"while :; do stat / >/dev/null; chown 5:6 /tmp/$$; done # {token}"
    status, said = masked(
        any_workshop,
        f"FROM bb\nRUN for i in 1 2 3; do (setsid sh -c ': {token}; {busy}' "
        f"</dev/null >/dev/null 2>&1 &); su nobody -s /bin/tail -- -f /dev/null {token} & done; "
        "sleep 0.2; exit 7\n",
        "--force=notify",
        "--no-fallback",
    )
    assert status == 1
    assert "RUN command exited with 7" in said
    assert not mentioning(token)


@pytest.mark.parametrize("ancestor", [2, 3], ids=["supervisor", "builder"])
def test_the_death_of_a_process_above_ends_the_command(
    any_workshop: Workshop, ancestor: int
) -> None:
    token = str(uuid.uuid4())

    def kill() -> None:
        while not (processes := running(token)):
            time.sleep(0.01)
        process = processes[0]
        for _ in range(ancestor):
            process = Path("/proc", field(process, "PPid"))
        os.kill(int(process.name), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    status, said = masked(
        any_workshop,
        "FROM bb\nRUN (setsid sh -c 'while :; do stat / >/dev/null; done' &) ; "
        f"exec tail -f /dev/null {token}\n",
        "--force=notify",
        "--no-fallback",
    )
    killer.join()
    assert status == (-signal.SIGKILL if ancestor == 3 else 1), said
    deadline = time.monotonic() + 30
    while mentioning(token) and time.monotonic() < deadline:
        time.sleep(0.01)  # the container's init ends them one after the other
    assert not mentioning(token)
    assert "img" not in any_workshop.ch_image("list").stdout.split()


def field(process: Path, name: str) -> str:
    """Return a field of /proc/PID/status."""
    lines = process.joinpath("status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)[name].strip()


def mentioning(token: str) -> list[str]:
    """Return the command lines with a ``token``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = process.joinpath("cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if token in line:
            found.append(line)
    return found


def test_in_podman(root_helper: RootHelper, busybox_tar: Path, tmp_path: Path) -> None:
    """Podman's default seccomp profile and masks, as an ordinary user of the container."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    shared = [sys.prefix, sys.base_prefix, str(busybox_tar), str(context)]
    ch_image, ch_run = " ".join(command("ch-image")), " ".join(command("ch-run"))
    script = f"""
        export CH_IMAGE_STORAGE=/var/tmp/storage HOME=/tmp USER=tester
        {ch_image} import {busybox_tar} bb && {ch_image} build --force=auto -t img {context} &&
        {ch_run} --notify img -- stat -c '%u:%g %F' /b /c /srv/y
    """
    done = root_helper.in_podman(["sh", "-c", script], shared)
    said = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert b"RUN.C" in done.stderr
    lines = said.splitlines()
    assert lines == [*SEEN, *LEFT, "5:6 regular empty file", "0:0 character special file",
                     "60:61 regular empty file"]  # fmt: skip
