"""Debian, configured and used on other architectures as on this machine's.

A tree of unpacked packages is configured by `apt-get install '?essential'`, and then all that needs
root is tried. What the programs print, and owner and mode of each file, must be as on this machine.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import base_image, command, made_once, run_program

if TYPE_CHECKING:
    from pathlib import Path

OWN = ("amd64", "x86_64", "x86-64")
OTHERS = {"arm64": ("arm64", "aarch64"), "riscv64": ("riscv64",)}
FORCES = ("seccomp", "notify", "notify,strict")
# Where there is a library of vector functions it is a script of the linker, else a link.
SCRIPT = "/usr/lib/ARCH-linux-gnu/libm.so"
PATIENCE = 3600.0  # seconds for a build: the machine may be busy
STARTS = 200

CONFIGURED = r"""
FROM debian
RUN { apt-get -q update && apt-get install -qy base-passwd; } >/log 2>&1 || { tail /log; exit 1; }
RUN apt-get install -qy '?essential' apt >/log 2>&1 || { tail /log; exit 1; }
RUN apt-get install -qy --no-install-recommends openssh-server gcc libc6-dev libcap2-bin \
    >/log 2>&1 || { tail /log; exit 1; }
"""
PRIVILEGED = r"""
FROM configured
COPY who.c /try/
WORKDIR /try
RUN gcc -o who who.c && ./who; exec 2>&1; \
    cp who set-uid; chmod 4755 set-uid; cp who set-gid; chown :mail set-gid; chmod 2755 set-gid; \
    chown nobody:mail who.c; cp who capable; setcap cap_net_raw+ep capable; getcap capable; \
    mknod null c 1 3; mknod pipe p; mknod disk b 8 0; useradd -m -u 4242 ada; \
    install -o ada -g mail -m 640 who.c mine; ln who linked; tar -C /try -cf /all.tar .; \
    mkdir /again; tar -C /again -xpf /all.tar; cp -a /try /third; \
    for user in root ada nobody; do \
        su $user -s /bin/sh -c 'id; ./who; ./set-uid; ./set-gid'; \
    done; \
    find /try /again /third -printf '%p %u:%g %m %y\n' | LC_ALL=C sort; rm /all.tar
"""
WHO = r"""
#include <stdio.h>
#include <sys/auxv.h>
#include <unistd.h>
int main(int count, char **words)
{
    printf("%s %d %d %d %d %lu\n", words[0], getuid(), geteuid(), getgid(), getegid(),
           getauxval(AT_SECURE));
}
"""
LIST = "find / -xdev -mindepth 1 -path /ch -prune -o -printf '%p %U:%G %m %y\\n'"


def results(factory: pytest.TempPathFactory, architecture: str, force: str) -> Path:
    """Return a directory with what a build printed, and the list of its files; made once."""
    base = base_image(f"debian-{architecture}")

    def make(directory: Path) -> None:
        def run(*words: str) -> str:
            env = {"CH_IMAGE_STORAGE": str(directory / "storage"), "TMPDIR": "/tmp"}
            return run_program([*command(words[0]), *words[1:]], env=env, timeout=PATIENCE).stdout

        (directory / "who.c").write_text(WHO)
        run("ch-image", "import", str(base), "debian")
        for name, text in (("configured", CONFIGURED), ("result", PRIVILEGED)):
            (directory / f"{name}.df").write_text(text)
            options = [f"--force={force}", "-t", name, "-f", f"{directory}/{name}.df"]
            (directory / "printed").write_text(run("ch-image", "build", *options, str(directory)))
        (directory / "files").write_text(
            run("ch-run", "--notify", "-W", "result", "--", "sh", "-c", LIST)
        )

    return made_once(factory, f"debian-{architecture}-{force.replace(',', '-')}", make)


def files(place: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Return the owner, mode and kind of each file, by its path without the architecture."""
    text = (place / "files").read_text()
    for name in names:
        text = text.replace(name, "ARCH")
    return dict(line.split(" ", 1) for line in text.splitlines())


@pytest.mark.parametrize("force", FORCES)
@pytest.mark.parametrize("architecture", OTHERS)
def test_like_this_machine(
    tmp_path_factory: pytest.TempPathFactory, architecture: str, force: str
) -> None:
    there = results(tmp_path_factory, architecture, force)
    here = results(tmp_path_factory, OWN[0], force)
    assert (there / "printed").read_text() == (here / "printed").read_text()
    found, expected = files(there, OTHERS[architecture]), files(here, OWN)
    common = found.keys() & expected.keys() - {SCRIPT}
    assert len(common) > 3000
    assert {path: found[path] for path in common} == {path: expected[path] for path in common}


@pytest.mark.parametrize("options", [[], ["--notify"]], ids=["plain", "notify"])
def test_no_start_hangs(tmp_path: Path, options: list[str]) -> None:
    env = {"CH_IMAGE_STORAGE": str(tmp_path / "storage"), "TMPDIR": "/tmp"}
    base = base_image("busybox-arm64")
    run_program([*command("ch-image"), "import", str(base), "arm"], env=env)
    script = "cd /srv; touch a; chown 33:44 a; stat -c %u:%g a; (sleep 0 & wait); uname -m"
    line = [*command("ch-run"), *options, "-W", "arm", "--", "/bin/sh", "-c", script]
    slowest = 0.0
    for _ in range(STARTS):
        began = time.monotonic()
        printed = run_program(line, env=env, timeout=60).stdout
        slowest = max(slowest, time.monotonic() - began)
        assert printed.endswith("aarch64\n")
    print(f"slowest of {STARTS}: {slowest:.1f} s")
