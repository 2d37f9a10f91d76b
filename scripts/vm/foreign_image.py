"""The disk of a virtual machine of another architecture: Debian with its kernel, and Python.

It is made once from this machine's own package sources, and kept. Only root can make it. No program
of the tree runs here: the packages are unpacked, but not configured. So this module does what the
tests need of the configuration: accounts, the byte code of Python's library, the list of the
kernel's modules, and an initial RAM disk.
"""

from __future__ import annotations

import lzma
import re
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import install
from scripts.bases import bootstrap
from scripts.place import WorkshopError, digest
from scripts.vm import image
from scripts.vm.image import HERE, USER, Image

if TYPE_CHECKING:
    from scripts.vm.hardware import Hardware

NEEDS = ("cpio", "e2fsprogs", "kmod", "mmdebstrap")
PACKAGES = (
    "base-files", "base-passwd", "bash", "busybox-static", "coreutils", "dash", "diffutils", "dpkg",
    "findutils", "grep", "gzip", "kmod", "libc-bin", "login", "mawk", "mount", "passwd",
    "perl-base", "procps", "python3", "sed", "tar", "util-linux",
)  # fmt: skip
# Debian's mirrors need not have all packages of every architecture at every moment.
SUITES = (bootstrap.SUITE, "bookworm")
SIZE = "3G"
# Modules that the initial RAM disk needs to mount the disk, if the kernel itself lacks them.
# ext4 asks for the checksum by a name that no list of needs has.
MODULES = ("virtio_pci", "virtio_mmio", "virtio_blk", "crc32c_generic", "ext4")
RAM_DISK_INIT = """\
#!/bin/busybox sh
# Mount the disk, and go on there.
export PATH=/bin
/bin/busybox --install /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod $module; done
# A driver may find disks after it was loaded, and on s390x in any order.
tries=600
until mount -t ext4 /dev/vda /root || mount -t ext4 /dev/vdb /root; do
    test $((tries -= 1)) -gt 0 || break
    sleep 0.1
done
mount -t tmpfs -o mode=755 tmpfs /root/run
for directory in proc sys dev; do mount -o move /$directory /root/$directory; done
exec switch_root /root /usr/local/sbin/vm-init
"""


def make(hardware: Hardware) -> Image:
    """Return the image of a machine; make it unless it is there. Raises WorkshopError."""
    sources = [Path(__file__), *HERE.glob("guest/*")]
    version = digest(sources, hardware.architecture, hardware.kernel, USER, *bootstrap.LEFT_OUT)
    return Image(image.kept(hardware.machine, version, partial(_make, hardware)), hardware)


def busybox(made: Image) -> Path:
    """Return the static BusyBox of the machine's architecture, which stands beside the disk."""
    return made.directory / "busybox"


def python(made: Image) -> str:
    """Return the version of the machine's Python: major and minor."""
    return (made.directory / "python").read_text()


def _make(hardware: Hardware, directory: Path, made: Image) -> None:
    tarball, tree = directory / "root.tar", directory / "root"
    _bootstrap(tarball, hardware)
    image.unpack(tarball, tree)
    _merge_usr(tree)
    (library,) = (tree / "usr/lib").glob("python3.*")
    (made.directory / "python").write_text(library.name.removeprefix("python"))
    _configure(tree, library)
    (kernel,) = (tree / "boot").glob("vmlinu[xz]-*")
    shutil.copyfile(kernel, made.kernel)
    shutil.copyfile(tree / "usr/bin/busybox", busybox(made))
    for file in (made.kernel, busybox(made)):
        file.chmod(0o644)
    (modules,) = (tree / "usr/lib/modules").iterdir()
    image.run("depmod", "-b", str(tree), modules.name)
    _make_ram_disk(directory / "ram", made, modules)
    image.make_disk(made, tree, SIZE)


def _bootstrap(tarball: Path, hardware: Hardware) -> None:
    """Write the unpacked packages as a tarball; take the first suite that the mirror has whole."""
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{each}" for each in bootstrap.LEFT_OUT]
    command = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=extract", "--format=tar"),
        f"--architectures={hardware.architecture}",
        f"--include={','.join([*PACKAGES, hardware.kernel])}",
        *left_out,
    ]
    for suite in SUITES:
        try:
            image.run(*command, suite, str(tarball), f"deb {_mirror()} {suite} main")
        except WorkshopError:
            if suite == SUITES[-1]:
                raise
        else:
            return


def _merge_usr(tree: Path) -> None:
    """Make /bin and its like links into /usr, which bookworm does in a script of a package."""
    for name in ("bin", "lib", "lib64", "sbin"):
        directory = tree / name
        if directory.is_dir() and not directory.is_symlink():
            (tree / "usr" / name).mkdir(exist_ok=True)
            image.run("cp", "-a", f"{directory}/.", str(tree / "usr" / name))
            shutil.rmtree(directory)
            directory.symlink_to(f"usr/{name}")


def _mirror() -> str:
    """Return the address of this machine's Debian mirror.

    Its archives of updates and of security fixes need not have every architecture.
    """
    (source,) = bootstrap.sources()
    text = Path(source).read_text() if source.startswith("/") else source
    found = re.search(r"https?://\S+", text)
    assert found is not None
    return found[0]


def _configure(tree: Path, library: Path) -> None:
    """Do what the packages' own scripts would do, as far as the tests need it."""
    masters = tree / "usr/share/base-passwd"
    user = f"{USER}:x:1000:1000::/home/{USER}:/bin/bash\n"
    group = f"{USER}:x:1000:\n"
    for name, line in (("passwd", user), ("group", group)):
        text = (masters / f"{name}.master").read_text().replace("*", "x")
        (tree / "etc" / name).write_text(text + line)
    home = tree / "home" / USER
    home.mkdir()
    shutil.chown(home, 1000, 1000)
    (tree / "etc/resolv.conf").unlink(missing_ok=True)
    (tree / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (tree / "usr/bin/sh").unlink(missing_ok=True)
    (tree / "usr/bin/sh").symlink_to("dash")
    for name, place in (("init", "sbin/vm-init"), ("agent.py", "lib/agent.py")):
        target = tree / "usr/local" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HERE / "guest" / name, target)
        target.chmod(0o755)
    version = tuple(map(int, library.name.removeprefix("python").split(".")))
    if interpreter := install.pythons().get((version[0], version[1])):
        # Emulated, a command would compile for 20 s.
        compiling = (str(interpreter), "-m", "compileall", "-q")
        image.run(*compiling, "--invalidation-mode=unchecked-hash", str(library))


def _make_ram_disk(directory: Path, made: Image, modules: Path) -> None:
    for name in ("bin", "dev", "modules", "proc", "root", "sys"):
        (directory / name).mkdir(parents=True)
    shutil.copyfile(busybox(made), directory / "bin/busybox")
    init = directory / "init"
    init.write_text(RAM_DISK_INIT)
    for path in (init, directory / "bin/busybox"):
        path.chmod(0o755)
    for number, module in enumerate(_wanted(modules)):
        # BusyBox can't decompress them.
        data = module.read_bytes()
        plain = lzma.decompress(data) if module.suffix == ".xz" else data
        (directory / "modules" / f"{number:02}").write_bytes(plain)
    files = sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))
    archive = made.initrd
    words = ("cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0", "-F", str(archive))
    image.run(*words, text="".join(f"{name}\n" for name in files), cwd=directory)
    archive.chmod(0o644)


def _wanted(modules: Path) -> list[Path]:
    """Return the files of ``MODULES`` and what they need, in the order in which they are loaded."""
    needs: dict[str, list[str]] = {}
    paths: dict[str, str] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
        paths[Path(path).name.split(".")[0].replace("-", "_")] = path
    found: list[str] = []
    for name in MODULES:
        if name in paths:
            found += [*reversed(needs[paths[name]]), paths[name]]
    return [modules / path for path in dict.fromkeys(found)]
