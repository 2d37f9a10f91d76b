"""Archives and copies with owners and devices, from the host into the container and back.

Rows of ``table`` compare tar and rsync inside with those of real root.  In these tests an ordinary
user's program on the host is at the other end.
"""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.notify.conftest import Container


MAKE = """set -e; umask 022; mkdir /w; cd /w; mkdir d; echo x >d/f; ln d/f d/h; ln -s f d/l
    mknod d/c c 1 3; mknod d/b b 7 300; mkfifo d/p; chown 104:106 d/f; chown -h 7:8 d/l
    chown 1:6 d/b; chmod 6755 d/f; chown 9:10 d; chmod 2750 d; chmod 620 d/c"""
LOOK = "cd {}; stat -c '%u:%g %a %h %F %t:%T %n' . *"
SHOWN = """\
9:10 2750 2 directory 0:0 .
1:6 644 1 block special file 7:12c b
0:0 620 1 character special file 1:3 c
104:106 6755 2 regular file 0:0 f
104:106 6755 2 regular file 0:0 h
7:8 777 1 symbolic link 0:0 l
0:0 644 1 fifo 0:0 p
"""

# Path, kind, owner, group, mode, device.
MEMBERS = [
    ("d", tarfile.DIRTYPE, 9, 10, 0o2750, (0, 0)),
    ("d/b", tarfile.BLKTYPE, 1, 6, 0o644, (7, 300)),
    ("d/c", tarfile.CHRTYPE, 0, 0, 0o620, (1, 3)),
    ("d/f", tarfile.REGTYPE, 104, 106, 0o6755, (0, 0)),
    ("d/h", tarfile.LNKTYPE, 104, 106, 0o6755, (0, 0)),
    ("d/l", tarfile.SYMTYPE, 7, 8, 0o777, (0, 0)),
    ("d/p", tarfile.FIFOTYPE, 0, 0, 0o644, (0, 0)),
]


@pytest.mark.slow
def test_tar_out_of_the_container(tools: Container) -> None:
    assert tools.upper is not None
    tools.sh(f"{MAKE}; tar --numeric-owner --sort=name -cf /out.tar d")
    with tarfile.open(tools.upper / "u" / "out.tar") as archive:
        found = [
            (each.name, each.type, each.uid, each.gid, each.mode, (each.devmajor, each.devminor))
            for each in archive
        ]
    assert found == MEMBERS


@pytest.mark.slow
@pytest.mark.parametrize("program", ["tar --numeric-owner -xpf", "bsdtar -xpf"])
def test_tar_into_the_container(tools: Container, program: str) -> None:
    assert tools.upper is not None
    tools.sh("mkdir /in")  # makes the upper directory, too
    with tarfile.open(tools.upper / "u" / "in" / "in.tar", "w") as archive:
        for name, kind, uid, gid, mode, (major, minor) in MEMBERS:
            member = tarfile.TarInfo(name)
            member.type, member.uid, member.gid, member.mode = kind, uid, gid, mode
            member.devmajor, member.devminor = major, minor
            member.linkname = {tarfile.LNKTYPE: "d/f", tarfile.SYMTYPE: "f"}.get(kind, "")
            content = b"x\n" if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert tools.sh(f"set -e; cd /in; {program} in.tar; {LOOK.format('d')}") == SHOWN


@pytest.mark.slow
def test_rsync_out_of_the_container_and_into_it(tools: Container, tmp_path: Path) -> None:
    """On the host --fake-super keeps owners that an ordinary user can't give to files."""
    tools.sh(MAKE)
    shell = tmp_path / "shell"
    shell.write_text(f'#!/bin/sh\nshift\ncd {CHECKOUT}\nexec {shlex.join(tools.argv())} "$@"\n')
    shell.chmod(0o755)

    def rsync(source: str, target: str) -> None:
        options = ["-aHDX", "--numeric-ids", "--fake-super", f"--rsh={shell}"]
        subprocess.run(["rsync", *options, source, target], check=True)

    copy = tmp_path / "copy"
    rsync("container:/w/d/", f"{copy}/")
    kept = os.getxattr(copy / "b", "user.rsync.%stat")
    assert kept.split() == [b"60644", b"7,300", b"1:6"]
    rsync(f"{copy}/", "container:/w/back/")
    assert tools.sh(LOOK.format("/w/back")) == SHOWN
