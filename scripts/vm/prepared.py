"""Files for a start of virtual machines by the tests' user; root makes them for a run.

In the machines, /opt/sundog is the installed Sundog, and /opt/bases has base images.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import install
from scripts.bases import makers
from scripts.place import WorkshopError
from scripts.vm import image
from scripts.vm.nfs import Given

if TYPE_CHECKING:
    from scripts.account import Account

BASES = ("alpine", "busybox", "debian")
SUNDOG = Path("/opt/sundog")
KVM = Path("/dev/kvm")


def prepare(directory: Path, user: Account) -> None:
    """Put everything for the machines into a new directory, for a user."""
    if os.geteuid() != 0:
        raise WorkshopError("only root can make the disk of the virtual machines")
    directory.mkdir()
    made = image.make()
    for file in (made.kernel, made.initrd, made.disk):
        (directory / file.name).symlink_to(file)
    programs = install.environment("machines", install.SYSTEM_PYTHON, extra="[fast]")
    with tarfile.open(directory / "files.tar", "w") as tar:
        tar.add(programs.parent, str(programs.parent))
        link = tarfile.TarInfo(str(SUNDOG))
        link.type, link.linkname = tarfile.SYMTYPE, str(programs.parent)
        tar.addfile(link)
        for name in BASES:
            tar.add(makers.base(name), str(base(name)))
    if is_accelerated():
        device = directory / KVM.name
        os.mknod(device, KVM.stat().st_mode, KVM.stat().st_rdev)
        os.chown(device, user.uid, user.gid)
        device.chmod(0o600)


def is_accelerated() -> bool:
    """Tell whether this machine runs others without emulating their processor.

    Some machines have the device, but not the processor's help, and then fail in the middle.
    """
    flags = re.search(r"^flags\s*:(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return KVM.exists() and flags is not None and bool({"vmx", "svm"} & {*flags[1].split()})


def given(directory: Path, run: Path) -> Given:
    """Return what ``prepare`` has left in a directory; machines use another one, ``run``."""
    kvm = directory / KVM.name
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    return Given(
        image.Image(directory), directory / "files.tar", kvm if kvm.exists() else None, run
    )


def base(name: str) -> Path:
    """Return the path of a base image's tarball in the machines."""
    return Path("/opt/bases", f"{name}.tar")
