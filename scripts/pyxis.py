"""Slurm's plug-in pyxis, and the Enroot that it runs, built from their sources: `make pyxis`.

The sources are nowhere in the project: somebody who has them names their directories.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts import install
from scripts.place import WorkshopError, copy_tree, installed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE = "SUNDOG_PYXIS"  # names the directory of what was built, for the tests
NEEDS = (
    "bsdextrautils", "gcc", "libc6-dev", "libslurm-dev", "make", "squashfs-tools", "squashfuse",
)  # fmt: skip
# Directories for each user on each node: the nodes of tests have a /tmp each.
CONFIGURATION = """\
ENROOT_RUNTIME_PATH /tmp/enroot.$(id -u)/run
ENROOT_CACHE_PATH /tmp/enroot.$(id -u)/cache
ENROOT_DATA_PATH /tmp/enroot.$(id -u)/data
"""


@dataclass(frozen=True)
class Built:
    """A directory with the plug-in and an installed Enroot."""

    directory: Path

    @property
    def plugin(self) -> Path:
        """Return the path of the plug-in."""
        return self.directory / "spank_pyxis.so"

    @property
    def enroot(self) -> Path:
        """Return the prefix of Enroot."""
        return self.directory / "enroot"

    @property
    def programs(self) -> Path:
        """Return the directory of Enroot's programs."""
        return self.enroot / "bin"

    def settings(self, importer: str) -> Mapping[str, str]:
        """Return files of Slurm with the settings of docs/how-to/slurm.md, by name."""
        if any(character.isspace() for character in importer):
            raise ValueError(f"{importer!r} does not fit into plugstack.conf")
        options = f"importer={importer} use_squashfuse=1 runtime_path=/tmp/pyxis"
        return {
            "mpi.conf": "PMIxCliTmpDirBase=/dev/shm\n",
            "plugstack.conf": f"required {self.plugin} {options}\n",
        }


def build(directory: Path, pyxis: Path, enroot: Path) -> None:
    """Build both in a new directory, from copies of their sources."""
    if os.geteuid() != 0:
        raise WorkshopError("only root can start daemons of Slurm with a plug-in")
    for name, source, file in (
        ("pyxis", pyxis, "spank_pyxis.lds"),
        ("enroot", enroot, "enroot.in"),
    ):
        usage = "make pyxis PYXIS=DIR ENROOT=DIR, with the directories of both sources"
        installed(source, f"sources of {name}", file, usage)
        copy_tree(source, directory / "sources" / name)
    built, sources = Built(directory), directory / "sources"
    install.run(["make", "--silent", "-C", str(sources / "pyxis")])
    (sources / "pyxis" / built.plugin.name).rename(built.plugin)
    # With glibc, Enroot needs no sources of others: not musl, nor headers of Linux.  Only `enroot
    # bundle` needs makeself.
    make = ["make", "--silent", "FORCE_GLIBC=1", "DEPS=", f"prefix={built.enroot}"]
    install.run([*make, "-C", str(sources / "enroot/deps"), "libbsd"])
    install.run([*make, "-C", str(sources / "enroot"), "--assume-old=deps", "install"])
    settings = built.enroot / "etc/enroot"
    (settings / "enroot.conf.d/tests.conf").write_text(CONFIGURATION)
    hook = "50-slurm-pmi.sh"  # shows a rank the files of PMIx
    (settings / "hooks.d" / hook).symlink_to(built.enroot / "share/enroot/hooks.d" / hook)
