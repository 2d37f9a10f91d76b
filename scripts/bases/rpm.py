"""A distribution whose packages are RPMs: dnf, zypper and rpm, with a repository of our own.

Debian's mirror has no RPM distribution, but it has the package managers. The userland below them is
Debian's; one package (rpm/rpmdistro-base.spec) describes it to rpm. /srv/repo holds packages made
here from rpm/*.spec, with the owners for which Enterprise Linux's openssh needs privilege. The
repository has EPEL's name, because --force=fakeroot installs its program from there.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bases.bootstrap import bootstrap, needs
from scripts.packages import TOOLS
from scripts.place import WorkshopError

if TYPE_CHECKING:
    from collections.abc import Sequence

SPECS = Path(__file__).parent / "rpm"
NEEDS = ("createrepo-c", "rpm", *needs())
INCLUDE = (
    "acl", "dnf", "libcap2-bin", "libgssapi-krb5-2", "libssl3t64", "passwd", "rpm",
    "systemd-standalone-sysusers", "systemd-standalone-tmpfiles", "zypper",
)  # fmt: skip
DATABASE = "var/lib/rpm"
ARCHIVES = ("fakeroot", "libfakeroot", "openssh-client")  # Debian's packages, for their files

# A payload that any rpm reads, and the same bytes on every machine.
MACROS = {
    "_binary_payload": "w9.gzdio",
    "debug_package": "%{nil}",
    "__os_install_post": "%{nil}",
    "_build_id_links": "none",
    "use_source_date_epoch_as_buildtime": "1",
    "build_mtime_policy": "clamp_to_source_date_epoch",
    "_buildhost": "localhost",
}

REPOSITORY = """\
[epel]
name=packages made for Sundog
baseurl=file:///srv/repo
enabled=1
autorefresh=1
gpgcheck=0
"""
# A distribution of the Enterprise Linux family, under a name of its own.
RELEASE = """\
NAME="RPM test distribution"
ID=rpmdistro
ID_LIKE="rhel fedora"
VERSION_ID=8
PRETTY_NAME="RPM test distribution 8 (Debian userland)"
"""
FILES = {
    "etc/dnf/vars/releasever": "8\n",
    "etc/os-release": RELEASE,
    "etc/redhat-release": "RPM test distribution release 8\n",
    "etc/yum.repos.d/local.repo": REPOSITORY,
    "etc/zypp/repos.d/local.repo": REPOSITORY,
}

# $1 is the userland's tree; $ADDED holds files to be put over it.
HOOK = r"""
rm -f "$1/etc/os-release" "$1/etc/hostname" "$1/etc/resolv.conf"
tar -C "$ADDED" --owner=0 --group=0 -c . | tar -C "$1" --no-overwrite-dir -x
grep -q ^nobody: "$1/etc/group" || echo nobody:x:99: >>"$1/etc/group"
"""


def make(out: Path) -> None:
    """Write the tarball."""
    with tempfile.TemporaryDirectory(prefix="sundog-rpm.") as directory:
        work = Path(directory)
        added = work / "added"
        for name, text in FILES.items():
            (added / name).parent.mkdir(parents=True, exist_ok=True)
            (added / name).write_text(text)
        repository = added / "srv/repo"
        repository.mkdir(parents=True)
        _build(work, repository)
        _run(
            ["createrepo_c", "--quiet", "--no-database", "--simple-md-filenames", "srv/repo"], added
        )
        _fill_database(added / DATABASE, repository)
        # If root makes the image, mmdebstrap's helpers may be other users.
        for path in (work, *work.rglob("*")):
            path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.is_dir() else 0))
        bootstrap(
            out,
            variant="essential",
            include=INCLUDE,
            hooks=[HOOK],
            environment={"ADDED": str(added)},
        )


def _build(work: Path, repository: Path) -> None:
    """Build the packages, around files of the mirror's own packages."""
    sources = work / "SOURCES"
    sources.mkdir()
    _run(["apt-get", "-qq", "download", *ARCHIVES], sources)
    for archive in sources.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(archive), str(sources / archive.name.split("_")[0])], sources)
    macros = MACROS | {"_topdir": str(work), "_rpmdir": str(repository)}
    defines = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
    for spec in sorted(SPECS.glob("*.spec")):
        _run(["rpmbuild", "-bb", "--quiet", *defines, str(spec)], work)


def _fill_database(database: Path, repository: Path) -> None:
    """Enter the userland's package into a fresh rpm database."""
    database.mkdir(parents=True)
    rpm = ["rpm", "--dbpath", str(database)]
    _run([*rpm, "--initdb"], database)
    (base,) = repository.rglob("rpmdistro-base-*.rpm")
    _run([*rpm, "--install", "--justdb", "--nodeps", "--noscripts", str(base)], database)


def _run(command: Sequence[str], cwd: Path) -> None:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | TOOLS | {"HOME": str(cwd), "SOURCE_DATE_EPOCH": "1600000000"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise WorkshopError(f"{' '.join(command)}: exit status {done.returncode}\n{tail}")
