"""Platforms: operating system, architecture and variant, in Go's terms.

Specification: OCI image-spec v1.1, image-index.md §Platform Variants, and the text form that
``FROM --platform`` and ``--arch`` take.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.base.record.platform_names import (
    host_platform,
    parse_platform,
    platform_text,
    runnable_platforms,
    usual_platform,
)
from sundog.runtime.linker.elf import ElfError, layout_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.record.platform_names import PlatformName

# Architecture → the name of its machine in QEMU, and in ``kernel.numbers``.
_QEMU_MACHINES = {
    "386": "i386",
    "amd64": "x86_64",
    "arm": "arm",
    "arm64": "aarch64",
    "loong64": "loongarch64",
    "mips64le": "mips64el",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}

# e_machine, class in bits and byte order of an ELF file → uname -m.
_ELF_MACHINES = {
    (3, 32, "little"): "i386",
    (8, 64, "little"): "mips64le",
    (21, 64, "little"): "ppc64le",
    (22, 64, "big"): "s390x",
    (40, 32, "little"): "armv7l",
    (62, 64, "little"): "x86_64",
    (183, 64, "little"): "aarch64",
    (243, 64, "little"): "riscv64",
    (258, 64, "little"): "loongarch64",
}


@dataclass(frozen=True, slots=True)
class Platform:
    """The system that an image runs on; ``variant`` is "" if the architecture implies it."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``os/architecture[/variant]`` or ``architecture[/variant]``; raise UsageError.

        uname's spellings work too, and an implied variant is dropped: ``linux/aarch64`` and
        ``arm64/v8`` are both ``linux/arm64``.
        """
        return cls(*parse_platform(text))

    @classmethod
    def of(cls, os_name: str, architecture: str, variant: str = "") -> Platform:
        """Return the platform that a document's fields name, in the usual spelling."""
        return cls(*usual_platform(os_name, architecture, variant))

    @classmethod
    def of_host(cls) -> Platform:
        """Return this machine's platform, from uname(2)."""
        return cls(*host_platform())

    @classmethod
    def of_machine(cls, machine: str) -> Platform:
        """Translate uname's ``machine``; an unknown one is returned unchanged."""
        return cls(*usual_platform("linux", machine, ""))

    @classmethod
    def of_program(cls, head: bytes) -> Platform | None:
        """Return the platform of the ELF file that begins with ``head``; None if it is unknown.

        The machine says nothing of variants; if the architecture is this machine's, so is the
        variant.
        """
        try:
            layout = layout_of(head)
        except ElfError:
            return None
        _, machine, *_ = layout.file_header.unpack_from(head)
        name = _ELF_MACHINES.get((machine, layout.bits, layout.order))
        if name is None:
            return None
        found, host = cls.of_machine(name), cls.of_host()
        return host if found.architecture == host.architecture else found

    def runnable(self) -> list[Platform]:
        """Return the platforms whose programs run on this one, the best first.

        A variant runs programs for older variants of its architecture (image-index.md, "Platform
        Variants").
        """
        return [Platform(*each) for each in runnable_platforms(self.parts)]

    @property
    def parts(self) -> PlatformName:
        """The three fields."""
        return self.os, self.architecture, self.variant

    def __str__(self) -> str:
        return platform_text(self.parts)


def machine_of(architecture: str) -> str:
    """Return QEMU's name for the machine of an ``architecture``; "" if it is unknown."""
    return _QEMU_MACHINES.get(architecture, "")
