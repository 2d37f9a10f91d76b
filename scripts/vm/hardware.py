"""The kinds of machines that QEMU can be, by the names of uname(2)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hardware:
    """A kind of machine.

    ``architecture`` is Debian's name of it, ``kernel`` is Debian's package, and ``program`` and
    ``package`` are QEMU's. ``gnu`` is the prefix of the programs of GCC. ``console`` is the
    kernel's first serial line, and ``parameters`` are further words of the kernel's command line.
    """

    machine: str
    architecture: str
    kernel: str
    program: str
    package: str
    options: tuple[str, ...]
    console: str
    gnu: str
    parameters: tuple[str, ...] = ()

    @property
    def compiler(self) -> tuple[str, str]:
        """Return Debian's packages of a C compiler for the machine, and of its C library."""
        name = self.gnu.replace("_", "-")
        return f"gcc-{name}", f"libc6-dev-{self.architecture}-cross"


# With the module "bpf", Linux 6.1 does not ask for CAP_SYS_ADMIN before it sets an attribute
# "security.*".  Linux 6.12 does, and so does the supervisor.
MODULES = "lsm=landlock,lockdown,yama,apparmor"

_ALL = (
    Hardware(
        machine="x86_64",
        architecture="amd64",
        kernel="linux-image-cloud-amd64",
        program="qemu-system-x86_64",
        package="qemu-system-x86",
        options=("-machine", "q35", "-cpu", "max"),
        console="ttyS0",
        gnu="x86_64-linux-gnu",
        # On a busy machine, the kernel would find no timer within the time that it waits for one.
        parameters=("no_timer_check",),
    ),
    Hardware(
        machine="aarch64",
        architecture="arm64",
        kernel="linux-image-cloud-arm64",
        program="qemu-system-aarch64",
        package="qemu-system-arm",
        options=("-machine", "virt", "-cpu", "cortex-a57"),
        console="ttyAMA0",
        gnu="aarch64-linux-gnu",
        parameters=(MODULES,),
    ),
    Hardware(
        machine="s390x",
        architecture="s390x",
        kernel="linux-image-s390x",
        program="qemu-system-s390x",
        package="qemu-system-s390x",
        options=("-machine", "s390-ccw-virtio"),
        console="ttysclp0",
        gnu="s390x-linux-gnu",
        parameters=(MODULES,),
    ),
    Hardware(
        machine="ppc64le",
        architecture="ppc64el",
        kernel="linux-image-powerpc64le",
        program="qemu-system-ppc64",
        package="qemu-system-ppc",
        options=("-machine", "pseries", "-cpu", "power9", "-vga", "none"),
        console="hvc0",
        gnu="powerpc64le-linux-gnu",
        parameters=(MODULES,),
    ),
    Hardware(
        machine="riscv64",
        architecture="riscv64",
        kernel="linux-image-riscv64",
        program="qemu-system-riscv64",
        package="qemu-system-riscv",
        options=("-machine", "virt"),
        console="ttyS0",
        gnu="riscv64-linux-gnu",
        parameters=(MODULES,),
    ),
)
HARDWARE = {each.machine: each for each in _ALL}
X86_64 = HARDWARE["x86_64"]
FOREIGN = tuple(each.machine for each in _ALL if each != X86_64)
