"""The inputs of builds, imports and starts: made on the spot, the same for all tools."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bases.bootstrap import bootstrap
from scripts.place import WorkshopError, atomically, digest, own

if TYPE_CHECKING:
    from collections.abc import Iterator

BIG = 900_000_000
LAYERS = 5
PACKAGES = "openssh-server"
SERVICES = "openssh-server postgresql"

# A repository in the image, with all packages of the install: no measured command needs a network.
REPOSITORY = r"""
set -e
chroot "$1" apt-get -qq update
mkdir -p "$1/aptrepo/partial"
chroot "$1" apt-get -qq -o Dir::Cache::archives=/aptrepo --no-install-recommends \
    --download-only -y install @PACKAGES@ >/dev/null
(cd "$1/aptrepo" && rm -rf partial lock && dpkg-scanpackages -m . >Packages 2>/dev/null)
rm -rf "$1"/etc/apt/sources.list.d/* "$1"/var/lib/apt/lists/* "$1"/etc/apt/sources.list
echo 'deb [trusted=yes] file:/aptrepo ./' >"$1/etc/apt/sources.list"
printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
chmod 755 "$1/usr/sbin/policy-rc.d"
"""

DOCKERFILE = f"""\
FROM {{base}}
RUN apt-get update && apt-get install -y --no-install-recommends {PACKAGES}
COPY files /srv/files
RUN touch /srv/one
RUN true {{last}}
"""

INSTALL = f"""\
FROM {{base}}
RUN apt-get update && apt-get install -y --no-install-recommends {PACKAGES}
"""

SYSCALLS = r"""
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct sock_filter allow[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
  struct sock_fprog program = {1, allow};
  if (argc > 1 && !strcmp(argv[1], "one")) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 1;
  }
  for (int round = 0; round < 7; round++) {
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < 500000; i++) syscall(SYS_getppid);
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("%.2f\n", ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / 500000);
  }
}
"""


def debian() -> Path:
    """Return a Debian tarball with a repository of PACKAGES in it."""
    return _debian("bench", PACKAGES, ["ca-certificates"])


def services() -> Path:
    """Return a Debian tarball with a compiler, fakeroot, and a repository of SERVICES in it."""
    return _debian("services", SERVICES, ["ca-certificates", "fakeroot", "gcc", "libc6-dev"])


def work() -> Path:
    """Return a Debian tarball with what developers use, and a repository of SERVICES in it."""
    tools = ("autoconf", "gcc", "git", "libc6-dev", "make", "python3-venv")
    return _debian("work", SERVICES, ["ca-certificates", *tools])


def science(*packages: str) -> Path:
    """Return a Debian tarball with Python and these of its packages."""
    target = own("bases") / f"{'-'.join(packages)}-{digest([Path(__file__)])}.tar"
    if not target.exists():
        with atomically(target) as part:
            bootstrap(part, variant="minbase", include=["python3", *packages], slim=False)
    return target


def _debian(name: str, packages: str, include: list[str]) -> Path:
    target = own("bases") / f"{name}-{digest([Path(__file__)])}.tar"
    if not target.exists():
        hook = REPOSITORY.replace("@PACKAGES@", packages)
        with atomically(target) as part:
            bootstrap(part, variant="apt", include=include, hooks=[hook], slim=False)
    return target


def big() -> Path:
    """Return a gzipped tarball of this machine's own files, BIG bytes of them or a little more.

    A /usr that holds less raises WorkshopError.
    """
    target = own("bases") / f"big-{digest([Path(__file__)])}.tar.gz"
    if not target.exists():
        with (
            atomically(target) as part,
            part.open("wb") as out,
            subprocess.Popen(["gzip", "-6"], stdin=subprocess.PIPE, stdout=out) as gzip,
        ):
            with tarfile.open(fileobj=gzip.stdin, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for path in _files(BIG):
                    tar.add(path, str(path).lstrip("/"), recursive=False, filter=_roots)
            assert gzip.stdin is not None
            gzip.stdin.close()
    return target


def big_layers() -> list[Path]:
    """Return what is in ``big`` as LAYERS gzipped tarballs of about the same size.

    They are as builders write them: each has the directories above its files, and no two have a
    file of the same name.
    """
    source = big()
    name = source.name.removesuffix(".tar.gz")
    targets = [source.with_name(f"{name}-{number}.tar.gz") for number in range(1, LAYERS + 1)]
    if not all(target.exists() for target in targets):
        with tarfile.open(source) as whole, contextlib.ExitStack() as stack:
            members = iter(whole)
            directories: dict[str, tarfile.TarInfo] = {}
            for number, target in enumerate(targets, 1):
                part = stack.enter_context(atomically(target))
                held: set[str] = set()
                with tarfile.open(part, "w:gz", compresslevel=6, format=tarfile.PAX_FORMAT) as tar:
                    for member in members:
                        if member.isdir():
                            directories[member.name] = member
                        for above in map(str, reversed(Path(member.name).parents)):
                            if above in directories and above not in held:
                                held.add(above)
                                tar.addfile(directories[above])
                        held.add(member.name)
                        if member.islnk() and member.linkname not in held:
                            continue  # the file itself is in a layer below
                        tar.addfile(member, whole.extractfile(member) if member.isreg() else None)
                        if number < LAYERS and tar.offset > BIG / LAYERS:
                            break
    return targets


def _files(size: int) -> Iterator[Path]:
    """Give directories, files and links below /usr until their size is reached."""
    inodes: set[int] = set()
    total = 0
    for directory, subdirectories, names in os.walk("/usr"):
        subdirectories.sort()
        yield Path(directory)
        for name in sorted(names):
            path = Path(directory, name)
            status = path.lstat()
            # A file of gigabytes would make this another benchmark.
            if status.st_size > 50_000_000 or not status.st_mode & 0o004:
                continue
            yield path
            if stat.S_ISREG(status.st_mode) and status.st_ino not in inodes:
                inodes.add(status.st_ino)
                total += status.st_size
            if total >= size:
                return
    raise WorkshopError(
        f"/usr holds {total / 1e6:.0f} MB of files that fit, the benchmark imports"
        f" {size / 1e6:.0f} MB\nhint: install packages, or lower BIG in bench/inputs.py"
    )


def _roots(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
