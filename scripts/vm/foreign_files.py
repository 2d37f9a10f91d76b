"""Files for a start of another architecture's machine by the tests' user; root makes them.

In the machine, /opt/sundog is the installed Sundog; /opt/bases has the base images, and
/opt/programs the static test programs, compiled for the machine; /opt/tests has the package of the
tests, for its sandbox.
"""

from __future__ import annotations

import functools
import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import install, wheels
from scripts.bases import makers
from scripts.place import CHECKOUT, WorkshopError, own
from scripts.vm import foreign_image
from scripts.vm.hardware import HARDWARE
from scripts.vm.image import Image

if TYPE_CHECKING:
    from scripts.vm.hardware import Hardware

SUNDOG = Path("/opt/sundog")
BUSYBOX = Path("/opt/bases/busybox.tar")
PROGRAMS = Path("/opt/programs")
TESTS = Path("/opt/tests")
# Those of tests/runtime/notify/programs that the tests of the machine run.
COMPILED = (
    "differ",
    "kernel",
    "messages",
    "permissions",
    "ports",
    "processes",
    "refused",
    "starts",
    "stress",
    "sysv",
)
SANDBOX = ("tests/__init__.py", "tests/runtime/notify")
FLAGS = ("-std=gnu11", "-O1", "-static", "-pthread")
# PyPI has wheels of it for some machines only.  On others, pip makes one without its C library.
PYYAML = "pyyaml>=6"
# The tags of wheels that fit Debian, beside the machine's name.
PLATFORMS = (
    "manylinux2014",
    "manylinux_2_17",
    "manylinux_2_28",
    "manylinux_2_31",
    "manylinux_2_39",
    "linux",
)


def prepare(directory: Path, machine: str) -> None:
    """Put everything for a machine into a new directory."""
    if os.geteuid() != 0:
        raise WorkshopError("only root can make the disk of a virtual machine")
    hardware = HARDWARE[machine]
    directory.mkdir()
    made = foreign_image.make(hardware)
    for file in (made.kernel, made.initrd, made.disk):
        (directory / file.name).symlink_to(file)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as temporary:
        place = Path(temporary)
        _install(place / "sundog", hardware, foreign_image.python(made))
        _make_base(place / "busybox.tar", foreign_image.busybox(made))
        compiled = _compile(place / "programs", hardware)
        with tarfile.open(directory / "files.tar", "w") as tar:
            for path, inside in (
                (place / "sundog", SUNDOG),
                (place / "busybox.tar", BUSYBOX),
                (compiled, PROGRAMS),
                *((CHECKOUT / name, TESTS / name) for name in SANDBOX),
            ):
                tar.add(path, str(inside), filter=_as_root)


def given(directory: Path, machine: str) -> tuple[Image, Path]:
    """Return the image and the tar of files that ``prepare`` has left in a directory."""
    return Image(directory, HARDWARE[machine]), directory / "files.tar"


def _install(target: Path, hardware: Hardware, version: str) -> None:
    """Install the wheel and its needs as a virtual environment of the machine would have them."""
    build = functools.partial(_build, hardware.machine)
    wheel = install.kept_wheel(build, hardware.machine)
    tags = [f"--platform={each}_{hardware.machine}" for each in PLATFORMS]
    asked = ["--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
    site = target / "lib" / f"python{version}" / "site-packages"
    pure = target / "pure"
    install.pip(
        *("wheel", "--no-deps", "--no-binary=pyyaml", f"--wheel-dir={pure}", PYYAML),
        environment={"PYYAML_FORCE_LIBYAML": "0"},
    )
    install.pip("install", f"--target={site}", f"--find-links={pure}", *asked, *tags, str(wheel))
    shutil.rmtree(pure)
    for name in ("bin", "share"):
        (site / name).rename(target / name)
    for script in (target / "bin").iterdir():
        first, _, rest = script.read_bytes().partition(b"\n")
        if first.startswith(b"#!") and b"python" in first:
            script.write_bytes(f"#!{SUNDOG}/bin/python3\n".encode() + rest)
    for name in ("python3", f"python{version}"):
        (target / "bin" / name).symlink_to(f"/usr/bin/python{version}")
    (target / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")


def _make_base(target: Path, program: Path) -> None:
    """Make the base image ``busybox`` with the BusyBox of another architecture."""
    data = program.read_bytes()
    with tarfile.open(makers.base("busybox")) as ours, tarfile.open(target, "w") as theirs:
        for entry in ours:
            content = ours.extractfile(entry) if entry.isreg() else None
            if entry.name == "bin/busybox":
                entry.size, content = len(data), io.BytesIO(data)
            theirs.addfile(entry, content)


def _build(machine: str, out: Path) -> None:
    wheels.build(out, machine, str(own("zig")))


def _compile(target: Path, hardware: Hardware) -> Path:
    """Compile the programs of tests/runtime/notify/programs for the machine."""
    target.mkdir()
    for name in COMPILED:
        source = CHECKOUT / "tests/runtime/notify/programs" / f"{name}.c"
        output = ["-o", str(target / name), str(source)]
        install.run([f"{hardware.gnu}-gcc", *FLAGS, *output])
    return target


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
